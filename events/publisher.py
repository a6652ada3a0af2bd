"""From outbox row to broker: claim, publish, mark. One batch is one call of `publish_due_events`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings

from booking_service.operations import metrics

from .backoff import backoff_seconds
from .broker import Batch, BrokerUnavailableError, Message, Outcome, PublishingConnection, declare_topology
from .models import AT_ONCE, Lane
from .repositories import outbox_claim, outbox_postpone, outbox_sent
from .schemas import SERVICE_NAME
from .topology import topology

log = structlog.get_logger(__name__)

Row = dict[str, Any]

REASONS = {
    Outcome.RETURNED: "no queue is bound for this event",
    Outcome.NACKED: "the broker refused it (a full queue?)",
    Outcome.UNKNOWN: "the broker went away; it may have arrived",
}


def connect() -> PublishingConnection:
    """Declare what must exist and open a connection with confirms.

    Raises:
        BrokerUnavailableError
    """
    declare_topology(settings.RABBITMQ_URL, topology())
    return PublishingConnection(settings.RABBITMQ_URL, confirm_seconds=settings.EVENTS_CONFIRM_SECONDS).open()


def publish_due_events(connection: PublishingConnection) -> int:
    """Publish one batch of due events; returns how many rows were claimed, 0 when nothing is due.

    Rows are marked sent when the broker has confirmed them. A returned or nacked one backs off by itself; what was in
    flight when the connection broke is due again at once, as the same message.

    Raises:
        BrokerUnavailableError: the connection is closed; open another one.
        django.db.OperationalError: MongoDB is gone; what was claimed comes back when its lease ends.
    """
    rows = outbox_claim(
        Lane.BROKER, limit=settings.EVENTS_BATCH, lease=timedelta(seconds=settings.EVENTS_LEASE_SECONDS)
    )
    if not rows:
        return 0
    try:
        batch = connection.publish([message(row) for row in rows])
    except BrokerUnavailableError:
        batch = Batch([])  # nothing was sent: every outcome is unknown
        settle(rows, batch)
        raise
    settle(rows, batch)
    return len(rows)


def message(row: Row) -> Message:
    """The row as the message it always makes."""
    return Message(
        id=str(row["_id"]),
        type=row["type"],
        exchange=row["exchange"],
        routing_key=row["routingKey"],
        body=bytes(row["body"]),
        timestamp=int(row["createdAt"].timestamp()),
        correlation_id=row["correlationId"],
        app_id=SERVICE_NAME,
        headers={"aggregate_id": row["aggregateId"], "aggregate_version": row["aggregateVersion"]},
    )


def settle(rows: Sequence[Row], batch: Batch) -> None:
    """Mark what arrived, postpone what did not."""
    by_outcome: dict[Outcome, list[Row]] = defaultdict(list)
    for row in rows:
        by_outcome[batch.outcome_of(str(row["_id"]))].append(row)
    outbox_sent(by_outcome[Outcome.CONFIRMED])
    for outcome, reason in REASONS.items():
        if by_outcome[outcome]:
            postpone(by_outcome[outcome], outcome, reason)
    for outcome, rows_of_outcome in by_outcome.items():
        for row in rows_of_outcome:
            metrics.EVENTS_PUBLISHED.labels(row["type"], outcome.value).inc()


def postpone(rows: Sequence[Row], outcome: Outcome, reason: str) -> None:
    """Give rows back: those the broker refused after their own back-off, the unknown ones at once."""
    due: dict[ObjectId, datetime] = {}
    for row in rows:
        seconds = backoff_seconds(row["attempts"])
        due[row["_id"]] = AT_ONCE if outcome is Outcome.UNKNOWN else datetime.now(UTC) + timedelta(seconds=seconds)
    outbox_postpone(due, owner=rows[0]["leaseOwner"], error=reason)
    log.warning("events_not_published", reason=reason, events=len(rows), types=sorted({row["type"] for row in rows}))
