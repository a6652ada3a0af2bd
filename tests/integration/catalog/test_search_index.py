"""The index of search is right after every change, whoever made it, and reads again what was touched and no more."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.core.cache import caches
from django.db import connection
from django_redis import get_redis_connection

from booking_service.devstack.servers import RedisServer
from booking_service.djongo import transaction
from catalog import cache, repositories, search, seeding, services
from catalog.cache import GENERATION, TOUCHED, WRITERS, CatalogCache
from catalog.models import Service
from tests.integration.catalog.documents import EDITOR, service_made, wound_dressing


@contextmanager
def pod(kept: CatalogCache) -> Iterator[None]:
    """What happens in here happens in the process that keeps its answers in `kept`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "catalog_cache", kept)
        yield


def found(query: str = "wound") -> list[str]:
    """The names of the services that a search shows."""
    page, total = services.services_search(query, skip=0, limit=50)
    assert total == len(page)
    return [service["name"] for service in page]


def index_in(pod: CatalogCache) -> search.SearchIndex:
    """The index that the process has which keeps its answers in `pod`; for threads, which all see one module."""
    steps = (repositories.search_index, repositories.search_index_unpacked, repositories.search_index_updated)
    return pod.follow("search-index", *steps)


def update(service_id: ObjectId, **changes: Any) -> None:
    present = Service.objects.mongo_find_one({"_id": service_id})
    document = wound_dressing(name=present["name"], **changes)
    services.service_update(actor=EDITOR, service_id=service_id, version=present["__v"], document=document)


def in_a_thread(function: Callable[[], Any]) -> Any:
    def run() -> Any:
        try:
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as one:
        return one.submit(run).result()


@pytest.fixture
def elsewhere() -> CatalogCache:
    """What another pod keeps."""
    return CatalogCache()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is read for the index: "all", or the ids of services."""
    reads: list[Any] = []
    build, again = repositories.search_index, repositories.search_index_updated

    def all_of_them() -> bytes:
        reads.append("all")
        return build()

    def some(index: search.SearchIndex, service_ids: set[ObjectId]) -> search.SearchIndex:
        reads.append(service_ids)
        return again(index, service_ids)

    monkeypatch.setattr(repositories, "search_index", all_of_them)
    monkeypatch.setattr(repositories, "search_index_updated", some)
    return reads


# --- right after a change
def test_it_shows_every_kind_of_change_that_another_pod_made(elsewhere: CatalogCache) -> None:
    first = service_made("FIRST", sortOrder=1)
    assert found() == ["FIRST"]

    with pod(elsewhere):
        second = service_made("SECOND", sortOrder=2)
    assert found() == ["FIRST", "SECOND"]

    with pod(elsewhere):
        services.services_reorder(actor=EDITOR, orders={first: 2, second: 1})
    assert found() == ["SECOND", "FIRST"]

    with pod(elsewhere):
        services.services_deactivate(actor=EDITOR, service_ids=[first, second])
    assert (found(), services.service_ids_matching("wound")) == ([], [second, first])

    with pod(elsewhere):
        services.services_activate(actor=EDITOR, service_ids=[first])
    assert found() == ["FIRST"]

    with pod(elsewhere):
        update(first, displayName="Burns", seo={"keywords": ["scald"]})
    assert (found("wound"), found("scald")) == ([], ["FIRST"])

    with pod(elsewhere):
        copy = services.service_copy(actor=EDITOR, service_id=first)
    assert services.service_ids_matching("burns") == [first, copy]


def test_it_shows_what_is_changed_here_and_there_in_turn(elsewhere: CatalogCache) -> None:
    service_id, here = service_made(), services.catalog_cache
    for number in range(6):
        for writer, reader in ((here, elsewhere), (elsewhere, here)):
            keyword = f"keyword {number} {writer is here}"
            with pod(writer):
                update(service_id, seo={"keywords": [keyword]})
            with pod(reader):
                assert found(keyword) == ["WOUND_DRESSING"]


def test_it_shows_what_the_seed_brings(elsewhere: CatalogCache) -> None:
    assert found("physiotherapy") == []
    with pod(elsewhere):
        seeding.seed()
    assert len(found("physiotherapy")) > 1


def test_it_shows_what_an_import_brought_and_what_it_took_away(elsewhere: CatalogCache) -> None:
    kept, gone = service_made("KEPT"), service_made("GONE")
    assert found() == ["KEPT", "GONE"]

    Service.objects.mongo_delete_one({"_id": gone})
    Service.objects.mongo_update_one({"_id": kept}, {"$set": {"displayName": "Stitches"}})
    with pod(elsewhere):
        services.services_imported()

    assert (found("stitches"), services.service_ids_matching("gone")) == (["KEPT"], [])


def test_it_shows_no_service_that_was_touched_and_is_gone() -> None:
    service_id = service_made()
    assert found() == ["WOUND_DRESSING"]
    with services.catalog_cache.changing([service_id]):
        Service.objects.mongo_delete_one({"_id": service_id})
    assert services.service_ids_matching("wound") == []


def test_it_shows_a_change_when_it_is_committed_however_late(elsewhere: CatalogCache) -> None:
    service_id = service_made()
    assert found() == ["WOUND_DRESSING"]

    with pod(elsewhere), transaction.atomic():
        services.services_deactivate(actor=EDITOR, service_ids=[service_id])
        assert found() == []  # as the writer sees it
        assert in_a_thread(found) == ["WOUND_DRESSING"]
        services.services_imported()  # all that was built and touched is forgotten
        assert in_a_thread(found) == ["WOUND_DRESSING"]

    assert found() == []


def test_it_shows_a_change_that_a_quicker_one_overtook(elsewhere: CatalogCache) -> None:
    slow, quick = service_made("SLOW"), service_made("QUICK")

    def overtake() -> list[str]:
        services.services_deactivate(actor=EDITOR, service_ids=[quick])
        return found()

    with pod(elsewhere), transaction.atomic():
        services.services_deactivate(actor=EDITOR, service_ids=[slow])
        assert in_a_thread(overtake) == ["SLOW"]

    assert found() == []


def test_it_keeps_nothing_that_an_older_snapshot_saw() -> None:
    service_id = service_made()
    with transaction.atomic():
        Service.objects.mongo_find_one({})  # the snapshot is taken here
        in_a_thread(lambda: services.services_deactivate(actor=EDITOR, service_ids=[service_id]))
        assert found() == ["WOUND_DRESSING"]

    assert found() == []


def test_it_keeps_nothing_while_a_service_is_changing(elsewhere: CatalogCache) -> None:
    service_id = service_made()
    assert found() == ["WOUND_DRESSING"]

    with elsewhere.changing([service_id]):
        assert found() == ["WOUND_DRESSING"]
        Service.objects.mongo_update_one({"_id": service_id}, {"$set": {"availability.isActive": False}})
        assert found() == []


def test_it_shows_what_a_writer_did_who_died_without_a_word(elsewhere: CatalogCache) -> None:
    service_id = service_made()
    assert found() == ["WOUND_DRESSING"]

    dead = elsewhere.changing([service_id])
    dead.__enter__()
    services.service_review_add(name="WOUND_DRESSING", stars=5)  # a new generation, before the other has written
    assert found() == ["WOUND_DRESSING"]
    Service.objects.mongo_update_one({"_id": service_id}, {"$set": {"availability.isActive": False}})
    services.service_review_add(name="WOUND_DRESSING", stars=5)

    assert found() == []


def test_it_names_nothing_before_it_knows_what_is_being_changed(elsewhere: CatalogCache) -> None:
    service_id, redis = service_made(), get_redis_connection("default")
    assert not redis.exists(TOUCHED)  # as nobody has searched

    dead = elsewhere.changing([service_id])
    dead.__enter__()
    assert found() == ["WOUND_DRESSING"]
    Service.objects.mongo_update_one({"_id": service_id}, {"$set": {"availability.isActive": False}})
    redis.delete(WRITERS)  # it counts as dead

    assert found() == []


def test_it_shows_each_change_among_many_in_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KEEP_SECONDS", 1)  # what is built is built anew now and then
    pods = [CatalogCache() for _ in range(3)]
    ids = [service_made(f"SERVICE_{number}") for number in range(4)]

    def edit(service_id: ObjectId) -> list[str]:
        chance, missed = random.Random(service_id.binary), []
        until = time.monotonic() + 3
        while time.monotonic() < until:
            keyword = f"{service_id} {chance.random()}"
            with chance.choice(pods).changing([service_id]):
                Service.objects.mongo_update_one({"_id": service_id}, {"$set": {"seo.keywords": [keyword]}})
            matches = index_in(chance.choice(pods)).matches(keyword)
            missed += [keyword] * ([entry.service for entry in matches] != [service_id])
        connection.close()
        return missed

    with ThreadPoolExecutor(len(ids)) as pool:
        assert list(pool.map(edit, ids)) == [[]] * len(ids)


POD = """
import sys, django
django.setup()
from bson import ObjectId
from catalog import services
from tests.integration.catalog.documents import EDITOR, service_made
for line in sys.stdin:
    what, service = line.split()
    if what == "add":
        service_made(service)
    else:
        services.services_deactivate(actor=EDITOR, service_ids=[ObjectId(service)])
    print(len(services.service_ids_matching("wound")), flush=True)
"""


@pytest.fixture
def there(process_environment: dict[str, str]) -> Iterator[Callable[[str], int]]:
    """Another process: does what it is told, and answers how many services it finds."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", POD]
    with subprocess.Popen(command, env=process_environment, stdin=pipe, stdout=pipe, text=True) as process:

        def told(what: str) -> int:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield told


def test_it_shows_what_another_process_changed_and_that_what_we_change(there: Callable[[str], int]) -> None:
    first = service_made("FIRST")
    assert found() == ["FIRST"]

    assert (there("add SECOND"), set(found())) == (2, {"FIRST", "SECOND"})
    service_made("THIRD")
    assert (there(f"deactivate {first}"), set(found())) == (3, {"SECOND", "THIRD"})


# --- what is read
def test_it_reads_again_only_what_was_touched(elsewhere: CatalogCache, reads: list[Any]) -> None:
    ids = [service_made(f"SERVICE_{number}") for number in range(6)]
    assert (len(found()), reads) == (6, ["all"])
    reads.clear()

    with pod(elsewhere):
        services.services_deactivate(actor=EDITOR, service_ids=ids[:2])

    for _ in range(3):
        assert len(found()) == 4
    assert reads == [set(ids[:2])]


def test_it_reads_nothing_again_after_a_review(reads: list[Any]) -> None:
    service_made()
    found()
    reads.clear()

    services.service_review_add(name="WOUND_DRESSING", stars=4)

    [service], _ = services.services_search("wound", skip=0, limit=20)
    assert (service["stats"]["avgRating"], reads) == (4, [])


def test_it_reads_all_once_however_many_processes_ask(reads: list[Any]) -> None:
    service_id, pods = service_made(), [CatalogCache() for _ in range(4)]
    ready = threading.Barrier(16)

    def search_in(number: int) -> list[ObjectId]:
        ready.wait(5)
        index = index_in(pods[number % 4])
        connection.close()
        return [entry.service for entry in index.matches("wound")]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(search_in, range(16))) == [[service_id]] * 16
    assert reads == ["all"]


def test_it_takes_what_another_process_built_and_brings_it_up_to_date(
    elsewhere: CatalogCache, reads: list[Any]
) -> None:
    first, second = service_made("FIRST"), service_made("SECOND")
    found()
    services.services_deactivate(actor=EDITOR, service_ids=[first])
    reads.clear()

    with pod(elsewhere):
        assert found() == ["SECOND"]

    assert reads == [{first}]
    assert services.service_ids_matching("second") == [second]


def test_it_reads_all_again_after_a_while(monkeypatch: pytest.MonkeyPatch, reads: list[Any]) -> None:
    service_made()
    found()
    redis = get_redis_connection("default")
    assert 0 < redis.ttl(TOUCHED) <= cache.KEEP_SECONDS
    redis.expire(TOUCHED, 5)
    service_made("SECOND")
    assert 0 < redis.ttl(TOUCHED) <= 5  # a change prolongs nothing

    redis.delete(TOUCHED, GENERATION)  # as after KEEP_SECONDS
    found()

    assert reads == ["all", "all"]


# --- without Redis
def test_it_finds_the_same_without_redis_and_every_change_when_that_is_back(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "RETRY_SECONDS", 0.0)
    with RedisServer(tmp_path) as server, pod(CatalogCache()):
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": server.uri}}
        service_id = service_made()
        assert found() == ["WOUND_DRESSING"]
        redis = get_redis_connection("default")
        remembered = {key: redis.dump(key) for key in redis.keys("*")}
        server.kill()

        assert found() == ["WOUND_DRESSING"]
        update(service_id, seo={"keywords": ["scald"]})
        assert (found("bandage"), found("scald")) == ([], ["WOUND_DRESSING"])

        server.start()
        for key, value in remembered.items():  # as if its disk had kept everything
            get_redis_connection("default").restore(key, 60_000, value, replace=True)
        assert found("scald") == found("scald") == ["WOUND_DRESSING"]
        assert found("bandage") == []
    del caches["default"]
