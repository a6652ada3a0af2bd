"""What tests do with a broker besides what the service does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any
from unittest.mock import patch

import pika
import pika.data
from bson import ObjectId
from prometheus_client.metrics import MetricWrapperBase

from events.broker import Delivery, Topology, short_channel
from events.topology import topology


def counts(metric: MetricWrapperBase) -> Counter[tuple[str, ...]]:
    """What a counter, or a histogram, has counted, by the values of its labels."""
    samples = [sample for family in metric.collect() for sample in family.samples]
    told = [sample for sample in samples if sample.name.endswith(("_total", "_count"))]
    return Counter({tuple(sample.labels.values()): int(sample.value) for sample in told})


def empty(url: str, ours: Topology) -> None:
    """Empty every queue of ours."""
    with short_channel(url) as channel:
        for queue in (ours.queue, ours.dead_queue, *ours.retry_queues):
            channel.queue_purge(queue)


def message_count(url: str, queue: str) -> int:
    with short_channel(url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def take(url: str, queue: str, count: int, *, seconds: float = 10) -> list[Delivery]:
    """Take exactly `count` messages off `queue`; fails when they do not come in time."""
    taken: list[Delivery] = []
    until = monotonic() + seconds
    with short_channel(url) as channel:
        while len(taken) < count and monotonic() < until:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                sleep(0.01)
                continue
            taken.append(
                Delivery(method.delivery_tag, method.exchange, method.routing_key, method.redelivered, body, properties)
            )
    assert len(taken) == count, f"{len(taken)} of {count} messages came to {queue}"
    return taken


def put(url: str, exchange: str, routing_key: str, body: bytes, **properties: Any) -> None:
    """Publish one persistent message, confirmed."""
    with short_channel(url) as channel:
        channel.confirm_delivery()
        channel.basic_publish(
            exchange, routing_key, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True
        )


class Raw(bytes):
    """A header's value as it is on the wire, its kind first; for what pika would not write."""


@contextmanager
def writing_raw() -> Iterator[None]:
    """Within it, `Raw` values may be published."""
    encode = pika.data.encode_value

    def encode_value(pieces: list[bytes], value: Any) -> int:
        if isinstance(value, Raw):
            pieces.append(value)
            return len(value)
        return encode(pieces, value)

    with patch("pika.data.encode_value", encode_value):
        yield


def eventually(condition: Callable[[], Any], *, seconds: float = 10, what: str = "") -> Any:
    """The first true value of `condition`; fails after `seconds`."""
    until = monotonic() + seconds
    while not (value := condition()):
        assert monotonic() < until, what or "it did not come true in time"
        sleep(0.02)
    return value


def a_payment(**changed: Any) -> dict[str, Any]:
    """The data of a payment.completed."""
    return {"bookingId": str(ObjectId()), "transactionId": "t-1", "amount": 678.5, **changed}


def send(
    url: str,
    data: dict[str, Any] | None = None,
    *,
    type: str = "payment.completed",
    message_id: str | bytes = "m-1",
    body: bytes | None = None,
    **properties: Any,
) -> None:
    """Publish what another service would: `data` in its envelope, or `body` as it is."""
    envelope = {"event": type, "data": data or a_payment(), "timestamp": "2026-11-22T10:00:00Z", "service": "payments"}
    body = json.dumps(envelope).encode() if body is None else body
    put(url, f"{type.split('.')[0]}.events", type, body, type=type, message_id=message_id, **properties)


def headers_of(delivery: Delivery) -> dict[str, Any]:
    """What its publisher wrote, without the broker's count of deliveries."""
    return {name: value for name, value in delivery.headers.items() if name != "x-delivery-count"}


def dead_letter(url: str) -> Delivery:
    """The one dead letter there is."""
    (letter,) = take(url, topology().dead_queue, 1)
    return letter
