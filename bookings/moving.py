"""A visit gets another time, or other words: rescheduled and edited."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bson import Decimal128, ObjectId

from booking_service.api.callers import Caller, Role
from booking_service.api.errors import FieldError
from bookings import changing, disclosure, lifecycle, reading, scheduling, signals, slot_guard, terms
from bookings.changing import booking_of, deciding_on_what_is, moment
from bookings.exceptions import NotEditable, NotReschedulable, RescheduleLimit, RescheduleWindow, RulesViolated
from bookings.lifecycle import EDITABLE, MOVABLE
from bookings.reading import Document
from bookings.services import person_cared_for
from bookings.signals import NotificationKind
from catalog.terms import CatalogService

MOVE_NOTICE = timedelta(hours=4)
MOVES = 3
# A booking stays a small document, whatever is done to it again and again.
MOST_CHANGES = 200
UNPAID = frozenset({None, "PENDING", "FAILED"})


@deciding_on_what_is
def booking_reschedule(
    *, actor: Caller, booking_id: ObjectId, starts_at: datetime, reason: str = "", told_time: str | None = None
) -> Document:
    """Move the visit to `starts_at`, at that time's price; the booking as it is shown.

    Raises:
        BookingNotFound, NotReschedulable, RescheduleWindow, RescheduleLimit, RulesViolated, PatientOverlap,
        ProviderBusy, SlotTaken. Then everything is as it was.
    """
    booking = booking_of(actor, booking_id)
    now = moment()
    _check_movable(booking, actor, now)
    if starts_at == reading.visit_times(booking, terms.zone())[0]:
        return disclosure.answered(actor, lambda: booking)  # it is there already: no move, no new price, no event
    service = terms.service_named(booking["serviceType"])
    if errors := scheduling.moving_violations(starts_at, terms.rules_of(service), now, terms.zone()):
        raise RulesViolated(errors)
    times = terms.times_at(starts_at, service, told_time)
    return disclosure.answered(actor, _moved, booking, service, times, actor, reason, now)


def _moved(
    booking: Document, service: CatalogService, fields: Document, actor: Caller, reason: str, now: datetime
) -> Document:
    need = _need(booking, fields, service, person_of(booking))
    entry = changing.timeline_entry(booking["status"], booking["status"], actor, now, reason, change="RESCHEDULED")
    changed = _rewritten(booking, need, _repriced(booking, service, fields), entry, now)
    _announce_move(booking, changed, f"RESCHEDULED_BY_{lifecycle.part_of(actor)}")
    return changed


def _rewritten(booking: Document, need: slot_guard.Need, fields: Document, entry: Document, now: datetime) -> Document:
    """Write `fields` of a booking that is to take up `need`: claim that, free what it needs no longer."""
    claims = slot_guard.needed(booking["_id"], need, slot_guard.claims_of(booking))
    moves = need.starts_at != booking.get("startsAt")
    changed = changing.change(
        booking,
        fields={**fields, "claims": slot_guard.runs(claims)},
        # Reminders are for a time: another time has its own.
        removed=("reminders",) if moves else (),
        entry=entry,
        added={"rescheduleCount": 1} if moves and entry["role"] == Role.PATIENT else None,
        now=now,
    )
    slot_guard.exchange(booking, changed)
    return changed


def _need(booking: Document, fields: Document, service: CatalogService, person: str) -> slot_guard.Need:
    before = booking | dict(zip(("startsAt", "endsAt"), reading.visit_times(booking, terms.zone()), strict=True))
    return terms.need_of({**booking, **fields}, service, person=person, before=before)


def person_of(booking: Document) -> str:
    """The person whose time the booking has; for documents without claims the one it names."""
    for run_of_cells in booking.get("claims") or ():
        if run_of_cells["resource"].startswith(f"{slot_guard.PERSON}:"):
            return str(run_of_cells["resource"])
    return slot_guard.person_resource(booking["patient"], (booking.get("patientDetails") or {}).get("name"))


def _check_movable(booking: Mapping[str, Any], actor: Caller, now: datetime) -> None:
    if booking["status"] not in MOVABLE:
        raise NotReschedulable
    if not actor.is_patient:
        return
    if reading.notice_counts_to(booking, terms.zone()) - now < MOVE_NOTICE:
        raise RescheduleWindow
    if booking.get("rescheduleCount", 0) >= MOVES:
        raise RescheduleLimit


def _repriced(booking: Mapping[str, Any], service: CatalogService, fields: Document) -> Document:
    """`fields` and the new time's price. What a paid visit costs more (or less) then is noted as `payment.balance`."""
    price = terms.price_at(service, fields["startsAt"])
    repriced = {**fields, "pricing": terms.pricing_document(price)}
    if paid := reading.paid_amount(booking):
        repriced["payment.balance"] = Decimal128(price.payable_amount - paid)
    return repriced


def _announce_move(before: Document, after: Document, cause: str) -> None:
    signals.booking_rescheduled.send(
        sender=None,
        booking=after,
        version=after["version"],
        previous_starts_at=reading.visit_times(before, terms.zone())[0],
        starts_at=after["startsAt"],
        reason=cause,
        amount=reading.payable_amount(after),
        notification=NotificationKind.RESCHEDULE,
    )


@deciding_on_what_is
def booking_update(
    *, actor: Caller, booking_id: ObjectId, changes: Document, check_version: Callable[[int], None] | None = None
) -> Document:
    """Change what the patient said about the visit, its time too; the booking as it is shown.

    Args:
        changes: any subset of the input, validated; a new time as `startsAt` (UTC).
        check_version: raises when the version is not the one that the caller knows.

    Raises:
        BookingNotFound, PreconditionFailed (STALE), NotEditable, and what `booking_create` and `booking_reschedule` do.
    """
    booking = booking_of(actor, booking_id)
    if check_version is not None:
        check_version(booking.get("version", 0))
    if booking["status"] not in EDITABLE:
        raise NotEditable
    if len(booking.get("timeline") or ()) >= MOST_CHANGES:
        raise NotEditable
    now = moment()
    edit = _edit(booking, changes, actor, now)
    if not edit.fields:
        return disclosure.answered(actor, lambda: booking)
    return disclosure.answered(actor, _edited, booking, edit, actor, now)


@dataclass(frozen=True, slots=True)
class _Edit:
    """A change that is within the rules: what is written, what it takes up, whether the visit moves."""

    fields: Document
    need: slot_guard.Need
    moves: bool


def _edit(booking: Document, changes: Document, actor: Caller, now: datetime) -> _Edit:
    service = terms.service_named(booking["serviceType"])
    fields = _edited_fields(booking, changes, service)
    wanted = {**booking, **fields}
    if not wanted.get("startsAt"):
        raise NotEditable
    moves = wanted["startsAt"] != reading.visit_times(booking, terms.zone())[0]
    if moves:
        _check_movable(booking, actor, now)
        fields = _repriced(booking, service, fields)
    person, errors = _against_rules(actor, wanted, service, now)
    if not moves:
        # What stays was right when it was booked.
        _, before = _against_rules(actor, {**booking, "startsAt": wanted["startsAt"]}, service, now)
        errors = [error for error in errors if error not in before or error.field.partition(".")[0] in fields]
    if errors:
        raise RulesViolated(errors)
    return _Edit(fields, _need(booking, fields, service, person), moves)


def _against_rules(
    actor: Caller, booking: Document, service: CatalogService, now: datetime
) -> tuple[str, list[FieldError]]:
    """The person cared for, as a claim names them, and what is wrong with the visit."""
    person, age = person_cared_for(actor, booking, service)
    visit = scheduling.Visit(booking["startsAt"], terms.city_of(booking), age, bool(booking.get("prescriptionUrl")))
    return person, scheduling.violations(visit, terms.rules_of(service), now, terms.zone())


def _edited_fields(booking: Document, changes: Document, service: CatalogService) -> Document:
    """What is written: the changes, and the instants of a new time or of a document that has none yet."""
    fields = {
        name: value
        for name, value in changes.items()
        if name not in ("startsAt", "scheduledTime", "paymentMethod") and booking.get(name) != value
    }
    payment = booking.get("payment") or {}
    method = changes.get("paymentMethod", payment.get("method"))
    if method != payment.get("method"):
        if payment.get("status") not in UNPAID:
            raise RulesViolated([FieldError("paymentMethod", "The visit is paid for.", "NOT_CHANGEABLE")])
        fields |= {"payment.method": method, "payment.dueSince": moment()}
    starts_at, ends_at = reading.visit_times(booking, terms.zone())
    if changes.get("startsAt", starts_at) != starts_at:
        return {**fields, **terms.times_at(changes["startsAt"], service, changes.get("scheduledTime"))}
    return fields if booking.get("startsAt") else {**fields, "startsAt": starts_at, "endsAt": ends_at}


def _edited(booking: Document, edit: _Edit, actor: Caller, now: datetime) -> Document:
    status, name = booking["status"], "RESCHEDULED" if edit.moves else "UPDATED"
    entry = changing.timeline_entry(status, status, actor, now, change=name)
    changed = _rewritten(booking, edit.need, edit.fields, entry, now)
    disclosure.audit_written(actor, booking, edit.fields.keys())
    if edit.moves:
        _announce_move(booking, changed, f"RESCHEDULED_BY_{lifecycle.part_of(actor)}")
    return changed
