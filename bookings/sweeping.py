"""What time does to bookings. Each sweep goes on in batches until nothing is left, and may run anywhere at any time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings

from booking_service.api.callers import SYSTEM
from booking_service.api.errors import Conflict, NotFound
from booking_service.djongo.transaction import run
from bookings import repositories, services, slot_guard, visits
from bookings.changing import moment
from bookings.lifecycle import FREEING, UNASSIGNED, Status

log = structlog.get_logger(__name__)

BATCH = 200
CLAIMS_BATCH = 5000
UNPAID = UNASSIGNED | {Status.ASSIGNED}
NO_PROVIDER, NOT_PAID = "NO_PROVIDER_FOUND", "NOT_PAID"


@dataclass(slots=True)
class Swept:
    """How many bookings a sweep changed, how many somebody else had changed by then, and which resisted."""

    changed: int = 0
    overtaken: int = 0
    failed: list[ObjectId] = field(default_factory=list)


def sweep_unassigned() -> Swept:
    """Visits whose time has come without a provider: FAILED, everything paid goes back."""

    def fail(booking_id: ObjectId) -> None:
        visits.booking_fail(actor=SYSTEM, booking_id=booking_id, reason=NO_PROVIDER)

    return _sweep(lambda: repositories.bookings_unassigned(UNASSIGNED, until=moment(), limit=BATCH), fail)


def sweep_unpaid() -> Swept:
    """Bookings to be paid online that were not, for UNPAID_MINUTES: CANCELLED by SYSTEM, their time is free again."""
    waited = timedelta(minutes=settings.UNPAID_MINUTES)

    def cancel(booking_id: ObjectId) -> None:
        services.booking_cancel(actor=SYSTEM, booking_id=booking_id, reason=NOT_PAID, unless=_is_paid)

    return _sweep(lambda: repositories.bookings_unpaid(UNPAID, created_until=moment() - waited, limit=BATCH), cancel)


def _is_paid(booking: dict[str, Any]) -> bool:
    return (booking.get("payment") or {}).get("status") not in ("PENDING", "FAILED")


def _sweep(due: Callable[[], list[ObjectId]], change: Callable[[ObjectId], None]) -> Swept:
    """Change what is due until nothing new is. One booking that resists does not keep the others waiting."""
    swept = Swept()
    seen: set[ObjectId] = set()
    while batch := [booking_id for booking_id in due() if booking_id not in seen]:
        seen.update(batch)
        for booking_id in batch:
            _change_one(booking_id, change, swept)
    return swept


def _change_one(booking_id: ObjectId, change: Callable[[ObjectId], None], swept: Swept) -> None:
    try:
        change(booking_id)
    except (Conflict, NotFound):
        swept.overtaken += 1
    except Exception as error:  # noqa: BLE001 - the others must not wait for this one; the command's exit code tells
        log.error("booking_not_swept", booking_id=str(booking_id), error=type(error).__name__)
        swept.failed.append(booking_id)
    else:
        swept.changed += 1


def sweep_orphaned_claims() -> int:
    """Free claims that no booking stands behind; how many. There should never be one: each is logged."""
    freed = 0
    for held in repositories.claims_by_booking(CLAIMS_BATCH):
        holders = repositories.claim_holders(held)
        for booking_id, claims in held.items():
            if _orphans(claims, holders.get(booking_id)):
                freed += run(_free_orphans, booking_id, claims)
    return freed


def _orphans(claims: list[str], booking: dict[str, Any] | None) -> list[str]:
    """Those of `claims` that the booking does not remember, or has no right to any more."""
    entitled = set(slot_guard.claims_of(booking)) if booking and booking["status"] not in FREEING else set()
    return [claim for claim in claims if claim not in entitled]


def _free_orphans(booking_id: ObjectId, claims: list[str]) -> int:
    """Looked at again in one snapshot: what a booking claims meanwhile is not in it."""
    booking = repositories.claim_holders([booking_id]).get(booking_id)
    freed = slot_guard.give_back(booking_id, _orphans(claims, booking))
    if freed:
        log.warning("orphaned_claims_freed", booking_id=str(booking_id), count=freed)
    return freed
