"""Rate limits: counted in Redis so that all processes share them, in this process while Redis is away, never off.

A window starts with its first hit and ends ``window`` seconds later. Keys are hashed: no address, email or phone
number is ever written to Redis.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest
from django_redis import get_redis_connection
from redis.exceptions import RedisError

from booking_service.api.addresses import client_site
from booking_service.api.errors import TooManyRequests

logger = logging.getLogger(__name__)

# INCR and PEXPIRE in one step: a key without an end would lock its owner out for ever.
_COUNT = """
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
"""

# Never below zero, and the window ends when it would have.
_UNCOUNT = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then
  redis.call('DECR', KEYS[1])
end
"""

# After a failure Redis is left alone for this long, so that an outage costs one timeout, not one a request.
REDIS_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a hit is within the limit; if not, ``retry_after`` is in how many whole seconds (≥ 1) one will be."""

    allowed: bool
    retry_after: int = 0

    def enforce(self) -> None:
        """Raises TooManyRequests unless allowed."""
        if not self.allowed:
            raise TooManyRequests(retry_after=self.retry_after)


ALLOWED = Verdict(allowed=True)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``limit`` hits in ``window`` seconds for each key. ``scope`` keeps limits apart."""

    scope: str
    limit: int
    window: int

    def hit(self, key: str) -> Verdict:
        """Count one hit for ``key``; the answer is decided by the same step, so parallel hits cannot slip through."""
        return self._verdict(*_counters().hit(self._name(key), self.window)) if _enabled() else ALLOWED

    def release(self, key: str) -> None:
        """Take one hit back: what it was counted for turned out well (a sign-in counts as failed until it succeeds)."""
        if _enabled():
            _counters().release(self._name(key))

    def _verdict(self, count: int, seconds_left: float) -> Verdict:
        if count <= self.limit:
            return ALLOWED
        return Verdict(allowed=False, retry_after=max(1, math.ceil(seconds_left)))

    def _name(self, key: str) -> str:
        secret = settings.SECRET_KEY.encode()[: blake2b.MAX_KEY_SIZE]
        return f"patient-booking:limit:{self.scope}:{blake2b(key.encode(), digest_size=16, key=secret).hexdigest()}"


def check_client(request: HttpRequest) -> None:
    """The platform's limit on every client address. Raises TooManyRequests."""
    limit = RateLimit("client", settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_WINDOW_SECONDS)
    limit.hit(client_site(request)).enforce()


def _enabled() -> bool:
    return bool(settings.RATE_LIMIT_ENABLED)


class LocalCounters:
    """Counters of this process alone, for while Redis is away."""

    MOST_KEYS: ClassVar[int] = 50_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}

    def hit(self, name: str, window: int) -> tuple[int, float]:
        """The count after this hit, and the seconds until the window ends."""
        now = time.monotonic()
        with self._lock:
            count, ends = self._windows.get(name, (0, 0.0))
            if ends <= now:
                self._make_room(now)
                count, ends = 0, now + window
            self._windows[name] = (count + 1, ends)
        return count + 1, ends - now

    def release(self, name: str) -> None:
        with self._lock:
            count, ends = self._windows.get(name, (0, 0.0))
            if count:
                self._windows[name] = (count - 1, ends)

    def _make_room(self, now: float) -> None:
        if len(self._windows) < self.MOST_KEYS:
            return
        self._windows = {name: window for name, window in self._windows.items() if window[1] > now}
        while len(self._windows) >= self.MOST_KEYS:
            # A flood of addresses: the oldest window goes first.
            self._windows.pop(next(iter(self._windows)))


class Counters:
    """Counters in Redis; in this process for REDIS_PAUSE_SECONDS after Redis failed."""

    def __init__(self) -> None:
        self._local = LocalCounters()
        self._script: Any = None
        self._redis_failed_at: float | None = None

    def hit(self, name: str, window: int) -> tuple[int, float]:
        """The count after this hit, and the seconds until the window ends."""
        if self._redis_rests():
            return self._local.hit(name, window)
        try:
            client = get_redis_connection("default")
            self._script = self._script or client.register_script(_COUNT)
            count, milliseconds = self._script(keys=[name], args=[window * 1000], client=client)
        except RedisError as failure:
            self._note_failure(failure)
            return self._local.hit(name, window)
        self._note_success()
        return int(count), milliseconds / 1000

    def release(self, name: str) -> None:
        self._local.release(name)
        if self._redis_rests():
            return
        try:
            get_redis_connection("default").eval(_UNCOUNT, 1, name)
        except RedisError as failure:
            self._note_failure(failure)

    def _redis_rests(self) -> bool:
        failed_at = self._redis_failed_at
        return failed_at is not None and time.monotonic() - failed_at < REDIS_PAUSE_SECONDS

    def _note_failure(self, failure: RedisError) -> None:
        first, self._redis_failed_at = self._redis_failed_at is None, time.monotonic()
        if first:
            logger.warning("rate limits count in this process: Redis failed (%s)", type(failure).__name__)

    def _note_success(self) -> None:
        if self._redis_failed_at is not None:
            self._redis_failed_at = None
            logger.warning("rate limits count in Redis again")


_shared = Counters()


def _counters() -> Counters:
    return _shared
