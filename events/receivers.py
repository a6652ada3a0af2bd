"""From signal to outbox row, in the signal's own transaction. This is the only place where events come into being.

To add an event: write its signal, its line in RECEIVERS, and its contract in `schemas.PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from django.dispatch import Signal

from booking_service.api.renderers import encode, instant_text
from booking_service.api.request_id import current_request_id
from bookings import signals as bookings
from patients import signals as patients

from .models import Lane
from .repositories import NewEvent, outbox_add
from .schemas import PUBLISHED_BY_NAME, SERVICE_NAME, Contract

SEND_NOTIFICATION, REQUEST_REFUND = "notification.send", "refund.request"

# Where a property of an event stands in the document, when not under its own name.
BOOKING_PATHS = {
    "bookingId": "_id",
    "patientId": "patient",
    "transactionId": "payment.transactionId",
    "amount": "pricing.payableAmount",
}
NOTIFICATION_FACTS = ("bookingId", "patientId", "kind", "serviceType", "startsAt")
REFUND_FACTS = ("bookingId", "patientId", "transactionId", "amount", "reason")


@dataclass(frozen=True, slots=True)
class Happening:
    """A signal as it was sent: the document after the change, its version, and what changed."""

    document: Mapping[str, Any]
    version: int
    changed: Mapping[str, Any]
    paths: Mapping[str, str]
    identity: str

    def fact(self, name: str) -> Any:
        """A property's value: from what changed, otherwise from the document."""
        if name in self.changed:
            return self.changed[name]
        value: Any = self.document
        for key in self.paths.get(name, name).split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def facts(self, *names: str) -> dict[str, Any]:
        return {name: self.fact(name) for name in names}

    @property
    def aggregate_id(self) -> str:
        return str(self.document[self.identity])


@dataclass(frozen=True, slots=True)
class Receiver:
    """What one signal makes: an event for the broker, and what partners must be told."""

    argument: str
    identity: str
    paths: Mapping[str, str]
    publishes: str | None = None
    asks_for_refund: bool = False

    def __call__(self, sender: object, **sent: Any) -> None:
        now = datetime.now(UTC)
        changed = {camel_case(name): value for name, value in sent.items()}
        version = whole(sent.get("version"))
        happening = Happening(sent[self.argument], version, changed, self.paths, self.identity)
        events = list(self._events(happening, sent.get("notification"), now))
        if events:
            outbox_add(events, correlation_id=current_request_id(), at=now)

    def _events(self, happening: Happening, notification: str | None, now: datetime) -> Iterator[NewEvent]:
        if self.publishes:
            yield broker_event(PUBLISHED_BY_NAME[self.publishes], happening, now)
        if notification:
            facts = {**happening.facts(*NOTIFICATION_FACTS), "kind": str(notification)}
            yield partner_event(SEND_NOTIFICATION, happening, facts)
        if self.asks_for_refund:
            yield partner_event(REQUEST_REFUND, happening, happening.facts(*REFUND_FACTS))


def broker_event(contract: Contract, happening: Happening, now: datetime) -> NewEvent:
    """The outbox row of a published event; its data are the contract's properties."""
    body = {
        "event": contract.name,
        "data": happening.facts(*contract.properties),
        "timestamp": instant_text(now),
        "service": SERVICE_NAME,
    }
    return NewEvent(
        lane=Lane.BROKER,
        type=contract.name,
        aggregate_id=happening.aggregate_id,
        aggregate_version=happening.version,
        body=encode(body),
        event_id=ObjectId(),
        exchange=contract.exchange,
        routing_key=contract.name,
    )


def partner_event(type: str, happening: Happening, facts: Mapping[str, Any]) -> NewEvent:
    """The outbox row of a call to a partner; the row's id is the call's idempotency key."""
    return NewEvent(
        lane=Lane.PARTNER,
        type=type,
        aggregate_id=happening.aggregate_id,
        aggregate_version=happening.version,
        body=encode(facts),
        event_id=ObjectId(),
    )


def whole(version: Any) -> int:
    """A document's version; 0 where old documents have none, or something that is no whole number."""
    if isinstance(version, int):
        return version
    return int(version) if isinstance(version, float) and version.is_integer() else 0


def camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def from_booking(publishes: str | None = None, *, asks_for_refund: bool = False) -> Receiver:
    return Receiver("booking", "_id", BOOKING_PATHS, publishes, asks_for_refund)


def from_patient(publishes: str) -> Receiver:
    return Receiver("patient", "patientId", {}, publishes)


RECEIVERS: dict[Signal, Receiver] = {
    bookings.booking_created: from_booking("booking.created"),
    bookings.booking_cancelled: from_booking("booking.cancelled"),
    bookings.booking_rescheduled: from_booking("booking.rescheduled"),
    bookings.booking_assigned: from_booking("booking.assigned"),
    bookings.booking_confirmed: from_booking("booking.confirmed"),
    bookings.booking_completed: from_booking("booking.completed"),
    bookings.booking_no_show: from_booking("booking.no_show"),
    bookings.booking_refund_requested: from_booking("booking.refund_requested", asks_for_refund=True),
    bookings.booking_notification_requested: from_booking(),
    patients.patient_registered: from_patient("patient.registered"),
}


def connect() -> None:
    """Connect every receiver; once, from the app's `ready`."""
    for signal, receiver in RECEIVERS.items():
        signal.connect(receiver, dispatch_uid=f"outbox-{id(receiver)}", weak=False)
