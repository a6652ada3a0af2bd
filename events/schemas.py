"""The contract of every event: its exchange and the JSON Schema of its body.

The receivers build bodies from the published schemas, the consumer checks what comes in with the consumed ones, and the
AsyncAPI document at /api/events is made of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastjsonschema

from booking_service.partners.answers import LONGEST_TEXT

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"

SERVICE_NAME = "patient-booking-service"
BOOKING_EXCHANGE, PATIENT_EXCHANGE = "booking.events", "patient.events"
PAYMENT_EXCHANGE, NOTIFICATION_EXCHANGE = "payment.events", "notification.events"

ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{24}$", "description": "24 hexadecimal digits"}
INSTANT: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$",
    "description": "ISO 8601 with an offset or Z",
}
RUPEES: Schema = {"type": "number", "minimum": 0, "maximum": 10_000_000, "description": "rupees, at most two decimals"}
CURRENCY: Schema = {"type": "string", "enum": ["INR"], "description": "amounts are rupees"}
# No controls, no marks that turn text around, no halves of a character.
SEEN = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*$"
# No type: what is no text counts as absent, for it names no order.
ORDER_ID: Schema = {
    "maxLength": LONGEST_TEXT,
    "pattern": SEEN,
    "description": f"text up to {LONGEST_TEXT} characters; empty, or no text, it counts as absent",
}
STATUSES = (
    "REQUESTED SEARCHING ASSIGNED CONFIRMED EN_ROUTE IN_PROGRESS COMPLETED CANCELLED NO_SHOW FAILED".split()  # noqa: SIM905
)
STATUS: Schema = {"type": "string", "enum": STATUSES}
PARTIES: Schema = {"type": "string", "enum": ["PATIENT", "PROVIDER", "ADMIN", "SYSTEM"]}


def text(longest: int = 200, shortest: int = 0) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def plain_text(longest: int = 200, shortest: int = 0) -> Schema:
    """Text that can be stored, and that shows as what it is."""
    return {**text(longest, shortest), "pattern": SEEN}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


@dataclass(frozen=True)
class Contract:
    """One event: where it travels and what its `data` holds. `optional` names the properties that may be missing."""

    name: str
    exchange: str
    summary: str
    properties: Mapping[str, Schema]
    optional: tuple[str, ...] = ()
    open: bool = False  # whether unknown properties are let through: in what others send, not in what we send

    @cached_property
    def schema(self) -> Schema:
        """The JSON Schema of the whole body."""
        data = {
            "type": "object",
            "properties": dict(self.properties),
            "required": [name for name in self.properties if name not in self.optional],
            "additionalProperties": self.open,
        }
        return {
            "type": "object",
            "properties": {
                "event": {"const": self.name},
                "data": data,
                "timestamp": INSTANT,
                "service": text(100, shortest=1),
            },
            "required": ["event", "data", "timestamp", "service"],
            "additionalProperties": self.open,
        }

    @cached_property
    def _check(self) -> Callable[[object], object]:
        return fastjsonschema.compile({"$schema": DIALECT, **self.schema}, use_default=False)

    def violation(self, body: object) -> str | None:
        """Where and why `body` breaks the contract, without any of its values; None when it does not."""
        try:
            self._check(body)
        except fastjsonschema.JsonSchemaValueException as error:
            return f"{error.name} breaks {error.rule!r}"
        return None


BOOKING = {"bookingId": ID, "patientId": ID}

PUBLISHED = (
    Contract(
        "booking.created",
        BOOKING_EXCHANGE,
        "A patient booked a visit.",
        {
            **BOOKING,
            "serviceType": text(100, shortest=1),
            "scheduledDate": INSTANT,
            "scheduledTime": text(20, shortest=1),
            "startsAt": INSTANT,
            "amount": RUPEES,
            "status": STATUS,
        },
    ),
    Contract(
        "booking.cancelled",
        BOOKING_EXCHANGE,
        "A visit will not take place.",
        {**BOOKING, "cancelledBy": PARTIES, "reason": text(1000), "refundAmount": RUPEES, "status": STATUS},
    ),
    Contract(
        "booking.rescheduled",
        BOOKING_EXCHANGE,
        "A visit has another time, and maybe another price.",
        {
            **BOOKING,
            "previousStartsAt": nullable(INSTANT),  # of an old booking nobody may be able to read it
            "startsAt": INSTANT,
            "amount": RUPEES,
        },
    ),
    Contract(
        "booking.assigned",
        BOOKING_EXCHANGE,
        "A provider got the visit.",
        {**BOOKING, "providerId": ID, "status": STATUS},
    ),
    Contract(
        "booking.confirmed",
        BOOKING_EXCHANGE,
        "The assigned provider confirmed the visit.",
        {**BOOKING, "status": STATUS},
    ),
    Contract("booking.completed", BOOKING_EXCHANGE, "The visit took place.", {**BOOKING, "status": STATUS}),
    Contract(
        "booking.no_show",
        BOOKING_EXCHANGE,
        "One side was not there.",
        {**BOOKING, "absentParty": {"type": "string", "enum": ["PATIENT", "PROVIDER"]}, "status": STATUS},
    ),
    Contract(
        "booking.refund_requested",
        BOOKING_EXCHANGE,
        "Money is to go back to the patient; sent once for a booking.",
        {**BOOKING, "amount": RUPEES, "reason": text(1000)},
    ),
    Contract(
        "patient.registered",
        PATIENT_EXCHANGE,
        "A patient made an account.",
        {
            "patientId": ID,
            "name": text(100, shortest=1),
            "email": text(254, shortest=3),
            "phone": text(20),
            "referralCode": nullable(text(50)),
        },
    ),
)

NOTIFICATION = {
    "bookingId": ID,
    "kind": plain_text(50, shortest=1),
    "channel": plain_text(50, shortest=1),
    "sentAt": INSTANT,
}

CONSUMED = (
    Contract(
        "payment.completed",
        PAYMENT_EXCHANGE,
        "Money arrived for a booking.",
        {
            "bookingId": ID,
            "transactionId": plain_text(200, shortest=1),
            "amount": RUPEES,
            "currency": nullable(CURRENCY),
            "method": nullable(plain_text(50)),
            "paidAt": nullable(INSTANT),
        },
        optional=("currency", "method", "paidAt"),
        open=True,
    ),
    Contract(
        "payment.failed",
        PAYMENT_EXCHANGE,
        "A payment for a booking failed; the patient may try again. One that names an order fails no later one.",
        {
            "bookingId": ID,
            "transactionId": nullable(plain_text(200)),
            "orderId": ORDER_ID,
            "reason": nullable(plain_text(1000)),
        },
        optional=("transactionId", "orderId", "reason"),
        open=True,
    ),
    Contract(
        "payment.refunded",
        PAYMENT_EXCHANGE,
        "Money went back to the patient.",
        {
            "bookingId": ID,
            "amount": RUPEES,
            "currency": nullable(CURRENCY),
            "transactionId": nullable(plain_text(200)),
            "refundId": nullable(plain_text(200)),
            "refundedAt": nullable(INSTANT),
        },
        optional=("currency", "transactionId", "refundId", "refundedAt"),
        open=True,
    ),
    Contract(
        "notification.sent",
        NOTIFICATION_EXCHANGE,
        "The patient was told.",
        NOTIFICATION,
        optional=("sentAt",),
        open=True,
    ),
    Contract(
        "notification.failed",
        NOTIFICATION_EXCHANGE,
        "The patient could not be told.",
        NOTIFICATION,
        optional=("sentAt",),
        open=True,
    ),
)

PUBLISHED_BY_NAME = {contract.name: contract for contract in PUBLISHED}
CONSUMED_BY_NAME = {contract.name: contract for contract in CONSUMED}
