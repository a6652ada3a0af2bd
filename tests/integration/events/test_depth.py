"""events.depth: what a consumer saw waiting in RabbitMQ, on the admin's first page."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django_redis import get_redis_connection
from pytest_django import Settings

from booking_service.operations.dashboard import Figure
from events import dashboard, depth
from events.lanes import consume_until
from events.topology import topology
from tests.integration.events.rabbit import eventually, put, send


def dead_letters() -> list[Figure]:
    return [figure for figure in dashboard.numbers().figures if figure.title == "Dead letters"]


@pytest.fixture
def consuming(rabbit: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A consumer that looks often."""
    monkeypatch.setattr(depth, "LOOK_SECONDS", 0.1)
    stopping = threading.Event()
    thread = threading.Thread(target=consume_until, args=(stopping,))
    thread.start()
    yield
    stopping.set()
    thread.join(10)


@pytest.mark.broker
@pytest.mark.usefixtures("consuming")
def test_staff_see_how_many_dead_letters_wait_in_rabbitmq(rabbit: str) -> None:
    put(rabbit, "", topology().dead_queue, b"{}")
    eventually(lambda: [figure.value for figure in dead_letters()] == ["1"])

    send(rabbit, body=b"no JSON")

    eventually(lambda: [(figure.value, figure.tone) for figure in dead_letters()] == [("2", "danger")])


def test_none_is_good_news() -> None:
    depth.note({"events": 3, "dead": 0})
    assert [(figure.value, figure.tone) for figure in dead_letters()] == [("0", "normal")]


def test_what_no_consumer_has_told_is_not_shown() -> None:
    assert dead_letters() == []


@pytest.mark.parametrize("shape", [["dead"], {"dead": "many"}, {"dead": None}, "dead", 5])
def test_what_has_another_shape_is_not_shown(shape: object) -> None:
    cache.set(depth.KEY, shape, 60)

    assert depth.noted() == {}


def test_what_is_no_json_is_not_shown() -> None:
    depth.note({"dead": 1})
    (key,) = get_redis_connection("default").keys(f"*{depth.KEY}")
    get_redis_connection("default").set(key, b"\x80\x04junk")

    assert depth.noted() == {}


def test_without_redis_a_consumer_goes_on_and_staff_are_shown_the_rest(settings: Settings) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}

    depth.note({"dead": 1})

    assert depth.noted() == {}
