"""One request id, looked for in the logs of every process, tells what became of a request."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from booking_service.djongo.transaction import atomic
from booking_service.operations.logging import JsonFormatter
from events import deliveries, handlers
from events.broker import Subscription
from events.consumer import Consumer
from events.deliveries import Call, PartnerLane, nothing_more
from events.models import Lane
from events.publisher import BrokerLane
from events.receivers import SEND_NOTIFICATION
from events.repositories import NewEvent, outbox_add
from events.topology import topology
from tests.integration.events.rabbit import a_payment, eventually, put, send

REQUEST, BOOKING = "the-request", str(ObjectId())


@pytest.fixture
def story(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The JSON lines that bear the request's id."""
    caplog.handler.setFormatter(JsonFormatter())
    caplog.set_level(logging.INFO)

    def lines() -> list[dict[str, Any]]:
        told = [json.loads(line) for line in caplog.text.splitlines()]
        return [line for line in told if line.get("requestId") == REQUEST]

    return lines


@pytest.mark.broker
def test_the_publisher_tells_of_each_event(story: Any, rabbit: str, listening: str, waiting: Any) -> None:
    waiting(1, aggregate=BOOKING, request=REQUEST)

    with closing(BrokerLane()) as lane:
        while lane.step():
            pass

    assert [(line["event"], line["type"], line["aggregate_id"]) for line in story()] == [
        ("event_published", "booking.created", BOOKING)
    ]


@pytest.mark.broker
def test_the_publisher_tells_of_each_event_that_it_could_not_publish(story: Any, rabbit: str, waiting: Any) -> None:
    waiting(1, aggregate=BOOKING, request=REQUEST)

    with closing(BrokerLane()) as lane:
        while lane.step():
            pass

    assert [(line["event"], line["type"], line["aggregate_id"], line["reason"]) for line in story()] == [
        ("event_not_published", "booking.created", BOOKING, "no queue is bound for this event")
    ]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no JSON", "not JSON"),
        (b'{"event": "payment.completed"}', "schema: data breaks 'required'"),
    ],
)
def test_the_consumer_tells_of_a_message_that_it_cannot_read(
    story: Any, rabbit: str, consume: Any, body: bytes, reason: str
) -> None:
    send(rabbit, body=body, correlation_id=REQUEST)

    consume(story)

    (line,) = story()
    assert (line["event"], line["message_id"], line["fate"], line["reason"]) == ("event_failed", "m-1", "dead", reason)


@pytest.mark.broker
def test_the_consumer_tells_of_a_message_that_our_rules_refuse(story: Any, rabbit: str, consume: Any) -> None:
    send(rabbit, a_payment(bookingId=BOOKING), correlation_id=REQUEST)

    consume(lambda: len(story()) == 2)

    assert [(line["event"], line["fate"], line["reason"]) for line in story()] == [
        ("event_handled", "dead", "NOT_FOUND"),
        ("event_failed", "dead", "NOT_FOUND"),
    ]


@pytest.mark.broker
def test_the_consumer_tells_of_each_message(story: Any, rabbit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", lambda _facts: None)
    facts = {"bookingId": BOOKING, "transactionId": "t-1", "amount": 678.5}
    envelope = {
        "event": "payment.completed",
        "data": facts,
        "timestamp": "2026-11-22T10:00:00Z",
        "service": "payments",
    }
    consumer = Consumer(Subscription(rabbit, topology(), prefetch=10), topology(), threads=1)

    properties = {"type": "payment.completed", "message_id": "m-1", "correlation_id": REQUEST}
    put(rabbit, "payment.events", "payment.completed", json.dumps(envelope).encode(), **properties)

    def works_until_told() -> Any:
        consumer.work(0.05)
        return story()

    eventually(works_until_told, what="nothing was told")
    consumer.stop(5)

    (line,) = story()
    assert (line["event"], line["message_id"], line["aggregate_id"], line["fate"]) == (
        "event_handled",
        "m-1",
        BOOKING,
        "done",
    )


def test_the_partners_lane_tells_of_each_call(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(deliveries.CALLS, SEND_NOTIFICATION, Call(lambda _facts, _key: None, nothing_more))
    event = NewEvent(Lane.PARTNER, SEND_NOTIFICATION, BOOKING, 1, b"{}", ObjectId())
    with atomic():
        outbox_add([event], correlation_id=REQUEST, at=datetime.now(UTC))

    with PartnerLane() as lane:
        lane.step()

    (line,) = story()
    assert (line["event"], line["aggregate_id"]) == ("delivery_made", BOOKING)
