"""Fixtures of the event tests: the broker, its topology with short delays, and rows to publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from prometheus_client.metrics import MetricWrapperBase
from pytest_django import Settings

from booking_service.djongo.transaction import atomic
from booking_service.operations.metrics import (
    EVENTS_CONSUMED,
    EVENTS_DELIVERED,
    EVENTS_HANDLER_SECONDS,
    EVENTS_PUBLISHED,
)
from events import broker
from events.consumer import Consumer
from events.models import Lane
from events.repositories import NewEvent, outbox_add
from events.topology import topology
from tests.chaos.stack import Process
from tests.integration.events.rabbit import counts, empty, eventually


@pytest.fixture
def rabbit(settings: Settings) -> str:
    """The URL of a broker whose queues of ours are there and empty, with retries after 100 and 200 ms.

    Nobody else listens: other tests' stand-ins leave durable queues, and their bindings go with the exchanges.
    """
    settings.EVENTS_RETRY_SECONDS = [0.1, 0.2]
    url = settings.RABBITMQ_URL
    with broker.short_channel(url) as channel:
        for exchange in topology().exchanges:
            channel.exchange_delete(exchange)
    broker.declare_topology(url, topology())
    empty(url, topology())
    return url


@pytest.fixture
def listening(rabbit: str) -> Iterator[str]:
    """A queue that another service would have bound for everything we publish; its name."""
    queue = "another-service"
    with broker.short_channel(rabbit) as channel:
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for exchange in ("booking.events", "patient.events"):
            channel.queue_bind(queue, exchange, "#")
    yield queue
    with broker.short_channel(rabbit) as channel:
        channel.queue_delete(queue)


@pytest.fixture
def consume(rabbit: str) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Runs a consumer until a condition holds."""
    made: list[Consumer] = []

    def until(condition: Callable[[], Any]) -> None:
        made.append(Consumer(broker.Subscription(rabbit, topology(), prefetch=10), topology(), threads=4))

        def step() -> Any:
            made[-1].work(0.05)
            return condition()

        eventually(step, what="the consumer did not get there")
        made[-1].stop(5)

    yield until
    for each in made:
        with suppress(Exception):
            each.stop(1)


@pytest.fixture
def spawn(process_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts one of our commands on this test's database and broker."""
    made: list[Process] = []

    def start(command: str, **settings: str) -> Process:
        environment = {**process_environment, "EVENTS_RETRY_SECONDS": "0.1,0.2", "PYTHONUNBUFFERED": "1", **settings}
        made.append(Process([command], environment, tmp_path / f"{command}-{len(made)}.log"))
        return made[-1].start()

    yield start
    for process in made:
        process.close()


@pytest.fixture
def increase() -> Callable[[MetricWrapperBase], dict[tuple[str, ...], float]]:
    """By how much each labelled count of a metric has grown since the test began; what has not is left out."""
    watched: tuple[MetricWrapperBase, ...] = (
        EVENTS_PUBLISHED,
        EVENTS_CONSUMED,
        EVENTS_DELIVERED,
        EVENTS_HANDLER_SECONDS,
    )
    before = {metric: counts(metric) for metric in watched}
    return lambda metric: dict(counts(metric) - before[metric])


@pytest.fixture
def waiting() -> Callable[..., list[ObjectId]]:
    """Commits rows of one aggregate to the outbox; returns their ids."""

    def commit(
        count: int = 1,
        *,
        aggregate: str | None = None,
        first_version: int = 1,
        body: bytes = b"{}",
        request: str = "a-request",
    ) -> list[ObjectId]:
        aggregate = aggregate or str(ObjectId())
        events = [
            NewEvent(
                lane=Lane.BROKER,
                type="booking.created",
                exchange="booking.events",
                routing_key="booking.created",
                aggregate_id=aggregate,
                aggregate_version=first_version + number,
                body=body,
                event_id=ObjectId(),
            )
            for number in range(count)
        ]
        with atomic():
            outbox_add(events, correlation_id=request, at=datetime.now(UTC))
        return [event.event_id for event in events]

    return commit
