"""Which status follows which, and who may make it so. Pure: no Django.

One table. Everything that changes a status asks it, and the database decides races (see `repositories.transition`).
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from booking_service.api.callers import Caller
from bookings.cancellation import HALF_REFUND_NOTICE


class Status(StrEnum):
    """Where a booking is in its life."""

    REQUESTED = "REQUESTED"
    SEARCHING = "SEARCHING"
    ASSIGNED = "ASSIGNED"
    CONFIRMED = "CONFIRMED"
    EN_ROUTE = "EN_ROUTE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    NO_SHOW = "NO_SHOW"
    FAILED = "FAILED"


class Part(StrEnum):
    """The part a caller has in a booking's life."""

    PATIENT = "PATIENT"
    PROVIDER = "PROVIDER"
    ADMIN = "ADMIN"
    SYSTEM = "SYSTEM"


S = Status
_PATIENT, _PROVIDER, _ADMIN, _SYSTEM = Part.PATIENT, Part.PROVIDER, Part.ADMIN, Part.SYSTEM
_EVERYBODY = frozenset(Part)
_UNASSIGNED = frozenset({_PATIENT, _ADMIN, _SYSTEM})
_CARE = frozenset({_PROVIDER, _ADMIN})
_OFFICE = frozenset({_ADMIN, _SYSTEM})

TRANSITIONS: Mapping[tuple[Status, Status], frozenset[Part]] = MappingProxyType(
    {
        (S.REQUESTED, S.SEARCHING): _OFFICE,
        (S.REQUESTED, S.ASSIGNED): frozenset({_ADMIN}),
        (S.REQUESTED, S.CANCELLED): _UNASSIGNED,
        (S.SEARCHING, S.ASSIGNED): frozenset({_ADMIN}),
        (S.SEARCHING, S.FAILED): _OFFICE,
        (S.SEARCHING, S.CANCELLED): _UNASSIGNED,
        (S.ASSIGNED, S.CONFIRMED): _CARE,
        (S.ASSIGNED, S.SEARCHING): _CARE,
        (S.ASSIGNED, S.CANCELLED): _EVERYBODY,
        (S.CONFIRMED, S.EN_ROUTE): _CARE,
        (S.CONFIRMED, S.NO_SHOW): _CARE,
        (S.CONFIRMED, S.CANCELLED): _EVERYBODY,
        (S.EN_ROUTE, S.IN_PROGRESS): _CARE,
        (S.EN_ROUTE, S.NO_SHOW): _CARE,
        (S.EN_ROUTE, S.CANCELLED): _EVERYBODY,
        (S.IN_PROGRESS, S.COMPLETED): _CARE,
        (S.IN_PROGRESS, S.CANCELLED): frozenset({_ADMIN}),
    }
)

# How long before its start, at most, a visit's provider may say this of it: never while a patient who cancels would
# still get money back, and that nobody was there only from the start on.
TOLD_AHEAD: Mapping[Status, timedelta] = MappingProxyType(
    {
        S.EN_ROUTE: HALF_REFUND_NOTICE,
        S.IN_PROGRESS: HALF_REFUND_NOTICE,
        S.COMPLETED: HALF_REFUND_NOTICE,
        S.NO_SHOW: timedelta(0),
    }
)

FINAL = frozenset({S.COMPLETED, S.CANCELLED, S.NO_SHOW, S.FAILED})
OPEN = frozenset(Status) - FINAL
EDITABLE = frozenset({S.REQUESTED, S.SEARCHING})
UNASSIGNED = frozenset({S.REQUESTED, S.SEARCHING})
MOVABLE = frozenset({S.REQUESTED, S.SEARCHING, S.ASSIGNED, S.CONFIRMED})

# The final states that leave the visit's time to others.
FREEING = FINAL - {S.COMPLETED}


def part_of(caller: Caller) -> Part:
    """The part `caller` has: providers act as PROVIDER (of their own bookings only), admins and staff as ADMIN."""
    if caller.is_patient:
        return Part.PATIENT
    if caller.is_provider:
        return Part.PROVIDER
    return Part.ADMIN if caller.is_admin else Part.SYSTEM


def is_final(status: str) -> bool:
    """Whether nothing can follow. A status that this service does not know (old documents) is final, too."""
    return status not in OPEN


def allowed_from(status: str, part: Part) -> tuple[Status, ...]:
    """What `part` may make of a booking that is in `status`, in the table's order; () for unknown statuses."""
    return tuple(to for (source, to), who in TRANSITIONS.items() if source == status and part in who)


def is_allowed(source: str, to: Status, part: Part) -> bool:
    """Whether `part` may lead a booking from `source` to `to`."""
    return to in allowed_from(source, part)


def told_ahead(to: Status, part: Part) -> timedelta | None:
    """How long before a visit `part` may lead it to `to`, at most; None: at any time, as the office, which corrects."""
    return TOLD_AHEAD.get(to) if part is Part.PROVIDER else None


def sources_of(to: Status, part: Part) -> tuple[Status, ...]:
    """The statuses from which `part` may lead a booking to `to`."""
    return tuple(source for (source, target), who in TRANSITIONS.items() if target is to and part in who)
