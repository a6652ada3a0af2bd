"""A booking of the monolith as this service keeps it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from bson import Decimal128, ObjectId

from bookings.lifecycle import FINAL, Status
from bookings.models import Booking
from bookings.reading import DEFAULT_MINUTES, is_length
from bookings.scheduling import local_instant, parse_time
from monolith.conversion import (
    Converted,
    Document,
    Quarantine,
    Shape,
    copied,
    document_id,
    instant,
    of_type,
    shaped,
)
from monolith.schema import shape_of

_STATUSES = frozenset(Status)
_STARS = range(1, 6)
_SHAPE = shape_of(Booking)
_TEXT, _COUNT = of_type(str), of_type(int, float)
_ATTEMPTS = range(1, 1_000_001)


def _is_attempt(value: Any) -> bool:
    return isinstance(value, int) and value in _ATTEMPTS


# What of a booking decides, or is written below, and the model does not say.
_RELIED_ON: Shape = {
    "actualService": {},
    "patientCondition": {"age": _COUNT},
    "patientDetails": {"age": _COUNT, "name": _TEXT},
    "payment": {"attempt": _is_attempt, "status": _TEXT, "transactionId": _TEXT},
    "statusTimestamps": {},
}

_PRICING = ("basePrice", "platformFee", "gst", "discount", "totalAmount", "payableAmount", "surgeMultiplier")
_CANCELLATION = ("refundAmount", "cancellationFee")
_PAYMENT = ("paidAmount", "amount", "refundAmount")
YEARS = range(
    1900, 9999
)  # of visits; the calendar's first and last days are none in another zone, and nothing ends later
# Later stages last; the monolith stamped some of them out of order.
_STAMPS = {
    "requestedAt": Status.REQUESTED,
    "searchingAt": Status.SEARCHING,
    "assignedAt": Status.ASSIGNED,
    "confirmedAt": Status.CONFIRMED,
    "enRouteAt": Status.EN_ROUTE,
    "inProgressAt": Status.IN_PROGRESS,
    "startedAt": Status.IN_PROGRESS,
    "completedAt": Status.COMPLETED,
    "cancelledAt": Status.CANCELLED,
    "noShowAt": Status.NO_SHOW,
    "failedAt": Status.FAILED,
}

# (service type, start of the visit) -> the pricing document that the catalog gives, None for a type it does not know.
Pricer = Callable[[str, datetime], Document | None]
Knower = Callable[[str], bool]


def converted_booking(source: Document, *, zone: ZoneInfo, price: Pricer, knows: Knower) -> Converted:
    """The booking with the same id, its visit as an instant, its money in paise, its history as a timeline.

    Raises:
        Quarantine: nobody's booking, a status this service has no meaning for, or a price nobody can tell.
    """
    document_id(source)
    converted = Converted(copied(source, "pricing", "payment", "cancellation"))
    _owner_and_type(converted)
    if not knows(converted.document["serviceType"]):
        converted.note("UNKNOWN_SERVICE_TYPE", "kept as it is; it can be cancelled, but not moved or booked again")
    for shape in (_SHAPE, _RELIED_ON):
        shaped(converted, shape)
    _visit_time(converted, zone)
    _pricing(converted, price)
    _payment(converted)
    _cancellation(converted)
    _rating(converted)
    converted.money("payment", *_PAYMENT)
    converted.note_rounding()
    converted.document.update(version=1, timeline=timeline(converted.document))
    return converted


def _owner_and_type(converted: Converted) -> None:
    document = converted.document
    if not isinstance(document.get("patient"), ObjectId):
        raise Quarantine("NO_PATIENT", "it names no patient")
    if not isinstance(document.get("serviceType"), str) or not document["serviceType"]:
        raise Quarantine("NO_SERVICE_TYPE", "it does not say what was booked")
    status = document.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        raise Quarantine("UNKNOWN_STATUS", f"{str(status)[:40]!r} is no status; correct it at the source and run again")
    provider = document.get("serviceProvider")
    if provider is None:
        document.pop("serviceProvider", None)
    elif not isinstance(provider, ObjectId):
        converted.original["serviceProvider"] = document.pop("serviceProvider")
        converted.note("PROVIDER_UNREADABLE", "its provider is no id: left out, the original kept")


def _visit_time(converted: Converted, zone: ZoneInfo) -> None:
    document = converted.document
    day = instant(document.get("scheduledDate"))
    if day is not None and day.year not in YEARS:
        converted.original["scheduledDate"] = document.pop("scheduledDate")
    starts_at = visit_start(document, zone)
    if starts_at is None:
        written = str(document.get("scheduledTime"))[:40]
        converted.note("TIME_UNREADABLE", f"{written!r} is no time: taken without one, no slot is held for it")
        return
    minutes = _minutes(converted)
    document.update(startsAt=starts_at, endsAt=starts_at + timedelta(minutes=minutes))


def visit_start(document: Document, zone: ZoneInfo) -> datetime | None:
    """When the visit begins (UTC), from the local day and the text; None when they are no day and time."""
    try:
        day = local_day(document.get("scheduledDate"), zone)
        at = parse_time(str(document.get("scheduledTime", "")))
        return local_instant(day, at, zone) if day else None
    except (ValueError, OverflowError):
        return None


def local_day(moment: Any, zone: ZoneInfo) -> date | None:
    """The day that is meant: midnight UTC stands for the local day; any other moment lies in a local day."""
    moment = instant(moment)
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    return moment.date() if moment.time() == time(0) else moment.astimezone(zone).date()


def _minutes(converted: Converted) -> int:
    minutes = converted.document.get("estimatedDuration", DEFAULT_MINUTES)
    if is_length(minutes):
        return int(minutes)
    converted.original["estimatedDuration"] = minutes
    converted.document["estimatedDuration"] = DEFAULT_MINUTES
    converted.note("DURATION_UNREADABLE", f"taken as {DEFAULT_MINUTES} minutes, the original kept")
    return DEFAULT_MINUTES


def _pricing(converted: Converted, price: Pricer) -> None:
    """What it was sold at, in paise; without a price, what the catalog asks for that visit."""
    converted.money("pricing", *_PRICING)
    document = converted.document
    lines = converted.part("pricing") or {}
    if amounts := [lines[name] for name in ("payableAmount", "totalAmount") if name in lines]:
        lines.update(payableAmount=amounts[0], totalAmount=amounts[-1])
        if (currency := lines.setdefault("currency", "INR")) != "INR":
            converted.original["pricing.currency"], lines["currency"] = currency, "INR"
            converted.note("PART_UNREADABLE", "its price is taken as rupees, the original currency kept")
        return
    starts_at = document.get("startsAt") or document.get("createdAt")
    quoted = price(document["serviceType"], starts_at) if starts_at else None
    if quoted is None:
        raise Quarantine("NO_PRICE", "it has no price and the catalog does not know its service")
    if lines:
        converted.original["pricing"] = lines
    document["pricing"] = quoted
    converted.note("NO_PRICE", f"priced as the catalog does: {quoted['payableAmount']} to pay")


def _payment(converted: Converted) -> None:
    """Without one it is not paid. `attempt` stays where a booking comes back from here: a partner answers the key of an
    earlier attempt with the order of that one."""
    document = converted.document
    payment = converted.part("payment")
    if payment is None:
        converted.original.setdefault("payment", None)
        document["payment"] = {"status": "PENDING"}
        converted.note("NO_PAYMENT", "taken as not paid")
        return
    if payment.get("attempt") is None:
        payment.pop("attempt", None)
    if payment.get("status") == "PAID" and payment.get("paidAmount") is None:
        payment["paidAmount"] = document["pricing"]["payableAmount"]


def _cancellation(converted: Converted) -> None:
    """The monolith computed refunds on bookings nobody had paid, and never requested any."""
    cancellation, payment = converted.part("cancellation"), converted.part("payment") or {}
    if cancellation is None:
        return
    converted.money("cancellation", *_CANCELLATION)
    promised = cancellation.get("refundAmount")
    if not isinstance(promised, Decimal128) or not promised.to_decimal():
        return
    if payment.get("status") == "PENDING":
        converted.original.setdefault("cancellation.refundAmount", float(promised.to_decimal()))
        cancellation.update(refundAmount=Decimal128(Decimal("0.00")), refundEligible=False)
        converted.note("REFUND_WITHOUT_PAYMENT", f"refund of {promised} for nothing paid: set to 0, the original kept")
    elif payment.get("status") == "PAID":
        converted.document["refund"] = {
            "status": "NEEDS_STAFF",
            "amount": promised,
            "reason": "Promised before the move",
        }
        converted.note("REFUND_OPEN", f"a refund of {promised} was promised and never requested: a case for staff")


def _rating(converted: Converted) -> None:
    """Only whole stars can be added up."""
    rating = converted.part("rating") or {}
    if rating.get("stars") is not None and rating["stars"] not in _STARS:
        converted.original["rating.stars"] = rating.pop("stars")
        converted.note("RATING_UNREADABLE", "its stars are not one to five: left out, the original kept")


def timeline(document: Document) -> list[Document]:
    """The status changes that the time stamps tell, in the order of a visit's life, ending in the current status."""
    stamps = document.get("statusTimestamps")
    stamps = stamps if isinstance(stamps, dict) else {}
    reached = [(status, instant(stamps.get(name))) for name, status in _STAMPS.items()]
    steps: list[tuple[Status, datetime | None]] = [
        (status, at) for status, at in reached if at is not None and status != document["status"]
    ]
    arrived = [at for status, at in reached if at is not None and status == document["status"]]
    steps.append((Status(document["status"]), arrived[0] if arrived else _last_change(document)))
    entries: list[Document] = []
    for status, at in steps:
        source = entries[-1]["to"] if entries else None
        entries.append({"from": source, "to": str(status), "at": at, "reason": "", **_who(document, status)})
    return entries


def _last_change(document: Document) -> datetime | None:
    return document.get("updatedAt") or document.get("createdAt")


def _who(document: Document, status: Status) -> Document:
    """The role and id behind a step, as far as the document tells."""
    if status is Status.REQUESTED:
        return {"role": "PATIENT", "actor": document["patient"]}
    if status is Status.CANCELLED:
        cancellation = document.get("cancellation")
        role = cancellation.get("cancelledBy") if isinstance(cancellation, dict) else None
        return {"role": role, "actor": document["patient"] if role == "PATIENT" else None}
    return {"role": None, "actor": None}


def is_to_come(document: Document, now: datetime) -> bool:
    """Whether the visit still needs its time: not over, and not in a final status."""
    ends_at = document.get("endsAt")
    return ends_at is not None and ends_at > now and document["status"] not in FINAL
