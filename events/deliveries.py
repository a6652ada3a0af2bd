"""The outbox's partner lane: calls to other services that must arrive, made once they can be.

A call may be made several times, always with the row's id as its idempotency key, so it counts once. Order does not
matter here: each row stands for itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from types import TracebackType
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings
from django.db import DatabaseError, OperationalError

from booking_service.api.errors import ServiceError
from booking_service.api.request_id import bind_request_id
from booking_service.djongo import transaction
from booking_service.operations import metrics
from booking_service.partners import notifications
from booking_service.partners import payments as payment_service
from booking_service.partners.exceptions import PartnerUnavailable
from bookings import notifications as booking_notifications
from bookings import payments
from patients import services as patients

from .backoff import backoff_seconds
from .models import Lane
from .receivers import REQUEST_REFUND, SEND_NOTIFICATION
from .repositories import outbox_claim, outbox_dead, outbox_postpone, outbox_sent

log = structlog.get_logger(__name__)

Row = dict[str, Any]
Facts = Mapping[str, Any]

FIRST_WAIT, LONGEST_WAIT = 5.0, 3600.0
LEASE = timedelta(seconds=60)  # a call takes five seconds at most


# --- the calls -----------------------------------------------------------------------------------------------------
def send_notification(facts: Facts, key: str) -> None:
    """Tell the patient by the channels they want. Who wants none is told nothing, and nobody what is overtaken."""
    contact = patients.patient_contact(ObjectId(facts["patientId"]))
    wanted = contact.preferences.get("notificationChannels") or {}
    channels = [name.upper() for name, is_wanted in wanted.items() if is_wanted]
    if channels and is_current(facts):
        notifications.send(
            patient_id=contact.id,
            booking_id=ObjectId(facts["bookingId"]),
            kind=facts["kind"].lower(),
            channels=channels,
            facts={name: facts[name] for name in ("serviceType", "startsAt") if facts.get(name)},
            idempotency_key=key,
        )


def is_current(facts: Facts) -> bool:
    """Whether a message that may have waited is still true: those of a booking come in any order."""
    starts_at = facts.get("startsAt")
    return booking_notifications.notification_is_current(
        booking_id=ObjectId(facts["bookingId"]),
        kind=facts["kind"],
        starts_at=datetime.fromisoformat(starts_at) if starts_at else None,
    )


def request_refund(facts: Facts, key: str) -> None:
    payment_service.refund_request(
        booking_id=ObjectId(facts["bookingId"]),
        transaction_id=facts["transactionId"],
        amount=Decimal(facts["amount"]),
        idempotency_key=key,
    )


def refund_failed(facts: Facts, reason: str) -> None:
    payments.refund_needs_staff(booking_id=ObjectId(facts["bookingId"]), reason=reason)


def nothing_more(_facts: Facts, _reason: str) -> None:
    """A notification that could not be sent shows in the admin; the booking goes on without it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a row asks for, and what becomes of its booking when nobody will be asked again."""

    make: Callable[[Facts, str], None]
    give_up: Callable[[Facts, str], None]


# A row of another type is left to the release that knows it.
CALLS: dict[str, Call] = {
    SEND_NOTIFICATION: Call(send_notification, nothing_more),
    REQUEST_REFUND: Call(request_refund, refund_failed),
}


OUTCOMES = ("done", "retried", "dead")


def show_counters() -> None:
    """Show the count of every outcome of every call, before the first one."""
    metrics.begin_at_zero(metrics.EVENTS_DELIVERED, CALLS, OUTCOMES)


# --- one row -------------------------------------------------------------------------------------------------------
def deliver(row: Row) -> str:
    """Make the call of one claimed row and mark it; returns what came of it: done, retried or dead.

    Raises:
        django.db.DatabaseError: the row comes back when its lease ends, with the same key.
    """
    bind_request_id(row["correlationId"])
    call = CALLS[row["type"]]
    try:
        facts = json.loads(bytes(row["body"]), parse_float=Decimal)
    except Exception as error:  # noqa: BLE001 - whatever is odd in the body, the other rows must not wait for it
        outcome = give_up(row, {}, call, f"unreadable: {type(error).__name__}")
    else:
        outcome = attempt(row, facts, call)
    metrics.EVENTS_DELIVERED.labels(row["type"], outcome).inc()
    return outcome


def attempt(row: Row, facts: Facts, call: Call) -> str:
    try:
        call.make(facts, str(row["_id"]))
    except PartnerUnavailable as error:
        return try_later(row, facts, call, error.code, error.retry_after or 0)
    except ServiceError as refusal:
        return give_up(row, facts, call, refusal.code)
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("delivery_failed", type=row["type"], event_id=str(row["_id"]))
        return try_later(row, facts, call, type(error).__name__, 0)
    outbox_sent([row])
    log.info("delivery_made", type=row["type"], event_id=str(row["_id"]), aggregate_id=row["aggregateId"])
    return "done"


def try_later(row: Row, facts: Facts, call: Call, reason: str, at_least: float) -> str:
    if row["attempts"] >= settings.EVENTS_PARTNER_ATTEMPTS:
        return give_up(row, facts, call, reason)
    seconds = max(at_least, backoff_seconds(row["attempts"], first=FIRST_WAIT, longest=LONGEST_WAIT))
    due = {row["_id"]: datetime.now(UTC) + timedelta(seconds=seconds)}
    outbox_postpone(due, owner=row["leaseOwner"], error=reason)
    log.warning("delivery_postponed", type=row["type"], event_id=str(row["_id"]), reason=reason)
    return "retried"


def give_up(row: Row, facts: Facts, call: Call, reason: str) -> str:
    """Dead, and whoever must know is told in the same transaction; dead all the same when that cannot be done."""

    def bury() -> None:
        if outbox_dead(row, error=reason):
            call.give_up(facts, reason)

    try:
        transaction.run(bury)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - its booking is gone, or odd: the other rows must not wait for it
        log.error("delivery_not_told", type=row["type"], event_id=str(row["_id"]), error=type(error).__name__)
        outbox_dead(row, error=reason)
    log.error("delivery_dead", type=row["type"], event_id=str(row["_id"]), reason=reason)
    return "dead"


# --- the lane ------------------------------------------------------------------------------------------------------
class PartnerLane:
    """Makes due calls, a few of each type at a time: a partner that is slow holds up no calls to another.

    A call that becomes due meanwhile waits for one call at most.
    """

    def __enter__(self) -> PartnerLane:
        self._threads = settings.EVENTS_PARTNER_THREADS
        self._pool = ThreadPoolExecutor(self._threads * len(CALLS), thread_name_prefix="partner-call")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def step(self) -> int:
        """Make the calls that are due; returns how many rows were claimed."""
        claims = [outbox_claim(Lane.PARTNER, limit=self._threads, lease=LEASE, type=type) for type in CALLS]
        return len(list(self._pool.map(deliver, chain.from_iterable(claims))))
