"""Rate limits: counted in Redis so that all processes share them, in this process while Redis is away, never off.

A window starts with its first hit and ends ``window`` seconds later. Keys are hashed: no address, email or phone
number is ever written to Redis.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django_redis import get_redis_connection
from redis.exceptions import RedisError

from booking_service.api.addresses import client_site
from booking_service.api.errors import TooManyRequests
from booking_service.api.exception_handler import response_for

logger = logging.getLogger(__name__)

R = TypeVar("R")

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

# After a failure Redis is left alone for this long, so that an outage costs one timeout, not one a request.
REDIS_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a hit is within the limit; if not, ``retry_after`` is in how many whole seconds (≥ 1) one will be."""

    allowed: bool
    retry_after: int = 0


ALLOWED = Verdict(allowed=True)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``limit`` hits in ``window`` seconds for each key. ``scope`` keeps limits apart."""

    scope: str
    limit: int
    window: int

    def hit(self, key: str) -> Verdict:
        """Count one hit for ``key``; the answer is decided by the same step, so parallel hits cannot slip through."""
        return self._verdict(*_shared.hit(key_name(self.scope, key), self.window)) if enabled() else ALLOWED

    def _verdict(self, count: int, seconds_left: float) -> Verdict:
        if count <= self.limit:
            return ALLOWED
        return Verdict(allowed=False, retry_after=max(1, math.ceil(seconds_left)))


def key_name(scope: str, key: str) -> str:
    """The name of a counter, from which nobody learns the key."""
    secret = settings.SECRET_KEY.encode()[: blake2b.MAX_KEY_SIZE]
    return f"patient-booking:limit:{scope}:{blake2b(key.encode(), digest_size=16, key=secret).hexdigest()}"


# Asked every few seconds by machines of one address, and never to be refused.
PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class ClientLimitMiddleware:
    """The platform's limit on every client address, whatever it asks for: the API, the admin, paths that are none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in PROBES:
            limit = RateLimit("client", settings.RATE_LIMIT_REQUESTS, settings.RATE_LIMIT_WINDOW_SECONDS)
            verdict = limit.hit(client_site(request))
            if not verdict.allowed:
                return response_for(TooManyRequests(retry_after=verdict.retry_after))
        return self.get_response(request)


def enabled() -> bool:
    """Whether limits are on; load tests turn them off."""
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
        self._scripts: dict[str, Any] = {}
        self._redis_failed_at: float | None = None

    def hit(self, name: str, window: int) -> tuple[int, float]:
        """The count after this hit, and the seconds until the window ends."""
        counted = self.in_redis(_COUNT, name, window * 1000)
        if counted is None:
            return self._local.hit(name, window)
        count, milliseconds = counted
        return int(count), milliseconds / 1000

    def in_redis(self, source: str, name: str, *arguments: Any) -> Any:
        """What the script `source` gives for one key; None while Redis is away: then this process has to count."""

        def run(client: Any) -> Any:
            script = self._scripts.get(source) or self._scripts.setdefault(source, client.register_script(source))
            return script(keys=[name], args=arguments, client=client)

        return self._tried(run)

    def each_in_redis(self, source: str, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any] | None:
        """What the script gives for each of several keys with its arguments, in one round trip; or None, as above.

        Each key is a step of its own: they may live on different servers of a cluster.
        """

        def run(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for name, arguments in calls:
                pipeline.eval(source, 1, name, *arguments)
            return list(pipeline.execute())

        return self._tried(run)

    def _tried(self, run: Callable[[Any], R]) -> R | None:
        if self._redis_rests():
            return None
        try:
            given = run(get_redis_connection("default"))
        except RedisError as failure:
            self._note_failure(failure)
            return None
        self._note_success()
        return given

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


def counters() -> Counters:
    """Those of this process, or what it knows of whether Redis is there."""
    return _shared
