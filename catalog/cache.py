"""Answers of the catalog, kept in Redis and in the process, and right after every change.

    read:   one script call: the generation, and the answer unless this process holds it for that generation; a process
            that heard the generation TRUST_SECONDS ago or less goes by it, and calls nobody for what it holds
    miss:   one process of all rebuilds (a lock in Redis), the others wait for what it puts there
    write:  the writer joins those under way, a new generation; MongoDB commits; it leaves, a new generation, and waits
            until nobody trusts an old one
    follow: what is made of all services is built once a minute, and the touched ones are read again and put in

Scarce: round trips; a cached answer costs one at most. What is kept belongs to a generation, so a change forgets
everything at once, whatever pod made it, and a slow rebuild can only fill a generation that nobody asks for any more.
While any writer is under way nothing is kept, whoever else comes and goes. One that dies there is counted for
CHANGE_SECONDS, and what was kept before it came is forgotten already: it leaves no old answer.

What is built of all services (the search index) outlives a change. Redis knows which services were touched since its
build began: a writer puts them there before it writes, and again with the new generation. So one that is not there is
as it was built, and the others are read anew for each generation, however late their writer commits. They are in one
key with the name of what was built: neither can be lost without the other.

What callers ask for may be typed by anybody: it becomes part of a name in Redis only as a digest, and locks have names
that no answer can have. What is in Redis is sealed with the name it has there: bytes that this service did not put
there count as a miss, and are built anew.

Ratings and counts change all the time and start no generation: lists show them at most KEEP_SECONDS late.

Redis down: every answer comes from MongoDB. The first failure is logged and Redis is left alone for RETRY_SECONDS;
whoever finds it again starts a new generation, as changes may have gone by unseen. Writers do not leave it alone: what
they have to tell matters to others, who may well reach it. One whom Redis does not hear in all of PAUSES can leave the
others with what they kept, for KEEP_SECONDS at most.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from threading import Lock
from typing import Any, TypeVar

import structlog
from bson import ObjectId
from django.conf import settings
from django_redis import get_redis_connection
from redis import RedisError

from booking_service.djongo import transaction
from booking_service.operations import metrics

logger = structlog.get_logger(__name__)
T = TypeVar("T")

PREFIX = "patient-booking:{catalog}"  # the braces keep all its keys on one node of a Redis Cluster
GENERATION = f"{PREFIX}:generation"
TOUCHED = f"{PREFIX}:touched"  # a hash: the ids of services, and under NAME what was built before they were touched
NAME = b"name"
ID_BYTES = 12
ANSWERS = f"{PREFIX}:answer:"  # and the generation, or what `name` says, and the digest of what is asked for
LOCKS = f"{PREFIX}:lock:"  # and the same
WRITERS = f"{PREFIX}:writers"  # a sorted set: the changes under way, by the moment at which each counts as dead
KEYS = [GENERATION, WRITERS, TOUCHED]
CHANGING = b"changing"
# So old are, at most, counts that change without a new generation, and
# what is written past this app; twice that in searches.
KEEP_SECONDS = 60
TRUST_SECONDS = 0.05  # a booking reads its service: 20 calls of a process a second, not a thousand
CHANGE_SECONDS = 15  # longer than most transactions are retried
REBUILD_SECONDS = 1  # after that who rebuilds counts as dead, and one of those who wait takes over
WAIT_SECONDS = 2  # so long a caller waits for others at most: it holds a thread
SEAL_BYTES = 16
POLL_SECONDS = 0.01
RETRY_SECONDS = 2.0
PAUSES = (0.05, 0.2)  # between the tries of a writer to be heard, in seconds
MOST_KEPT_BYTES = 32 * 2**20  # answers in one process, as Redis holds them
BYTES_BESIDE = 1024  # what an answer takes beside its body; an unknown service has none

NOT_KEPT: tuple[bytes, Any, int] = (b"", None, 0)

_HITS, _MISSES, _WITHOUT_REDIS = (metrics.CACHE_LOOKUPS.labels("catalog", result) for result in ("hit", "miss", "down"))

_GENERATION = """
local generation = redis.call('GET', KEYS[1])
if not generation then
    generation = ARGV[1]
    redis.call('SET', KEYS[1], generation, 'EX', ARGV[2])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZCOUNT', KEYS[2], now, '+inf') > 0 then generation = 'changing' end
"""
_READ = f"""{_GENERATION}
if generation == ARGV[4] then return {{generation}} end
return {{generation, redis.call('GET', ARGV[5] .. generation .. ':' .. ARGV[3])}}
"""
# While a change is under way nothing new is named: what its writer has touched already would not be known.
_FOLLOW = f"""{_GENERATION}
local name = redis.call('HGET', KEYS[3], ARGV[4])
if not name and generation ~= ARGV[3] then
    name = ARGV[1]
    redis.call('HSET', KEYS[3], ARGV[4], name)
    redis.call('EXPIRE', KEYS[3], ARGV[2])
end
return {{generation, name, redis.call('HKEYS', KEYS[3])}}
"""
_TOUCH = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if redis.call('EXISTS', KEYS[3]) == 1 then
    for number = 5, #ARGV do redis.call('HSET', KEYS[3], ARGV[number], '') end
end
"""
_JOIN = f"""{_TOUCH}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[4] * 1000, ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
"""
_LEAVE = f"""{_TOUCH}
redis.call('ZREM', KEYS[2], ARGV[3])
"""
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class RedisAway(Exception):
    """Redis cannot be used at the moment."""


class Connection:
    """Redis, left alone for a while after it failed."""

    def __init__(self) -> None:
        self._away_until: float | None = None
        self._lock = Lock()
        self._scripts: dict[str, Any] = {}

    def call(self, command: Callable[[Any], T]) -> T:
        """What `command(client)` answers. Raises RedisAway; one failure in RETRY_SECONDS waits for a timeout."""
        if self._away_until is not None and self._is_left_alone():
            raise RedisAway
        return self.attempt(command)

    def insist(self, command: Callable[[Any], T]) -> T:
        """The same for who must be heard: now, whatever failed before, and again after each of PAUSES."""
        for pause in PAUSES:
            try:
                return self.attempt(command)
            except RedisAway:
                time.sleep(pause)
        return self.attempt(command)

    def attempt(self, command: Callable[[Any], T]) -> T:
        """What `command(client)` answers, asked now. Raises RedisAway."""
        try:
            client = get_redis_connection("default")
            if self._away_until is not None:
                self._come_back(client)
            return command(client)
        except RedisError as error:
            self._went_away(error)
            raise RedisAway from error

    def script(self, text: str, keys: list[Any], args: list[Any]) -> Callable[[Any], Any]:
        """A Lua script as a command."""

        def run(client: Any) -> Any:
            if text not in self._scripts:
                self._scripts[text] = client.register_script(text)
            return self._scripts[text](keys=keys, args=args, client=client)

        return run

    def _is_left_alone(self) -> bool:
        """Let one caller in RETRY_SECONDS find out whether it is there again."""
        with self._lock:
            if self._away_until is None:
                return False
            if time.monotonic() < self._away_until:
                return True
            self._away_until = time.monotonic() + RETRY_SECONDS
            return False

    def _come_back(self, client: Any) -> None:
        """Forget what may have changed unseen."""
        _forget(client)
        with self._lock:
            was_away, self._away_until = self._away_until, None
        if was_away is not None:
            logger.warning("catalog_cache_back")

    def _went_away(self, error: RedisError) -> None:
        if self._away_until is None:
            logger.warning("catalog_cache_away", error=type(error).__name__)
        self._away_until = time.monotonic() + RETRY_SECONDS


class CatalogCache:
    """`read` is for readers, `changing` for writers; both work without Redis."""

    def __init__(self) -> None:
        self._redis = Connection()
        self._kept: OrderedDict[str, tuple[bytes, Any, int]] = OrderedDict()  # key → (generation, value, bytes)
        self._kept_bytes = 0
        self._trusted: tuple[bytes, float] = (b"", 0.0)  # a generation, and until when
        self._lock = Lock()

    def read(self, key: str, build: Callable[[], bytes], load: Callable[[bytes], T]) -> T:
        """`load(build())`, kept until the catalog changes or KEEP_SECONDS go by.

        Args:
            key: what is asked for; at most one build of it runs at a time, in all processes together.
            build: makes the answer from MongoDB, as bytes that Redis can hold.
            load: makes of the bytes what callers want; the result is shared between threads, so it must not be changed.
        """
        key = _digest(key)
        generation, value, _ = self._kept.get(key, NOT_KEPT)
        trusted, until = self._trusted
        asked_at = time.monotonic()
        if generation == trusted and asked_at < until:
            _HITS.inc()
            return value
        try:
            args = [_new_generation(), KEEP_SECONDS, key, generation, ANSWERS]
            found = self._redis.call(self._redis.script(_READ, [GENERATION, WRITERS], args))
            if found[0] == CHANGING:
                _MISSES.inc()
                return load(build())
            self._trusted = (found[0], asked_at + TRUST_SECONDS)
            if len(found) == 1:
                _HITS.inc()
                return value
            name = _name(found[0], key)
            body = _opened(name, found[1])
            (_MISSES if body is None else _HITS).inc()
            if body is None and transaction.in_transaction():
                return load(build())  # a snapshot may be older than the generation
            if body is None:
                body = self._rebuilt(name, build)
        except RedisAway:
            _WITHOUT_REDIS.inc()
            return load(build())
        return self._keep(key, found[0], load(body), len(body) + BYTES_BESIDE)

    def follow(
        self,
        key: str,
        build: Callable[[], bytes],
        load: Callable[[bytes], T],
        update: Callable[[T, set[ObjectId]], T],
    ) -> T:
        """What `load(build())` makes of all services, as they are now; built once in KEEP_SECONDS, then updated.

        Args:
            key, build, load: as for `read`.
            update: the same with the services of these ids read anew; must not change what it is given.
        """
        if transaction.in_transaction():
            return load(build())  # a snapshot may be older than the generation
        key = _digest(key)
        try:
            args = [_new_generation(), KEEP_SECONDS, CHANGING, NAME]
            generation, name, fields = self._redis.call(self._redis.script(_FOLLOW, KEYS, args))
            updated_for, updated, _ = self._kept.get(f"{key}:updated", NOT_KEPT)
            if generation == updated_for:
                _HITS.inc()
                return updated
            whole = self._whole(key, name, build, load)
        except RedisAway:
            _WITHOUT_REDIS.inc()
            return load(build())
        touched = {ObjectId(field) for field in fields if len(field) == ID_BYTES}
        updated = update(whole, touched) if touched else whole
        return updated if generation == CHANGING else self._keep(f"{key}:updated", generation, updated, BYTES_BESIDE)

    def _whole(self, key: str, name: bytes | None, build: Callable[[], bytes], load: Callable[[bytes], T]) -> T:
        kept_name, value, _ = self._kept.get(key, NOT_KEPT)
        if kept_name == name:
            _HITS.inc()
            return value
        _MISSES.inc()
        if name is None:
            return load(build())
        body = self._rebuilt(_name(name, key), build)
        return self._keep(key, name, load(body), len(body) + BYTES_BESIDE)

    @contextmanager
    def changing(self, touched: Iterable[ObjectId]) -> Iterator[None]:
        """Wrap a change of the catalog in it: who reads after its end reads the change. Inside a transaction the new
        generation waits for its commit; after one that is given up nothing is kept for CHANGE_SECONDS.

        Args:
            touched: the services that are written; none for a change that leaves alone all that is followed.
        """
        ids, writer = [service_id.binary for service_id in touched], _new_generation()

        def tell(how: Callable[[Callable[[Any], Any]], Any], script: str) -> None:
            try:
                how(self._redis.script(script, KEYS, [_new_generation(), KEEP_SECONDS, writer, CHANGE_SECONDS, *ids]))
            except RedisAway:
                return  # nobody is served from Redis by us; whoever finds it again renews the generation

        def leave() -> None:
            tell(self._redis.insist, _LEAVE)
            time.sleep(2 * TRUST_SECONDS)  # however their clocks run, nobody goes by what was before any more

        tell(self._redis.attempt, _JOIN)
        try:
            yield
        finally:
            transaction.on_commit(leave)

    def renew(self) -> None:
        """Forget all that is kept, in all processes; within TRUST_SECONDS."""
        try:
            self._redis.insist(_forget)
        except RedisAway:
            return  # whoever finds it again does the same

    def _keep(self, key: str, generation: bytes, value: T, size: int) -> T:
        with self._lock:
            self._kept_bytes += size - self._kept.pop(key, NOT_KEPT)[2]
            self._kept[key] = (generation, value, size)
            while self._kept_bytes > MOST_KEPT_BYTES:
                self._kept_bytes -= self._kept.popitem(last=False)[1][2]
        return value

    def _rebuilt(self, name: bytes, build: Callable[[], bytes]) -> bytes:
        """The answer, built here or by whoever was first; after WAIT_SECONDS of waiting it is built here anyway."""
        lock, token = LOCKS.encode() + name, _new_generation()
        give_up_at = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < give_up_at:
            if self._redis.call(lambda client: client.set(lock, token, nx=True, ex=REBUILD_SECONDS)):
                return self._built(name, lock, token, build)
            time.sleep(POLL_SECONDS)
            body = self._get(name)
            if body is not None:
                return body
        return build()

    def _built(self, name: bytes, lock: bytes, token: bytes, build: Callable[[], bytes]) -> bytes:
        try:
            body = self._get(name)  # between the miss and the lock somebody may have finished
            if body is None:
                body = build()
                self._put(name, body)
            return body
        finally:
            self._unlock(lock, token)

    def _get(self, name: bytes) -> bytes | None:
        return _opened(name, self._redis.call(lambda client: client.get(ANSWERS.encode() + name)))

    def _put(self, name: bytes, body: bytes) -> None:
        sealed = _seal(name, body) + body
        try:
            self._redis.call(lambda client: client.set(ANSWERS.encode() + name, sealed, ex=KEEP_SECONDS))
        except RedisAway:
            return  # the answer is in hand

    def _unlock(self, lock: bytes, token: bytes) -> None:
        try:
            self._redis.call(self._redis.script(_UNLOCK, [lock], [token]))
        except RedisAway:
            return  # it expires


def _forget(client: Any) -> None:
    client.delete(TOUCHED)
    client.set(GENERATION, _new_generation(), ex=KEEP_SECONDS)


@lru_cache(maxsize=1024)
def _digest(key: str) -> str:
    """What people ask for, as it stands in Redis: not in clear, and of characters that mean nothing there."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


def _name(generation: bytes, digest: str) -> bytes:
    return b"%b:%b" % (generation, digest.encode())


def _seal(name: bytes, body: bytes) -> bytes:
    """What only this service can put before what it keeps under that name."""
    mac = blake2b(name, key=_seal_key(settings.SECRET_KEY), digest_size=SEAL_BYTES)
    mac.update(body)
    return mac.digest()


@lru_cache(maxsize=1)
def _seal_key(secret: str) -> bytes:
    return blake2b(secret.encode(), person=b"catalog-cache").digest()


def _opened(name: bytes, sealed: bytes | None) -> bytes | None:
    """The answer kept under that name; None for no answer, and for what this service did not put there."""
    if sealed is None or not compare_digest(sealed[:SEAL_BYTES], _seal(name, sealed[SEAL_BYTES:])):
        return None
    return sealed[SEAL_BYTES:]


def _new_generation() -> bytes:
    return uuid.uuid4().hex.encode()


catalog_cache = CatalogCache()
