"""The outbox and the inbox."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex
from booking_service.djongo.transaction import in_transaction

from .exceptions import OutsideTransactionError

KEEP_PUBLISHED_SECONDS = 14 * 24 * 3600
KEEP_INBOX_SECONDS = 90 * 24 * 3600  # longer than anything redelivers; dead letters have had no effect
AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)  # due whatever any clock says


class Lane(StrEnum):
    """Where an event goes: to the broker, or to a partner over HTTP."""

    BROKER = "BROKER"
    PARTNER = "PARTNER"


class Status(StrEnum):
    """WAITING until known to have arrived; DEAD when a partner was asked often enough, or when the row is odd."""

    WAITING = "WAITING"
    SENT = "SENT"
    DEAD = "DEAD"


class OutboxEvent(Document):
    """An event that has happened, and whether the outside has been told.

    The body is frozen when the row is written: however often it is sent, it is the same message, byte for byte.
    `due_at` is one instant for three things: AT_ONCE for a new row, the end of a back-off, and the end of the lease of
    the publisher that has it in hand.
    """

    lane = models.CharField(max_length=10, choices=[(lane.value, lane.title()) for lane in Lane])
    type = models.CharField(max_length=100)
    exchange = models.CharField(max_length=100, blank=True)
    routing_key = models.CharField(max_length=100, blank=True, db_column="routingKey")
    aggregate_id = models.CharField(max_length=24, db_column="aggregateId")
    aggregate_version = models.IntegerField(db_column="aggregateVersion")
    position = models.BigIntegerField()  # orders the events of one version: they come from one transaction
    body = models.BinaryField()
    correlation_id = models.CharField(max_length=64, blank=True, db_column="correlationId")
    status = models.CharField(
        max_length=10, choices=[(status.value, status.title()) for status in Status], default="WAITING"
    )
    due_at = models.DateTimeField(default=AT_ONCE, db_column="dueAt")
    lease_owner = models.CharField(max_length=40, null=True, blank=True, db_column="leaseOwner")
    attempts = models.IntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True, db_column="lastError")
    created_at = models.DateTimeField(db_column="createdAt")
    published_at = models.DateTimeField(null=True, blank=True, db_column="publishedAt")

    class Meta:
        db_table = "outbox"
        verbose_name = "outbox event"
        indexes = [
            DocumentIndex("lane", "dueAt", "_id", name="outbox_due", where={"status": "WAITING"}),
            DocumentIndex("type", "dueAt", "_id", name="outbox_calls", where={"status": "WAITING", "lane": "PARTNER"}),
            DocumentIndex(
                "aggregateId", "aggregateVersion", "position", name="outbox_heads", where={"status": "WAITING"}
            ),
            DocumentIndex("status", "lane", "type", "createdAt", name="outbox_status"),
            DocumentIndex("aggregateId", "_id", name="outbox_aggregate"),
            DocumentIndex("status", "_id", name="outbox_open", where={"status": {"$in": ["WAITING", "DEAD"]}}),
            DocumentIndex("status", "_id", name="outbox_failed", where={"attempts": {"$gt": 1}}),
            DocumentIndex(
                "publishedAt",
                name="outbox_sent",
                where={"status": "SENT"},
                expire_after_seconds=KEEP_PUBLISHED_SECONDS,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self._id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a new row only inside a transaction.

        Raises:
            OutsideTransactionError
        """
        if self._state.adding and not in_transaction():
            raise OutsideTransactionError(self.type)
        super().save(*args, **kwargs)


class InboxMessage(models.Model):
    """A message whose effect is in the database: written in the effect's own transaction.

    Its key is the event's type and the message's id. Documents also have the `digest` of the body, for the consumer.
    Beside them are the transactions that paid, each with the `bookingId` that it paid.
    """

    _id = models.CharField(primary_key=True, max_length=255, verbose_name="message id")
    type = models.CharField(max_length=100)
    correlation_id = models.CharField(max_length=255, blank=True, db_column="correlationId")
    received_at = models.DateTimeField(db_column="receivedAt")

    objects = models.DjongoManager()

    class Meta:
        db_table = "inbox"
        indexes = [DocumentIndex("receivedAt", name="inbox_expiry", expire_after_seconds=KEEP_INBOX_SECONDS)]

    def __str__(self) -> str:
        return f"{self.type} {self._id}"
