"""How often one may try to prove who one is.

Whoever begins an attempt takes one of the FAILURES places that an account and an address have in a window. A success
gives its place back, a failure keeps it until the window ends: places taken are guesses that failed and guesses that
are being looked at, so however many come at once, no more than FAILURES wrong ones are ever looked at. The place of an
attempt that nobody hears of again, for its process died or Redis was away, is free after PLACE_SECONDS. While all
places are taken but not all by failures, the next one waits a moment for one to be given back: a clinic signs in behind
one address. Accounts that do not exist are limited like those that do.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

from django.db import OperationalError

from booking_service.api import throttling
from booking_service.api.bulkhead import WAITING_ATTEMPTS
from booking_service.api.errors import TooManyRequests

FAILURES = 5
WINDOW_SECONDS = 15 * 60
# Longer than an attempt can take: MongoDB is not waited for beyond 20 s. A failure that comes later counts as well.
PLACE_SECONDS = 30.0
# Attempts take a tenth of a second or so, and only half of a process's places to hash are for those who wait.
PATIENCE_SECONDS = 3.0
PAUSE_SECONDS = 0.02

# A window is a sorted set of attempts by when their places are free again, by Redis' clock: those that failed never,
# but they go with the window, whose end is that of its key.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local given = 0
if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
  given = 1
end
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {given, redis.call('ZCOUNT', KEYS[1], '+inf', '+inf'), redis.call('PTTL', KEYS[1])}
"""

_GIVE_BACK = "return redis.call('ZREM', KEYS[1], ARGV[1])"

_KEEP_AS_FAILED = """
redis.call('ZADD', KEYS[1], '+inf', ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
"""


class TooManyAttempts(TooManyRequests):
    """Too many failures for the account or from the address."""

    code = "TOO_MANY_ATTEMPTS"
    message = "Too many failed attempts. Try again later."


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether a place was given; how many others failed in the window, and when it ends."""

    given: bool
    failed: int
    seconds_left: float


@dataclass(slots=True)
class _Window:
    """Attempts by when their places are free again: those that failed, never."""

    ends: float
    places: dict[str, float] = field(default_factory=dict)


class _Here:
    """The windows of this process, for while Redis is away."""

    MOST_KEYS: ClassVar[int] = 50_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def take(self, name: str, attempt: str) -> _Answer:
        now = time.monotonic()
        with self._lock:
            window = self._window(name, now)
            window.places = {other: free_at for other, free_at in window.places.items() if free_at > now}
            given = len(window.places) < FAILURES
            if given:
                window.places[attempt] = now + PLACE_SECONDS
            failed = sum(free_at == math.inf for free_at in window.places.values())
            return _Answer(given, failed, window.ends - now)

    def give_back(self, name: str, attempt: str) -> None:
        with self._lock:
            if window := self._windows.get(name):
                window.places.pop(attempt, None)

    def keep_as_failed(self, name: str, attempt: str) -> None:
        with self._lock:
            self._window(name, time.monotonic()).places[attempt] = math.inf

    def _window(self, name: str, now: float) -> _Window:
        window = self._windows.get(name)
        if window is None or window.ends <= now:
            self._make_room(now)
            window = self._windows[name] = _Window(now + WINDOW_SECONDS)
        return window

    def _make_room(self, now: float) -> None:
        if len(self._windows) >= self.MOST_KEYS:
            self._windows = {key: window for key, window in self._windows.items() if window.ends > now}
        while len(self._windows) >= self.MOST_KEYS:
            self._windows.pop(next(iter(self._windows)))  # a flood of names: the oldest window goes first


_here = _Here()


def _in_redis(script: str, names: list[str], *arguments: Any) -> list[Any] | None:
    return throttling.counters().each_in_redis(script, [(name, arguments) for name in names])


def _take(names: list[str], attempt: str) -> list[_Answer]:
    place, window = int(PLACE_SECONDS * 1000), int(WINDOW_SECONDS * 1000)
    answers = _in_redis(_TAKE, names, attempt, FAILURES, place, window)
    if answers is None:
        return [_here.take(name, attempt) for name in names]
    return [_Answer(bool(given), failed, left / 1000) for given, failed, left in answers]


def _give_back(names: list[str], attempt: str) -> None:
    for name in names:
        _here.give_back(name, attempt)  # Redis may be back since it was taken
    _in_redis(_GIVE_BACK, names, attempt)


def _keep_as_failed(names: list[str], attempt: str) -> None:
    if _in_redis(_KEEP_AS_FAILED, names, attempt, int(WINDOW_SECONDS * 1000)) is None:
        for name in names:
            _here.keep_as_failed(name, attempt)


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
            TooManyAttempts, booking_service.api.bulkhead.Busy: before the block runs.
        """
        if not throttling.enabled():
            yield
            return
        kinds = {"address": address, "account": account}
        names = [throttling.key_name(f"{self.scope}-{kind}", key) for kind, key in kinds.items()]
        attempt = _begun(names)
        try:
            yield
        except OperationalError:
            _give_back(names, attempt)  # no password was looked at
            raise
        except BaseException:
            _keep_as_failed(names, attempt)
            raise
        _give_back(names, attempt)


def _begun(names: list[str]) -> str:
    """An attempt with a place in the window of each name, as soon as there is one in all.

    Raises:
        TooManyAttempts: there will be none.
        Busy: there is none, and enough wait already.
    """
    attempt, give_up_at = uuid4().hex, time.monotonic() + PATIENCE_SECONDS
    if not _takes(names, attempt, give_up_at):
        with WAITING_ATTEMPTS.place():
            while not _takes(names, attempt, give_up_at):
                time.sleep(PAUSE_SECONDS)
    return attempt


def _takes(names: list[str], attempt: str, give_up_at: float) -> bool:
    """Whether it has its places now. Raises TooManyAttempts when there is no use in waiting for them."""
    refusals = [answer for answer in _take(names, attempt) if not answer.given]
    if refusals:
        _give_back(names, attempt)  # nobody waits with a place in hand: two might wait for each other's
        _check_is_worth_waiting(refusals, give_up_at)
    return not refusals


def _check_is_worth_waiting(refusals: list[_Answer], give_up_at: float) -> None:
    if shut := [answer.seconds_left for answer in refusals if answer.failed >= FAILURES]:
        raise TooManyAttempts(retry_after=max(1, math.ceil(max(shut))))
    if time.monotonic() > give_up_at:
        raise TooManyAttempts(retry_after=1)
