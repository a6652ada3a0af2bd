"""Fixtures of the event tests: the broker, its topology with short delays, and rows to publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from pytest_django import Settings

from booking_service.djongo.transaction import atomic
from events import broker
from events.models import Lane
from events.repositories import NewEvent, outbox_add
from events.topology import topology
from tests.integration.events.rabbit import empty


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
