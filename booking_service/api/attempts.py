"""How often one may try to prove who one is.

Whoever begins an attempt takes one of the FAILURES places that an account and an address have in a window. A success
gives its place back, a failure keeps it until the window ends: places taken are guesses that failed and guesses that
are being looked at, so however many come at once, no more than FAILURES wrong ones are ever looked at. While all places
are taken but not all by failures, the next one waits a moment for one to be given back: a clinic signs in behind one
address. Accounts that do not exist are limited like those that do.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar
from uuid import uuid4

from django.db import OperationalError

from booking_service.api import throttling
from booking_service.api.errors import TooManyRequests

FAILURES = 5
WINDOW_SECONDS = 15 * 60
# Attempts take a tenth of a second or so, and no more of them wait than a process has threads.
PATIENCE_SECONDS = 3.0
PAUSE_SECONDS = 0.02

# A window is a hash {id, taken, failed} that ends with its key. What a dead process took stays taken in it.
_TAKE = """
local id = redis.call('HGET', KEYS[1], 'id')
if not id then
  id = ARGV[3]
  redis.call('HSET', KEYS[1], 'id', id, 'taken', 0, 'failed', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local given = 0
if tonumber(redis.call('HGET', KEYS[1], 'taken')) < tonumber(ARGV[1]) then
  redis.call('HINCRBY', KEYS[1], 'taken', 1)
  given = 1
end
return {given, tonumber(redis.call('HGET', KEYS[1], 'failed')), redis.call('PTTL', KEYS[1]), id}
"""

# Only in the window that the place is of: one that began since owes nothing for it.
_SETTLE = """
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
  redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3])
end
return 1
"""


class TooManyAttempts(TooManyRequests):
    """Too many failures for the account or from the address."""

    code = "TOO_MANY_ATTEMPTS"
    message = "Too many failed attempts. Try again later."


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether a place was given, in which window; how many others failed in it, and when it ends."""

    given: bool
    failed: int
    seconds_left: float
    window: str


@dataclass(slots=True)
class _Window:
    id: str
    ends: float
    taken: int = 0
    failed: int = 0


class _Here:
    """The windows of this process, for while Redis is away."""

    MOST_KEYS: ClassVar[int] = 50_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def take(self, name: str) -> _Answer:
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(name)
            if window is None or window.ends <= now:
                window = self._begun(name, now)
            given = window.taken < FAILURES
            window.taken += given
            return _Answer(given, window.failed, window.ends - now, window.id)

    def settle(self, name: str, window_id: str, field: str, by: int) -> None:
        with self._lock:
            window = self._windows.get(name)
            if window is not None and window.id == window_id:
                setattr(window, field, getattr(window, field) + by)

    def _begun(self, name: str, now: float) -> _Window:
        if len(self._windows) >= self.MOST_KEYS:
            self._windows = {key: window for key, window in self._windows.items() if window.ends > now}
        while len(self._windows) >= self.MOST_KEYS:
            self._windows.pop(next(iter(self._windows)))  # a flood of names: the oldest window goes first
        window = self._windows[name] = _Window(uuid4().hex, now + WINDOW_SECONDS)
        return window


_here = _Here()


@dataclass(frozen=True, slots=True)
class _Place:
    """One attempt's place in a window of `name`."""

    name: str
    window: str


def _take(names: list[str]) -> list[_Answer]:
    calls = [(name, (FAILURES, int(WINDOW_SECONDS * 1000), uuid4().hex)) for name in names]
    answers = throttling.counters().each_in_redis(_TAKE, calls)
    if answers is None:
        return [_here.take(name) for name in names]
    return [_Answer(bool(given), failed, left / 1000, window.decode()) for given, failed, left, window in answers]


def _settle(places: list[_Place], field: str, by: int) -> None:
    # Ids of windows are nobody else's: of Redis and this process, the one that has it counts.
    for place in places:
        _here.settle(place.name, place.window, field, by)
    if places:
        calls = [(place.name, (place.window, field, by)) for place in places]
        throttling.counters().each_in_redis(_SETTLE, calls)


def _give_back(places: list[_Place]) -> None:
    _settle(places, "taken", -1)


def _keep_as_failed(places: list[_Place]) -> None:
    _settle(places, "failed", 1)


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """FAILURES in WINDOW_SECONDS for an account and for an address, apart from those of other `scope`s."""

    scope: str

    @contextmanager
    def attempt(self, *, account: str, address: str) -> Iterator[None]:
        """One attempt; leaving the block by an exception means it failed, unless the database did not answer.

        Args:
            account: what names the account, in one spelling.
            address: where the attempt comes from.

        Raises:
            TooManyAttempts: before the block runs.
        """
        if not throttling.enabled():
            yield
            return
        kinds = {"address": address, "account": account}
        places = _places([throttling.key_name(f"{self.scope}-{kind}", key) for kind, key in kinds.items()])
        try:
            yield
        except OperationalError:
            _give_back(places)  # no password was looked at
            raise
        except BaseException:
            _keep_as_failed(places)
            raise
        _give_back(places)


def _places(names: list[str]) -> list[_Place]:
    """A place in the window of each name, as soon as there is one in all of them. Raises TooManyAttempts."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        answers = _take(names)
        places = [_Place(name, answer.window) for name, answer in zip(names, answers, strict=True) if answer.given]
        if len(places) == len(names):
            return places
        _give_back(places)  # nobody waits with a place in hand: two might wait for each other's
        _check_is_worth_waiting([answer for answer in answers if not answer.given], give_up_at)
        time.sleep(PAUSE_SECONDS)


def _check_is_worth_waiting(refusals: list[_Answer], give_up_at: float) -> None:
    if shut := [answer.seconds_left for answer in refusals if answer.failed >= FAILURES]:
        raise TooManyAttempts(retry_after=max(1, math.ceil(max(shut))))
    if time.monotonic() > give_up_at:
        raise TooManyAttempts(retry_after=1)
