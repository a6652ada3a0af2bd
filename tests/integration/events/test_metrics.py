"""What Prometheus reads from the publisher's and the consumer's port."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from booking_service.devstack.servers import free_port
from events.backlog import QueueCollector
from events.broker import short_channel
from events.consumer import Fate
from events.deliveries import CALLS
from events.publisher import Outcome
from events.schemas import CONSUMED_BY_NAME, PUBLISHED_BY_NAME
from events.topology import topology
from tests.integration.events.rabbit import eventually, put, send

pytestmark = pytest.mark.broker

CONSUMED, PUBLISHED = "booking_events_consumed_total", "booking_events_published_total"
DELIVERED, QUEUES = "booking_events_partner_deliveries_total", "booking_events_queue_messages"

Samples = dict[tuple[str, ...], float]


def samples(text: str, name: str) -> Samples:
    """The values of one metric by those of its labels, whose names are in order."""
    families = text_string_to_metric_families(text)
    told = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in told}


@pytest.fixture
def scraped(spawn: Any) -> Callable[[str], Callable[[str], Samples]]:
    """Starts a command with a port for its metrics; what it returns reads one metric from there."""

    def start(command: str) -> Callable[[str], Samples]:
        port = free_port()
        spawn(command, EVENTS_METRICS_PORT=str(port)).wait_for("er_started")

        def read(name: str) -> Samples:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return samples(answer.read().decode(), name)

        return read

    return start


def test_the_consumer_shows_its_counts_from_zero_and_the_depth_of_the_queues(rabbit: str, scraped: Any) -> None:
    read = scraped("consume_events")
    assert read(CONSUMED) == dict.fromkeys(product(Fate, [*CONSUMED_BY_NAME, "unknown"]), 0)
    assert read(QUEUES) == {("events",): 0, ("dead",): 0}

    send(rabbit, body=b"no JSON")

    eventually(lambda: read(CONSUMED)["dead", "payment.completed"] == 1)
    assert read(QUEUES) == {("events",): 0, ("dead",): 1}
    assert sum(read(CONSUMED).values()) == 1


def test_the_publisher_shows_its_counts_from_zero(rabbit: str, listening: str, scraped: Any, waiting: Any) -> None:
    read = scraped("publish_events")
    assert read(PUBLISHED) == dict.fromkeys(product(Outcome, PUBLISHED_BY_NAME), 0)
    assert read(DELIVERED) == dict.fromkeys(product(("done", "retried", "dead"), CALLS), 0)
    assert read(QUEUES) == {("events",): 0, ("dead",): 0}

    waiting(1)

    eventually(lambda: read(PUBLISHED)["confirmed", "booking.created"] == 1)


@pytest.fixture
def depths() -> Callable[[], Samples]:
    registry = CollectorRegistry()
    registry.register(QueueCollector())
    return lambda: samples(generate_latest(registry).decode(), QUEUES)


def test_messages_that_wait_and_those_that_the_broker_buried_are_told(rabbit: str, depths: Any) -> None:
    put(rabbit, "", topology().dead_queue, b"{}")
    for _ in range(2):
        send(rabbit)
    eventually(lambda: depths() == {("events",): 2, ("dead",): 1})


def test_without_a_queue_or_a_broker_nothing_is_told_and_nothing_breaks(
    rabbit: str, depths: Any, settings: Any
) -> None:
    with short_channel(rabbit) as channel:
        channel.queue_delete(topology().queue)
    assert depths() == {}
    settings.RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:1/none"
    assert depths() == {}
