"""The answers of the bookings' endpoints, for `/api/schema`: documents pass through, only the schema tells."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter

from booking_service.api.schema import obj
from booking_service.api.shapes import FLAG, ID, INSTANT, MAYBE_INSTANT, NUMBER, OBJECT, TEXT, Schema
from bookings.lifecycle import Status

DAY: Schema = {"type": "string", "description": "YYYY-MM-DD, or an instant with an offset"}
# Documents of before may have a status that nobody knows any more.
STATUS = TEXT | {"description": ", ".join(Status.__members__)}

PRICING = obj(
    basePrice=NUMBER,
    platformFee=NUMBER,
    gst=NUMBER,
    discount=NUMBER,
    totalAmount=NUMBER,
    payableAmount=NUMBER,
    currency=TEXT,
)
BOOKING = obj(
    "_id patient serviceType status startsAt endsAt version",
    _id=ID,
    patient=ID,
    serviceProvider=ID | {"nullable": True},
    serviceType=TEXT,
    status=STATUS,
    scheduledDate=INSTANT,
    scheduledTime=TEXT,
    startsAt=MAYBE_INSTANT,
    endsAt=MAYBE_INSTANT,
    pricing=PRICING,
    payment=OBJECT,
    serviceLocation=OBJECT,
    statusTimestamps=OBJECT,
    version={"type": "integer"},
    createdAt=INSTANT,
    updatedAt=INSTANT,
)
BOOKINGS: Schema = {"type": "array", "items": BOOKING}
REFUND = obj(
    "refundAmount cancellationFee refundEligible", refundAmount=NUMBER, cancellationFee=NUMBER, refundEligible=FLAG
)
CANCELLED = obj("booking refundDetails", booking=BOOKING, refundDetails=REFUND)
TIMELINE: Schema = {
    "type": "array",
    "items": obj("from to at", **{"from": STATUS | {"nullable": True}, "to": STATUS, "at": INSTANT, "reason": TEXT}),
}
PAYMENT = obj(
    "bookingId status amount currency",
    bookingId=ID,
    status=TEXT,
    method=TEXT | {"nullable": True},
    amount=NUMBER,
    currency=TEXT,
    orderId=TEXT,
    checkoutUrl=TEXT | {"nullable": True},
)
SLOTS = obj(
    "slots",
    slots={
        "type": "array",
        "items": obj(
            "startsAt endsAt available price surgeApplied",
            startsAt=INSTANT,
            endsAt=INSTANT,
            available={"nullable": True},
            price=NUMBER,
            surgeApplied=FLAG,
        ),
    },
    reason=TEXT | {"enum": ["CLOSED", "FULL", "LEAD_TIME", "CITY_NOT_SERVED"]},
)

FILTERS = (
    OpenApiParameter("status", {"type": "array", "items": {"type": "string", "enum": list(Status.__members__)}}),
    OpenApiParameter("serviceType", {"type": "string", "minLength": 1, "maxLength": 60}),
    OpenApiParameter("from", DAY),
    OpenApiParameter("to", DAY),
    OpenApiParameter("sort", {"type": "string", "enum": ["-createdAt", "startsAt", "-startsAt"]}),
)
SLOT_RANGE = (
    OpenApiParameter("from", DAY),
    OpenApiParameter("to", DAY),
    OpenApiParameter("city", {"type": "string", "maxLength": 100}),
)
IF_MATCH = (OpenApiParameter("If-Match", {"type": "string"}, OpenApiParameter.HEADER, description="an ETag"),)


def booking_example() -> Schema:
    """A booking that can be made today."""
    return {
        "serviceType": "WOUND_DRESSING",
        "scheduledDate": _day(3),
        "scheduledTime": "10:30 AM",
        "serviceLocation": {
            "type": "HOME",
            "address": {"street": "12 MG Road", "city": "Bangalore", "state": "Karnataka", "pincode": "560001"},
            "contactPerson": "Asha Rao",
            "contactPhone": "9876543210",
        },
        "paymentMethod": "ONLINE",
    }


def reschedule_example() -> Schema:
    return {"scheduledDate": _day(4), "scheduledTime": "11:00", "reason": "I am travelling that day."}


def _day(days_ahead: int) -> str:
    return (timezone.localdate() + timedelta(days=days_ahead)).isoformat()
