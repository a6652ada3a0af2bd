"""How a stored booking is read: by whom, and when it is older than some of its fields. Pure: no Django, no database."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from bson import Decimal128

from booking_service.api.callers import Role
from bookings import scheduling

Document = dict[str, Any]

# What only those may see who care for the patient, of what this service and the monolith write.
CLINICAL_FIELDS = (
    "serviceDetails",
    "patientCondition",
    "prescriptionUrl",
    "specialRequirements",
    "actualService",
    "equipmentRequired",
    "messages",
)
# Bookkeeping that is nobody's business but ours.
INTERNAL_FIELDS = ("claims", "timeline", "__v", "reminders", "monolith")
# What says nothing of why somebody is cared for. A field that is not here, whoever wrote it, counts as clinical.
PLAIN_FIELDS = frozenset(
    {
        *("_id", "patient", "serviceProvider", "serviceType", "serviceLocation", "patientDetails", "status", "version"),
        *("scheduledDate", "scheduledTime", "startsAt", "endsAt", "estimatedDuration", "rescheduleCount"),
        *("isPackage", "packageDetails", "isRecurring", "recurrencePattern", "recurringDates"),
        *("pricing", "payment", "refund", "cancellation", "noShow", "rating", "notifications"),
        *("statusTimestamps", "createdAt", "updatedAt", *INTERNAL_FIELDS),
    }
)
# What of these parts says nothing either. Whatever else stands in them people wrote in words of their own, or may have.
PLAIN_PARTS = {
    "patientDetails": {"name", "age", "gender"},
    "cancellation": {"cancelledBy", "cancelledAt", "refundEligible", "refundAmount", "cancellationFee"},
    "noShow": {"absentParty", "at"},
    "rating": {"stars", "punctuality", "professionalism", "skillLevel", "communication", "ratedAt"},
}

# The monolith's default, for documents that do not say how long the visit is.
DEFAULT_MINUTES = 60
LONGEST_MINUTES = 24 * 60
NOTHING = Decimal(0)
MORE_THAN_ANY_PRICE = 1e15
_PAISE = Decimal("0.01")
_STAMPS = {
    "requestedAt": "REQUESTED",
    "assignedAt": "ASSIGNED",
    "confirmedAt": "CONFIRMED",
    "enRouteAt": "EN_ROUTE",
    "startedAt": "IN_PROGRESS",
    "completedAt": "COMPLETED",
    "cancelledAt": "CANCELLED",
    "noShowAt": "NO_SHOW",
    "failedAt": "FAILED",
}


def shown(booking: Document, zone: ZoneInfo) -> Document:
    """The booking as the API shows it; changes and returns `booking`. Old documents get what they lack."""
    for name in INTERNAL_FIELDS:
        booking.pop(name, None)
    if "startsAt" not in booking:
        booking["startsAt"], booking["endsAt"] = visit_times(booking, zone)
    if "version" not in booking:
        booking["version"] = 0
    for name in ("pricing", "cancellation"):
        if name in booking:
            booking[name] = _exact(booking[name])
    return booking


def without_clinical(booking: Mapping[str, Any]) -> Document:
    """`booking` without anything that says, or may say, why somebody is cared for."""
    return {name: value for name, value in booking.items() if name in PLAIN_FIELDS}


def without_payment_details(booking: Document) -> Document:
    """`booking` with what a provider has to know of its payment: whether, and how, it is still to be paid."""
    payment = booking.get("payment")
    if not isinstance(payment, Mapping):
        return booking
    return {**booking, "payment": {name: payment[name] for name in ("method", "status") if name in payment}}


def without_words(booking: Mapping[str, Any]) -> Document:
    """`booking` without what people wrote: a reason or a review may say why somebody is cared for."""
    bare = dict(booking)
    for name, plain in PLAIN_PARTS.items():
        if isinstance(bare.get(name), Mapping):
            bare[name] = {key: value for key, value in bare[name].items() if key in plain}
        elif bare.get(name):  # of another kind, and so nobody's to say what
            del bare[name]
    return bare


def entries_without_words(entries: Iterable[Document]) -> list[Document]:
    """A timeline without the reasons that people gave; the codes that this service gives as reasons stay."""
    return [entry if entry.get("role") == Role.SYSTEM else {**entry, "reason": ""} for entry in entries]


def clinical_fields_of(booking: Mapping[str, Any]) -> list[str]:
    """The names of the fields of `booking` that are or may be clinical, without those that say nothing."""
    return [name for name, value in booking.items() if _says(value) and name not in PLAIN_FIELDS]


def _says(value: Any) -> bool:
    """Whether a value tells anything; "no" and 0 do."""
    return bool(value) or isinstance(value, bool | int | float)


def words_of(booking: Mapping[str, Any]) -> list[str]:
    """The paths of what people wrote in `booking` and, if it has one, its timeline."""
    paths = [path for name in PLAIN_PARTS for path in _words_in(name, booking.get(name))]
    entries = booking.get("timeline") or ()
    said = any(entry.get("reason") and entry.get("role") != Role.SYSTEM for entry in entries)
    return [*paths, "timeline.reason"] if said else paths


def _words_in(name: str, part: Any) -> list[str]:
    """The paths of what people wrote, or may have, in a part of a booking."""
    if isinstance(part, Mapping):
        return [f"{name}.{key}" for key, value in part.items() if _says(value) and key not in PLAIN_PARTS[name]]
    return [name] if _says(part) else []


def visit_times(booking: Mapping[str, Any], zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """Start and end (UTC) from the monolith's date and text; (None, None) when the text is no time."""
    if booking.get("startsAt"):
        return booking["startsAt"], booking.get("endsAt")
    try:
        at = scheduling.parse_time(str(booking.get("scheduledTime", "")))
        starts_at = scheduling.local_instant(booking["scheduledDate"].date(), at, zone)
        minutes = booking.get("estimatedDuration")
        return starts_at, starts_at + timedelta(minutes=int(minutes) if is_length(minutes) else DEFAULT_MINUTES)
    except (ValueError, KeyError, AttributeError, OverflowError):
        return None, None


def is_length(minutes: Any) -> TypeGuard[float]:
    """Whether a visit can last so many minutes."""
    return isinstance(minutes, int | float) and not isinstance(minutes, bool) and 1 <= minutes <= LONGEST_MINUTES


def notice_counts_to(booking: Mapping[str, Any], zone: ZoneInfo) -> datetime:
    """What a cancellation's notice is counted to: the visit's start, or the start of its day when no hour is known."""
    starts_at, _ = visit_times(booking, zone)
    if starts_at is not None:
        return starts_at
    day = booking.get("scheduledDate") or booking.get("createdAt") or datetime.fromtimestamp(0, UTC)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def timeline_of(booking: Mapping[str, Any]) -> list[Document]:
    """Every status change, oldest first; for documents of before what their time stamps tell."""
    if booking.get("timeline"):
        return [entry for entry in booking["timeline"] if isinstance(entry, dict)]
    stamps = sorted(
        (at, _STAMPS[name]) for name, at in (booking.get("statusTimestamps") or {}).items() if name in _STAMPS and at
    )
    entries, source = [], None
    for at, status in stamps:
        entries.append({"from": source, "to": status, "actor": None, "role": None, "at": at, "reason": ""})
        source = status
    return entries


def without_login(entry: Mapping[str, Any]) -> Document:
    """A timeline entry without the login of the member of staff."""
    return {name: value for name, value in entry.items() if name != "actorName"}


def paid_amount(booking: Mapping[str, Any]) -> Decimal:
    """What was actually paid and has not gone back, in rupees; the monolith noted only that it was paid."""
    payment = booking.get("payment") or {}
    if payment.get("status") != "PAID":
        return NOTHING
    paid = payable_amount(booking) if payment.get("paidAmount") is None else decimal(payment["paidAmount"])
    return max(paid - _gone_back(payment), NOTHING)


def _gone_back(payment: Mapping[str, Any]) -> Decimal:
    """How much of the booking's payment went back though nobody had asked for it."""
    own = ("", payment.get("transactionId"))
    notes = payment.get("discrepancies") or ()
    return sum((decimal(note.get("refundedAmount")) for note in notes if note.get("transactionId") in own), NOTHING)


def payable_amount(booking: Mapping[str, Any]) -> Decimal:
    """What the patient has to pay; 0 for documents without a price."""
    pricing = booking.get("pricing") or {}
    return decimal(pricing.get("payableAmount", pricing.get("totalAmount")))


def decimal(value: Any) -> Decimal:
    """Money as stored (Decimal128, or the monolith's float) in paise, half-up; 0 for nothing."""
    exact = value.to_decimal() if isinstance(value, Decimal128) else Decimal(str(value or 0))
    return exact.quantize(_PAISE, rounding=ROUND_HALF_UP)


def _exact(lines: Any) -> Any:
    """The monolith's floats as money; other lines as they are, and what is a float and no price."""
    if not isinstance(lines, dict):
        return lines
    return {name: decimal(value) if _is_price(value) else value for name, value in lines.items()}


def _is_price(value: Any) -> bool:
    return isinstance(value, float) and abs(value) < MORE_THAN_ANY_PRICE  # which infinity and "not a number" are not
