"""Rate limits: shared by all processes, and on while Redis is away."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.test import Client
from django_redis import get_redis_connection
from pytest_django import Settings

from booking_service.api import throttling
from booking_service.api.throttling import Counters, LocalCounters, RateLimit, key_name
from booking_service.devstack.servers import RedisServer

LIMIT = RateLimit("test", limit=3, window=60)


@pytest.fixture(autouse=True)
def _limits_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RATE_LIMIT_ENABLED = True
    settings.TRUSTED_PROXIES = []
    monkeypatch.setattr(throttling, "_shared", Counters())


@pytest.fixture
def own_redis(tmp_path: Path, settings: Settings) -> Iterator[RedisServer]:
    """A Redis that this test may kill."""
    server = RedisServer(tmp_path)
    server.start()
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": server.uri}}
    yield server
    server.stop()


def test_it_allows_the_limit_and_no_more() -> None:
    verdicts = [LIMIT.hit("asha") for _ in range(4)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    assert 58 <= verdicts[-1].retry_after <= 60


def test_it_keeps_keys_and_scopes_apart() -> None:
    for _ in range(4):
        LIMIT.hit("asha")

    assert LIMIT.hit("ravi").allowed
    assert RateLimit("other", limit=3, window=60).hit("asha").allowed


def test_it_starts_anew_when_the_window_ends() -> None:
    short = RateLimit("short", limit=1, window=1)
    assert short.hit("asha").allowed
    assert not short.hit("asha").allowed

    time.sleep(1.1)

    assert short.hit("asha").allowed


def test_it_lets_no_parallel_hit_slip_through() -> None:
    barrier = threading.Barrier(20)

    def hit(_: int) -> bool:
        barrier.wait()
        return LIMIT.hit("asha").allowed

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(hit, range(20))) == 3


def test_it_writes_no_key_in_clear_and_none_without_an_end() -> None:
    LIMIT.hit("asha@example.com")

    names = [name.decode() for name in get_redis_connection("default").scan_iter("patient-booking:limit:*")]

    assert len(names) == 1
    assert "asha" not in names[0]
    assert 0 < get_redis_connection("default").ttl(names[0]) <= 60


def test_it_gives_an_end_to_a_key_that_lost_it() -> None:
    LIMIT.hit("asha")
    get_redis_connection("default").persist(key_name("test", "asha"))

    LIMIT.hit("asha")

    assert get_redis_connection("default").ttl(key_name("test", "asha")) > 0


def test_it_turns_off(settings: Settings) -> None:
    settings.RATE_LIMIT_ENABLED = False

    assert all(LIMIT.hit("asha").allowed for _ in range(10))


def test_it_counts_here_while_redis_is_away(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    assert LIMIT.hit("asha").allowed
    own_redis.kill()

    with caplog.at_level(logging.WARNING):
        started = time.monotonic()
        allowed = [LIMIT.hit("asha").allowed for _ in range(50)]
        seconds = time.monotonic() - started

    assert sum(allowed) == 3
    assert seconds < 1
    assert [record.getMessage() for record in caplog.records] == [
        "rate limits count in this process: Redis failed (ConnectionError)"
    ]


def test_it_counts_in_redis_again_when_it_is_back(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(throttling, "REDIS_PAUSE_SECONDS", 0.1)
    own_redis.kill()
    LIMIT.hit("asha")
    own_redis.start()
    time.sleep(0.2)
    caplog.clear()

    with caplog.at_level(logging.WARNING):
        LIMIT.hit("asha")

    assert get_redis_connection("default").get(key_name("test", "asha")) == b"1"
    assert [record.getMessage() for record in caplog.records] == ["rate limits count in Redis again"]


def test_it_keeps_the_local_counters_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalCounters, "MOST_KEYS", 10)
    counters = LocalCounters()

    for number in range(100):
        counters.hit(str(number), 60)

    assert len(counters._windows) <= 10
    assert counters.hit("99", 60)[0] == 2


def test_it_answers_429_to_a_client_over_the_limit(client: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_REQUESTS = 2

    answers = [client.get("/sample", REMOTE_ADDR="9.9.9.9") for _ in range(3)]
    other = client.get("/sample", REMOTE_ADDR="8.8.8.8")

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["code"] == "TOO_MANY_REQUESTS"
    assert 0 < int(answers[-1]["Retry-After"]) <= settings.RATE_LIMIT_WINDOW_SECONDS
    assert other.status_code == 200


def test_it_is_not_fooled_by_a_forged_address(client: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_REQUESTS = 2

    answers = [client.get("/sample", headers={"X-Forwarded-For": f"1.1.1.{number}"}) for number in range(3)]

    assert answers[-1].status_code == 429


def test_it_counts_each_client_behind_a_trusted_proxy(client: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_REQUESTS = 1
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]

    answers = [client.get("/sample", headers={"X-Forwarded-For": f"1.1.1.{number}"}) for number in range(3)]

    assert {answer.status_code for answer in answers} == {200}
