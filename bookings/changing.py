"""How a booking changes: one conditional update, its timeline entry with it, and what a loser of a race is told."""

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, ParamSpec, TypeVar

from bson import ObjectId

from booking_service.api.callers import Caller
from booking_service.api.request_id import current_request_id
from booking_service.djongo.transaction import in_transaction
from bookings import lifecycle, reading, repositories, slot_guard, terms
from bookings.exceptions import BookingNotFound, ChangedMeanwhile, InvalidTransition, TooEarly
from bookings.lifecycle import FREEING, Part, Status
from bookings.reading import Document

P = ParamSpec("P")
R = TypeVar("R")

TRIES = 10
_STAMP_OF = {
    Status.REQUESTED: "requestedAt",
    Status.SEARCHING: "searchingAt",
    Status.ASSIGNED: "assignedAt",
    Status.CONFIRMED: "confirmedAt",
    Status.EN_ROUTE: "enRouteAt",
    Status.IN_PROGRESS: "startedAt",
    Status.COMPLETED: "completedAt",
    Status.CANCELLED: "cancelledAt",
    Status.NO_SHOW: "noShowAt",
    Status.FAILED: "failedAt",
}


class Outdated(Exception):
    """The booking is not what was read any more, though its status is: read it again and decide anew."""


def deciding_on_what_is(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a use case that reads a booking, decides, and writes on condition: again when the read was outdated.

    Reading happens outside of the transaction that writes, so that the loser of a race is told that it lost one.

    Raises:
        ChangedMeanwhile: after TRIES outdated reads.
    """

    @functools.wraps(function)
    def again_when_outdated(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(1 if in_transaction() else TRIES):
            try:
                return function(*args, **kwargs)
            except Outdated:
                continue
        raise ChangedMeanwhile

    return again_when_outdated


def moment() -> datetime:
    """Now, in UTC, as precisely as MongoDB keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def visible_to(actor: Caller) -> dict[str, Any]:
    """Whose bookings `actor` may know of, as a condition: their own, those assigned to them, or all."""
    part = lifecycle.part_of(actor)
    if part is Part.PATIENT:
        return {"patient": actor.id}
    return {"serviceProvider": actor.id} if part is Part.PROVIDER else {}


def booking_of(actor: Caller, booking_id: ObjectId) -> Document:
    """The whole booking, if the actor may know of it. Raises BookingNotFound."""
    booking = repositories.booking_load(booking_id, visible_to(actor))
    if booking is None:
        raise BookingNotFound
    return booking


def timeline_entry(
    source: str | None, to: str, actor: Caller, at: datetime, reason: str = "", change: str = "STATUS"
) -> Document:
    """What the timeline keeps of a change. `change` says what changed when it was not the status."""
    entry = {"from": source, "to": to, "actor": actor.id, "role": actor.role.value, "at": at, "reason": reason}
    entry["requestId"] = current_request_id()
    if actor.name:
        entry["actorName"] = actor.name
    if change != "STATUS":
        entry["change"] = change
    return entry


def check_transition(booking: Mapping[str, Any], to: Status, actor: Caller) -> None:
    """Raises InvalidTransition unless the actor may lead the booking from where it is to `to`."""
    part = lifecycle.part_of(actor)
    if not lifecycle.is_allowed(booking["status"], to, part):
        raise InvalidTransition(booking["status"], to, lifecycle.allowed_from(booking["status"], part))


def transition(
    booking: Mapping[str, Any],
    to: Status,
    *,
    actor: Caller,
    now: datetime,
    reason: str = "",
    fields: Mapping[str, Any] | None = None,
    removed: Iterable[str] = (),
) -> Document:
    """Lead the booking from the status it was read in to `to`, inside the caller's transaction; the booking after it.

    Frees the claims where the new status leaves the time to others.

    Raises:
        InvalidTransition: not allowed, or somebody else was faster.
        TooEarly: it is a provider's to say, but nearer to the visit.
    """
    check_transition(booking, to, actor)
    _check_time(booking, to, actor, now)
    changed = repositories.booking_change(
        booking["_id"],
        _as_read(booking),
        fields=settable(
            booking,
            {"status": to.value, f"statusTimestamps.{_STAMP_OF[to]}": now, "updatedAt": now, **(fields or {})},
        ),
        removed=removed,
        entry=timeline_entry(booking["status"], to.value, actor, now, reason),
    )
    if changed is None:
        _lost(booking, to, actor)
    if to in FREEING:
        slot_guard.give_back(changed["_id"], slot_guard.claims_of(changed))
    return changed


def _check_time(booking: Mapping[str, Any], to: Status, actor: Caller, now: datetime) -> None:
    most = lifecycle.told_ahead(to, lifecycle.part_of(actor))
    if most is not None and reading.notice_counts_to(booking, terms.zone()) - now > most:
        raise TooEarly


def change(
    booking: Mapping[str, Any],
    *,
    fields: Mapping[str, Any],
    now: datetime,
    removed: Iterable[str] = (),
    entry: Mapping[str, Any] | None = None,
    added: Mapping[str, Any] | None = None,
) -> Document:
    """Change fields of the booking if it is as it was read; the booking after it.

    Raises:
        Outdated: it is not.
    """
    changed = repositories.booking_change(
        booking["_id"],
        _as_read(booking),
        fields=settable(booking, {"updatedAt": now, **fields}),
        removed=removed,
        entry=entry,
        added=added,
    )
    if changed is None:
        raise Outdated
    return changed


def settable(booking: Mapping[str, Any], fields: Mapping[str, Any]) -> Document:
    """`fields` as MongoDB can set them: below a null, which old documents have, there is no path."""
    fitted: Document = {}
    for path, value in fields.items():
        parent, _, name = path.partition(".")
        if name and parent in booking and booking[parent] is None:
            fitted.setdefault(parent, {})[name] = value
        else:
            fitted[path] = value
    return fitted


def _as_read(booking: Mapping[str, Any]) -> Document:
    # The patient is what the collection may be sharded by; an update that names it goes to one shard.
    return {"patient": booking["patient"], "status": booking["status"], "version": booking.get("version")}


def _lost(booking: Mapping[str, Any], to: Status, actor: Caller) -> NoReturn:
    """Somebody changed the booking first: a lost race if it is elsewhere now, else a reason to read it again."""
    status = repositories.booking_status(booking["_id"])
    if status is None or status == booking["status"]:
        raise Outdated
    raise InvalidTransition(status, to, lifecycle.allowed_from(status, lifecycle.part_of(actor)))
