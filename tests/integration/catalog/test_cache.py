"""The catalog's cache: one round trip, right after every change, one rebuild at a time, the same without Redis."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django_redis import get_redis_connection
from redis.connection import Connection
from redis.exceptions import ConnectionError
from structlog.testing import capture_logs

from booking_service.devstack.servers import RedisServer
from booking_service.djongo import transaction
from catalog import cache, services
from catalog.cache import GENERATION, TOUCHED, WRITERS, CatalogCache
from catalog.exceptions import ServiceNotFound
from catalog.models import Service
from tests.integration.catalog.documents import EDITOR, service_made, wound_dressing

client = Client()


@pytest.fixture(autouse=True)
def _no_limits(settings: Any) -> None:
    settings.RATE_LIMIT_ENABLED = False  # it asks Redis too, and round trips are counted here


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes to Redis, one entry a round trip."""
    sent: list[bytes] = []
    send = Connection.send_packed_command

    def record(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(b"".join(command) if isinstance(command, list) else command)
        return send(self, command, *args, **kwargs)

    monkeypatch.setattr(Connection, "send_packed_command", record)
    return sent


class Builder:
    """Counts how often the answer is made."""

    def __init__(self, answer: bytes = b"made", seconds: float = 0.0) -> None:
        self.answer, self.seconds, self.built = answer, seconds, 0

    def __call__(self) -> bytes:
        self.built += 1
        time.sleep(self.seconds)
        return self.answer


def read(pod: CatalogCache, build: Callable[[], bytes], key: str = "key") -> str:
    return pod.read(key, build, bytes.decode)


def names() -> list[str]:
    return [service["displayName"] for service in client.get("/api/services").json()["data"]]


# --- one round trip
@pytest.mark.parametrize(
    "path",
    ["", "?city=mumbai", "/featured", "/popular", "/search?q=wound", "/wound-dressing", "/wound-dressing/pricing"],
)
def test_it_answers_from_the_cache_in_one_round_trip(path: str, sent: list[bytes]) -> None:
    service_made()
    first = client.get(f"/api/services{path}")
    sent.clear()

    second = client.get(f"/api/services{path}")

    assert len(sent) == 1
    assert b"EVALSHA" in sent[0]
    if "pricing" not in path:
        assert (second.content, second["ETag"]) == (first.content, first["ETag"])


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> float:
    """A process goes by a generation for a while, as in production; the seconds."""
    monkeypatch.setattr(cache, "TRUST_SECONDS", 0.05)
    return 0.05


def test_it_asks_redis_nothing_for_what_it_held_a_moment_ago(trusting: float, sent: list[bytes]) -> None:
    pod, build = CatalogCache(), Builder()
    read(pod, build)
    read(pod, build, "another")
    time.sleep(trusting)
    read(pod, build)
    sent.clear()

    assert [read(pod, build), read(pod, build, "another")] == ["made", "made"]
    assert (sent, build.built) == ([], 2)

    time.sleep(trusting)
    assert (read(pod, build), len(sent)) == ("made", 1)


@pytest.mark.parametrize("join", [cache._JOIN, "return redis.call('UNHEARD')"], ids=["heard", "unheard"])
def test_nobody_reads_what_was_before_a_change_that_is_made(
    trusting: float, monkeypatch: pytest.MonkeyPatch, join: str
) -> None:
    """However many pods trust what they hold, and though Redis did not hear the beginning of the change."""
    monkeypatch.setattr(cache, "_JOIN", join)
    pods, writer, stored, made, changes = [CatalogCache() for _ in range(3)], CatalogCache(), [0], [0], 20
    over = threading.Event()

    def read_on(pod: CatalogCache) -> list[tuple[int, int]]:
        seen = []
        while not over.is_set():
            before = made[0]
            seen.append((before, int(read(pod, lambda: b"%d" % stored[0]))))
        return seen

    with ThreadPoolExecutor(len(pods)) as threads:
        readers = [threads.submit(read_on, pod) for pod in pods]
        for _ in range(changes):
            with writer.changing([]):
                stored[0] += 1
            made[0] = stored[0]
            time.sleep(trusting / 2)
        over.set()
    seen = [pair for reader in readers for pair in reader.result()]

    assert [(before, found) for before, found in seen if found < before] == []
    assert {found for _, found in seen} >= set(range(1, changes + 1))


def test_a_request_within_the_limits_takes_one_more_for_the_limit(settings: Any, sent: list[bytes]) -> None:
    """As in production: limits work without the catalog, and the catalog without limits; each asks for itself."""
    settings.RATE_LIMIT_ENABLED = True
    service_made()
    client.get("/api/services")
    sent.clear()

    client.get("/api/services")

    assert [cache.PREFIX.encode() in command for command in sent] == [False, True]


def test_it_takes_one_round_trip_too_for_what_another_pod_has_built(sent: list[bytes]) -> None:
    one, other, build = CatalogCache(), CatalogCache(), Builder()
    read(one, build)
    read(other, build, "something else, so that the script is known")
    sent.clear()

    assert read(other, build) == "made"

    assert (len(sent), build.built) == (1, 2)


def test_it_keeps_so_many_bytes_in_a_process_and_no_more(monkeypatch: pytest.MonkeyPatch, sent: list[bytes]) -> None:
    monkeypatch.setattr(cache, "MOST_KEPT_BYTES", 4 * cache.BYTES_BESIDE)
    pod, long = CatalogCache(), b"x" * 2 * cache.BYTES_BESIDE
    read(pod, Builder(long), "first")
    read(pod, Builder(long), "second")  # for which the first one has to go
    read(pod, Builder(b""), "third")

    assert len(pod._kept) == 2
    sent.clear()
    assert [read(pod, Builder(b"again"), key) for key in ("first", "second", "third")] == [
        long.decode(),
        long.decode(),
        "",
    ]
    assert len(sent) == 3  # Redis still has it


def test_it_asks_mongodb_nothing_for_a_cached_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    service_made()
    names()
    monkeypatch.setattr("catalog.repositories.services_on", None)
    assert names() == ["Wound dressing"]


def test_a_city_is_one_answer_however_it_is_written() -> None:
    service_made()
    one = client.get("/api/services", {"city": "mumbai"}).content
    kept = len(in_redis("*:answer:*"))

    for city in ("MUMBAI", "mUmBaI", "mum\u200bbai", "\u2060Mumbai \ufeff", "\uff2dumbai", "mu\u00admbai"):
        assert client.get("/api/services", {"city": city}).content == one

    assert len(in_redis("*:answer:*")) == kept


# --- right after a change
def test_it_shows_every_kind_of_change_at_once() -> None:
    service_id = service_made()
    assert names() == ["Wound dressing"]

    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=wound_dressing(displayName="New"))
    assert names() == ["New"]
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])
    assert names() == []
    services.services_activate(actor=EDITOR, service_ids=[service_id])
    assert names() == ["New"]


def test_it_shows_a_change_that_another_pod_made(monkeypatch: pytest.MonkeyPatch) -> None:
    service_id = service_made()
    assert names() == ["Wound dressing"]

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(services, "catalog_cache", CatalogCache())
        services.services_deactivate(actor=EDITOR, service_ids=[service_id])

    assert names() == []


def test_it_prices_by_a_change_at_once() -> None:
    service_id = service_made()
    assert services.service_resolve("WOUND_DRESSING").base_price == 499

    dearer = wound_dressing(pricing={"basePrice": 600, "currency": "INR"})
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=dearer)

    assert services.service_resolve("WOUND_DRESSING").base_price == 600


def test_it_prices_a_service_with_a_time_in_it_that_no_calendar_has() -> None:
    service_id = service_made()
    far = DatetimeMS(8_640_000_000_000_000)
    Service.objects.mongo_update_one({"_id": service_id}, {"$set": {"pricing.since": far}})
    services.services_imported()

    for _ in range(2):
        assert services.service_resolve("WOUND_DRESSING").base_price == 499


def test_it_forgets_within_a_transaction_only_when_that_commits() -> None:
    service_id = service_made()
    names()

    with transaction.atomic():
        services.services_deactivate(actor=EDITOR, service_ids=[service_id])
        assert get_redis_connection("default").zcard(WRITERS) == 1

    assert get_redis_connection("default").zcard(WRITERS) == 0
    assert names() == []


def test_it_keeps_nothing_while_the_catalog_is_changing() -> None:
    pod, build = CatalogCache(), Builder(b"before")
    with pod.changing([]):
        assert read(pod, build) == "before"
        build.answer = b"after"
        assert read(pod, build) == "after"
    assert read(pod, build) == "after"


def test_it_recovers_from_a_writer_that_died_in_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHANGE_SECONDS", 1)
    pod, build = CatalogCache(), Builder()
    never_left = pod.changing([])
    never_left.__enter__()

    read(pod, build), read(pod, build)
    time.sleep(1.1)
    read(pod, build), read(pod, build)

    assert build.built == 3  # twice past the cache, then once for it


def test_it_keeps_nothing_while_one_of_two_writers_is_under_way() -> None:
    pod, build = CatalogCache(), Builder(b"before")
    read(pod, build)
    dying = CatalogCache().changing([])
    dying.__enter__()
    with CatalogCache().changing([]):
        pass

    assert read(pod, build) == "before"
    build.answer = b"after"  # the other commits, and dies without a word

    assert read(pod, build) == "after"


def test_it_does_not_bring_back_what_was_kept_before_a_writer_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHANGE_SECONDS", 1)
    pod, build = CatalogCache(), Builder(b"before")
    read(pod, build)
    CatalogCache().changing([]).__enter__()
    build.answer = b"after"
    time.sleep(1.1)

    assert read(pod, build) == read(CatalogCache(), build) == "after"


def test_it_counts_a_dead_writer_no_longer_because_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHANGE_SECONDS", 1)
    pod, build = CatalogCache(), Builder()
    pod.changing([]).__enter__()
    for _ in range(6):
        time.sleep(0.2)
        with pod.changing([]):
            pass

    read(pod, build), read(pod, build)

    assert build.built == 1


def test_reviews_leave_alone_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    service_id = service_made()
    assert names() == ["Wound dressing"]

    services.service_review_add(name="WOUND_DRESSING", stars=4)
    with pytest.raises(RuntimeError), transaction.atomic():
        services.service_review_add(name="WOUND_DRESSING", stars=1)
        raise RuntimeError

    with monkeypatch.context() as without:
        without.setattr("catalog.repositories.services_on", None)
        assert names() == ["Wound dressing"]
    services.services_reorder(actor=EDITOR, orders={service_id: 7})
    [service] = client.get("/api/services").json()["data"]
    assert (service["stats"]["avgRating"], service["stats"]["totalReviews"]) == (4, 1)


def test_it_does_not_let_a_slow_rebuild_bring_back_what_was_there_before() -> None:
    slow, writer = CatalogCache(), CatalogCache()

    def build_during_a_change() -> bytes:
        with writer.changing([]):
            pass
        return b"old"

    assert read(slow, build_during_a_change) == "old"
    assert read(slow, Builder(b"new")) == "new"


def deactivate(service_id: ObjectId) -> None:
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])
    connection.close()


def test_it_does_not_keep_what_an_older_snapshot_saw() -> None:
    service_id = service_made()
    with transaction.atomic():
        Service.objects.mongo_find_one({})  # the snapshot is taken here
        elsewhere = threading.Thread(target=deactivate, args=[service_id])
        elsewhere.start()
        elsewhere.join()
        assert services.service_resolve("WOUND_DRESSING").is_active is True

    assert services.service_resolve("WOUND_DRESSING").is_active is False


# --- no stampede
def test_it_rebuilds_once_however_many_ask() -> None:
    build, pods = Builder(seconds=0.3), [CatalogCache() for _ in range(4)]

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: read(pods[number % 4], build), range(24)))

    assert (set(answers), build.built) == ({"made"}, 1)


def test_it_looks_once_however_many_ask_for_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(key: str) -> None:
        looked.append(key)
        time.sleep(0.05)

    with monkeypatch.context() as slow, ThreadPoolExecutor(16) as pool:
        slow.setattr("catalog.repositories.active_service", look)
        answers = list(pool.map(lambda _: client.get("/api/services/night-nursing").status_code, range(64)))

    assert (set(answers), looked) == ({404}, ["night-nursing"])
    service_made("NIGHT_NURSING")
    assert client.get("/api/services/night-nursing").status_code == 200


def test_it_does_not_wait_for_ever_for_one_that_died_rebuilding(monkeypatch: pytest.MonkeyPatch) -> None:
    pod, started = CatalogCache(), time.monotonic()
    with monkeypatch.context() as dying:
        dying.setattr(CatalogCache, "_built", lambda self, name, *_: name)
        read(pod, Builder())
    assert in_redis("*:lock:*") != []

    with ThreadPoolExecutor(8) as pool:
        build = Builder()
        assert set(pool.map(lambda _: read(CatalogCache(), build), range(8))) == {"made"}

    assert build.built == 1
    assert time.monotonic() - started < cache.WAIT_SECONDS


@pytest.mark.parametrize("ask", [services.service_find, services.service_resolve])
def test_nobody_holds_the_lock_of_another_answer_by_what_they_ask_for(ask: Callable[[str], Any]) -> None:
    started = time.monotonic()
    for key in ("zz1:lock", "zz1", "lock:zz1", "zz1:lock:lock"):
        with pytest.raises(ServiceNotFound):
            ask(key)
    assert time.monotonic() - started < 1


def test_it_frees_the_lock_when_a_rebuild_fails() -> None:
    def fail() -> bytes:
        raise RuntimeError("MongoDB is down")

    pod = CatalogCache()
    with pytest.raises(RuntimeError):
        read(pod, fail)
    started = time.monotonic()
    assert read(pod, Builder()) == "made"
    assert time.monotonic() - started < 1


# --- what others put into Redis
JUNK = [b"", b"junk", b"\xff" * 64, b'{"success":true,"data":"junk"}' * 9]


def in_redis(pattern: str) -> list[bytes]:
    return get_redis_connection("default").keys(pattern)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("path", ["", "?city=mumbai", "/search?q=wound", "/wound-dressing", "/wound-dressing/pricing"])
def test_it_builds_anew_what_others_put_in_place_of_an_answer(
    path: str, junk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_made()
    path = f"/api/services{path}{'&' if '?' in path else '?'}at=2026-12-01T10:00:00Z"
    first, redis = client.get(path), get_redis_connection("default")
    redis.mset(dict.fromkeys(in_redis("*:answer:*"), junk))

    for _ in range(2):
        another_process(monkeypatch)
        again = client.get(path)
        assert (again.status_code, again.content) == (200, first.content)
    assert junk not in redis.mget(in_redis("*:answer:*"))


def test_it_does_not_take_the_answer_to_one_question_for_that_to_another() -> None:
    read(CatalogCache(), Builder(b"cheap"), "one")
    [one] = in_redis("*:answer:*")
    read(CatalogCache(), Builder(b"dear"), "other")
    [other] = set(in_redis("*:answer:*")) - {one}
    get_redis_connection("default").copy(one, other, replace=True)

    assert read(CatalogCache(), Builder(b"dear"), "other") == "dear"


@pytest.mark.parametrize("generation", [b"\xff\xfe", b"", b"a:b"])
def test_any_bytes_can_name_a_generation(generation: bytes) -> None:
    service_made()
    names()
    get_redis_connection("default").set(GENERATION, generation, ex=60)

    assert names() == names() == ["Wound dressing"]
    assert len(client.get("/api/services/search?q=wound").json()["data"]) == 1


def test_it_passes_over_what_is_no_id_among_the_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    service_made()
    assert len(client.get("/api/services/search?q=wound").json()["data"]) == 1
    get_redis_connection("default").hset(TOUCHED, b"no id", "")
    get_redis_connection("default").delete(GENERATION)
    another_process(monkeypatch)

    assert len(client.get("/api/services/search?q=wound").json()["data"]) == 1


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on requests are answered by a process that keeps nothing yet."""
    for module in ("catalog.services", "catalog.views"):
        monkeypatch.setattr(f"{module}.catalog_cache", CatalogCache())


# --- without Redis
@pytest.fixture
def redis_server(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    with RedisServer(tmp_path) as server:
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": server.uri}}
        own = CatalogCache()
        monkeypatch.setattr(services, "catalog_cache", own)
        monkeypatch.setattr("catalog.views.catalog_cache", own)
        monkeypatch.setattr(cache, "RETRY_SECONDS", 0.5)
        yield server
    del caches["default"]


def test_it_gives_the_same_answers_without_redis_and_says_so_once(redis_server: RedisServer) -> None:
    service_id = service_made()
    paths = ["", "/featured", "/search?q=wound", "/wound-dressing"]
    before = [client.get(f"/api/services{path}").json() for path in paths]
    redis_server.kill()

    with capture_logs() as logs:
        without = [client.get(f"/api/services{path}").json() for path in paths for _ in range(5)][::5]
        services.services_deactivate(actor=EDITOR, service_ids=[service_id])
        assert names() == []

    assert without == before
    assert [line["event"] for line in logs if line["event"].startswith("catalog")] == ["catalog_cache_away"]


def test_it_finds_redis_again_and_forgets_what_that_remembers(redis_server: RedisServer) -> None:
    service_id = service_made()
    assert names() == ["Wound dressing"]
    remembered = {
        key: get_redis_connection("default").get(key) for key in get_redis_connection("default").keys("*:generation*")
    }
    redis_server.kill()
    assert names() == ["Wound dressing"]
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])

    redis_server.start()
    get_redis_connection("default").mset(remembered)  # as if its disk had kept everything
    time.sleep(0.6)

    with capture_logs() as logs:
        assert names() == names() == []
    assert [line["event"] for line in logs if line["event"].startswith("catalog")] == ["catalog_cache_back"]


def unlucky(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The next so many calls of Redis fail."""
    reach, failures = cache.get_redis_connection, [ConnectionError("reset by peer")] * times

    def get(alias: str) -> Any:
        if failures:
            raise failures.pop()
        return reach(alias)

    monkeypatch.setattr(cache, "get_redis_connection", get)


def test_a_writer_tells_though_a_read_has_just_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    service_id = service_made()
    reader, build = CatalogCache(), Builder(b"before")
    read(reader, build)
    unlucky(monkeypatch, 1)
    read(services.catalog_cache, Builder())  # which leaves Redis alone now

    services.services_deactivate(actor=EDITOR, service_ids=[service_id])

    build.answer = b"after"
    assert read(reader, build) == "after"


@pytest.mark.parametrize("failures", [1, 2])
def test_a_writer_tries_again_to_tell_that_it_has_committed(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    reader, writer, build = CatalogCache(), CatalogCache(), Builder(b"before")
    with writer.changing([]):
        unlucky(monkeypatch, failures)

    assert get_redis_connection("default").zcard(WRITERS) == 0
    read(reader, build), read(reader, build)
    assert build.built == 1


def test_whoever_finds_redis_again_tells_what_a_writer_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "RETRY_SECONDS", 0.0)
    reader, writer, build = CatalogCache(), CatalogCache(), Builder(b"before")
    read(reader, build)
    unlucky(monkeypatch, 4)  # all that it tries: to join, and to leave with every pause
    with writer.changing([]):
        build.answer = b"after"

    assert read(reader, build) == "before"
    read(writer, Builder(), "anything")

    assert read(reader, build) == "after"


def test_it_asks_a_dead_redis_seldom(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server.kill()
    tries: list[Any] = []
    connect = Connection.connect

    def count(self: Any, *args: Any, **kwargs: Any) -> None:
        tries.append(1)
        connect(self, *args, **kwargs)

    monkeypatch.setattr(Connection, "connect", count)

    for _ in range(20):
        names()

    assert len(tries) <= 5  # redis-py's own retries of the one attempt


# --- for clients
def test_it_tells_a_client_that_nothing_has_changed() -> None:
    service_id = service_made()
    first = client.get("/api/services")
    assert first["Cache-Control"] == "public, max-age=0, must-revalidate"

    again = client.get("/api/services", headers={"If-None-Match": first["ETag"]})

    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])
    assert client.get("/api/services", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_it_keeps_nothing_that_people_typed_in_redis() -> None:
    service_made()
    client.get("/api/services/search?q=my+name+is+asha")
    client.get("/api/services/hiv-care-for-asha/pricing")
    with pytest.raises(ServiceNotFound):
        services.service_resolve("HIV care for asha")
    keys = b" ".join(get_redis_connection("default").keys("*"))
    assert b"asha" not in keys
    assert json.loads(client.get("/api/services/search?q=my+name+is+asha").content)["count"] == 0
