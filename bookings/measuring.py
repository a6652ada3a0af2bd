"""Counts what happens to bookings, for `/metrics`. A change that is rolled back is not counted."""

from collections.abc import Mapping
from typing import Any

from django.dispatch import Signal

from booking_service.djongo.transaction import on_commit
from booking_service.operations import metrics
from bookings import signals

COUNTED: Mapping[str, Signal] = {
    "created": signals.booking_created,
    "cancelled": signals.booking_cancelled,
    "rescheduled": signals.booking_rescheduled,
    "assigned": signals.booking_assigned,
    "confirmed": signals.booking_confirmed,
    "completed": signals.booking_completed,
    "no_show": signals.booking_no_show,
    "refund_requested": signals.booking_refund_requested,
}


def connect() -> None:
    """Count every signal in COUNTED from now on."""
    for event, signal in COUNTED.items():
        signal.connect(_counter_of(event), weak=False, dispatch_uid=f"measure {event}")


def _counter_of(event: str) -> Any:
    def count(booking: Mapping[str, Any], **_: Any) -> None:
        counter = metrics.BOOKING_EVENTS.labels(event, booking["status"])
        on_commit(counter.inc)

    return count
