"""From outbox row to broker: claim, publish, mark. One batch is one step of `BrokerLane`."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings
from django.db import DatabaseError

from booking_service.operations import metrics

from .backoff import backoff_seconds
from .broker import Batch, BrokerUnavailableError, Message, Outcome, PublishingConnection, declare_topology
from .models import AT_ONCE, Lane
from .repositories import outbox_claim, outbox_dead, outbox_postpone, outbox_sent
from .schemas import PUBLISHED_BY_NAME, SERVICE_NAME
from .topology import topology

log = structlog.get_logger(__name__)

Row = dict[str, Any]

TRIES_AT_ONCE = 3  # of a row whose outcome is unknown; a broker that goes away again and again is not hurried

REASONS = {
    Outcome.RETURNED: "no queue is bound for this event",
    Outcome.NACKED: "the broker refused it (a full queue?)",
    Outcome.UNKNOWN: "the broker went away; it may have arrived",
}


def show_counters() -> None:
    """Show the count of every outcome of every type, before the first event."""
    metrics.begin_at_zero(metrics.EVENTS_PUBLISHED, PUBLISHED_BY_NAME, Outcome)


class BrokerLane:
    """Publishes due events, with one batch on its way to the broker while the next is claimed.

    A row is marked sent when the broker has confirmed it. A returned or nacked one backs off by itself; what was on its
    way when the connection broke is due again at once, as the same message, and backs off when that happens again and
    again. A row that no message can be made of is dead, and holds nobody back.
    """

    def __init__(self) -> None:
        self._connection: PublishingConnection | None = None
        self._on_its_way: deque[tuple[list[Row], Batch]] = deque()

    def step(self) -> int:
        """Claim and send one batch, settle the one before; returns how many rows were touched, 0 when nothing is due.

        Raises:
            BrokerUnavailableError: no broker; the next step connects again.
            django.db.DatabaseError: MongoDB is gone; what was claimed comes back when its lease ends.
        """
        if self._connection is None or not self._connection.is_open:
            self._connection = self._reconnected()
        rows = claim()
        if rows:
            self._send(rows, self._connection)
        if self._on_its_way and (not rows or len(self._on_its_way) > 1):
            self._settle_oldest(self._connection)
            return 1
        return len(rows)

    def close(self) -> None:
        """Wait for what is on its way, settle it, close. Without a database to settle in, leases end by themselves."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(DatabaseError):
            while self._on_its_way:
                self._settle_oldest(connection)
        self._on_its_way.clear()
        connection.close()

    def _reconnected(self) -> PublishingConnection:
        self.close()
        return connect()

    def _send(self, rows: list[Row], connection: PublishingConnection) -> None:
        messages = {row["_id"]: made for row in rows if (made := message_or_dead(row))}
        rows = [row for row in rows if row["_id"] in messages]
        try:
            batch = connection.send(list(messages.values()))
        except BrokerUnavailableError:
            settle(rows, Batch([]))  # nothing was sent: every outcome is unknown
            raise
        self._on_its_way.append((rows, batch))

    def _settle_oldest(self, connection: PublishingConnection) -> None:
        rows, batch = self._on_its_way.popleft()
        connection.wait(batch)
        settle(rows, batch)


def connect() -> PublishingConnection:
    """Declare what must exist and open a connection with confirms.

    Raises:
        BrokerUnavailableError
    """
    declare_topology(settings.RABBITMQ_URL, topology())
    return PublishingConnection(settings.RABBITMQ_URL, confirm_seconds=settings.EVENTS_CONFIRM_SECONDS).open()


def claim() -> list[Row]:
    lease = timedelta(seconds=settings.EVENTS_LEASE_SECONDS)
    return outbox_claim(Lane.BROKER, limit=settings.EVENTS_BATCH, lease=lease)


def message_or_dead(row: Row) -> Message | None:
    """The row as a message; None when that cannot be: the row is dead then, for staff to look at."""
    try:
        return message(row)
    except Exception as error:  # noqa: BLE001 - whatever is odd in the row, the others must not wait for it
        reason = f"no message can be made of it: {type(error).__name__}"
        outbox_dead(row, error=reason)
        log.error("event_dead", **names(row), reason=reason, requestId=row["correlationId"])
        return None


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
        headers={
            "aggregate_id": row["aggregateId"],
            "aggregate_version": row["aggregateVersion"],
            "correlation_id": row["correlationId"],  # also here, as an AsyncAPI document can only point at a header
        },
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
    for row in by_outcome[Outcome.CONFIRMED]:
        log.info("event_published", **names(row), requestId=row["correlationId"])
    for outcome, rows_of_outcome in by_outcome.items():
        for row in rows_of_outcome:
            metrics.EVENTS_PUBLISHED.labels(row["type"], outcome.value).inc()


def postpone(rows: Sequence[Row], outcome: Outcome, reason: str) -> None:
    """Give rows back after their own back-off, the unknown ones TRIES_AT_ONCE times at once."""
    due: dict[ObjectId, datetime] = {}
    for row in rows:
        at_once = outcome is Outcome.UNKNOWN and row["attempts"] <= TRIES_AT_ONCE
        seconds = backoff_seconds(row["attempts"])
        due[row["_id"]] = AT_ONCE if at_once else datetime.now(UTC) + timedelta(seconds=seconds)
    outbox_postpone(due, owner=rows[0]["leaseOwner"], error=reason)
    for row in rows:
        log.warning("event_not_published", **names(row), reason=reason, requestId=row["correlationId"])


def names(row: Row) -> dict[str, str]:
    """What a log line calls an event by."""
    return {"type": row["type"], "event_id": str(row["_id"]), "aggregate_id": row["aggregateId"]}
