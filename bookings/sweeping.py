"""What time does to bookings. Each sweep goes on in batches until nothing is left, and may run anywhere at any time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings

from booking_service.api.callers import SYSTEM
from booking_service.api.errors import Conflict, NotFound
from booking_service.djongo.errors import is_unreachable
from booking_service.djongo.transaction import run
from bookings import repositories, services, slot_guard, visits
from bookings.changing import moment
from bookings.lifecycle import FREEING, UNASSIGNED, Status
from bookings.payments import discrepancies_held

log = structlog.get_logger(__name__)

BATCH = 200
CLAIMS_BATCH = 5000
UNPAID = UNASSIGNED | {Status.ASSIGNED}
NO_PROVIDER, NOT_PAID = "NO_PROVIDER_FOUND", "NOT_PAID"


@dataclass(slots=True)
class Swept:
    """How much a sweep changed, which bookings somebody else had changed by then, and which resisted."""

    changed: int = 0
    overtaken: list[ObjectId] = field(default_factory=list)
    failed: list[ObjectId] = field(default_factory=list)

    def change(self, change: Callable[[ObjectId], int], booking_id: ObjectId) -> None:
        """Change one booking. One that resists does not keep the others waiting."""
        try:
            self.changed += change(booking_id)
        except (Conflict, NotFound):
            self.overtaken.append(booking_id)
        except Exception as error:
            if is_unreachable(error):
                raise
            log.error("booking_not_swept", booking_id=str(booking_id), error=type(error).__name__)
            self.failed.append(booking_id)


def sweep_unassigned() -> Swept:
    """Visits whose time has come without a provider: FAILED, everything paid goes back."""

    def due(besides: list[ObjectId]) -> list[ObjectId]:
        return repositories.bookings_unassigned(UNASSIGNED, until=moment(), limit=BATCH, besides=besides)

    def fail(booking_id: ObjectId) -> int:
        visits.booking_fail(actor=SYSTEM, booking_id=booking_id, reason=NO_PROVIDER)
        return 1

    return _sweep(due, fail)


def sweep_unpaid() -> Swept:
    """Bookings to be paid online that were not, for UNPAID_MINUTES: CANCELLED by SYSTEM, their time is free again.

    That time begins when the booking is made, when it becomes one to pay online, and when an order is opened.
    """
    waited = timedelta(minutes=settings.UNPAID_MINUTES)

    def due(besides: list[ObjectId]) -> list[ObjectId]:
        return repositories.bookings_unpaid(UNPAID, created_until=moment() - waited, limit=BATCH, besides=besides)

    def is_safe(booking: dict[str, Any]) -> bool:
        return _brought_money(booking) or _began_to_pay(booking, moment() - waited)

    def cancel(booking_id: ObjectId) -> int:
        services.booking_cancel(actor=SYSTEM, booking_id=booking_id, reason=NOT_PAID, unless=is_safe)
        return 1

    return _sweep(due, cancel)


def _brought_money(booking: dict[str, Any]) -> bool:
    """Whether it was paid, or paid with another amount that was not given back: that is for staff."""
    payment = booking.get("payment") or {}
    return payment.get("status") not in ("PENDING", "FAILED") or discrepancies_held(payment)


def _began_to_pay(booking: dict[str, Any], since: datetime) -> bool:
    """Whether it became one to pay online, or got its order, after `since`."""
    payment = booking.get("payment") or {}
    times = (payment.get("dueSince"), (payment.get("order") or {}).get("openedAt"))
    return any(isinstance(at, datetime) and at > since for at in times)


def _sweep(due: Callable[[list[ObjectId]], list[ObjectId]], change: Callable[[ObjectId], int]) -> Swept:
    """Change what is due until nothing is but what stayed as it was."""
    swept = Swept()
    while batch := due([*swept.overtaken, *swept.failed]):
        for booking_id in batch:
            swept.change(change, booking_id)
    return swept


def sweep_orphaned_claims() -> Swept:
    """Free claims that no booking stands behind; `changed` says how many. There should never be one: each is logged."""
    swept = Swept()
    for held in repositories.claims_by_booking(CLAIMS_BATCH):
        holders = repositories.claim_holders(held)
        for booking_id in held:
            swept.change(partial(_freed, held, holders), booking_id)
    return swept


def _freed(held: dict[ObjectId, list[str]], holders: dict[ObjectId, dict[str, Any]], booking_id: ObjectId) -> int:
    if not isinstance(booking_id, ObjectId):
        raise TypeError("A claim that names no booking is for staff to look at.")
    claims = held[booking_id]
    return run(_free_orphans, booking_id, claims) if _orphans(claims, holders.get(booking_id)) else 0


def _orphans(claims: list[str], booking: dict[str, Any] | None) -> list[str]:
    """Those of `claims` that the booking does not remember, or has no right to any more."""
    entitled = set(slot_guard.claims_of(booking)) if booking and booking.get("status") not in FREEING else set()
    return [claim for claim in claims if claim not in entitled]


def _free_orphans(booking_id: ObjectId, claims: list[str]) -> int:
    """Looked at again in one snapshot: what a booking claims meanwhile is not in it."""
    booking = repositories.claim_holders([booking_id]).get(booking_id)
    freed = slot_guard.give_back(booking_id, _orphans(claims, booking))
    if freed:
        log.warning("orphaned_claims_freed", booking_id=str(booking_id), count=freed)
    return freed
