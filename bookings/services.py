"""Bookings are made, read, cancelled and reviewed here; moved in `moving`; visits take place in `visits`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

from booking_service.api.callers import Caller
from booking_service.api.pagination import Page
from booking_service.djongo.transaction import on_commit, run
from bookings import changing, disclosure, lifecycle, reading, repositories, scheduling, signals, slot_guard, terms
from bookings.cancellation import CancelledBy, Refund, refund_of, refund_share
from bookings.changing import booking_of, deciding_on_what_is, moment, visible_to
from bookings.exceptions import (
    AlreadyReviewed,
    BookingNotFound,
    NotCancellable,
    NotReviewable,
    RulesViolated,
)
from bookings.lifecycle import FINAL, OPEN, Status
from bookings.popularity import booked
from bookings.queries import ListQuery
from bookings.reading import Document
from bookings.repositories import BookingFilter
from bookings.signals import NotificationKind
from catalog import services as catalog
from catalog.terms import CatalogService
from patients import services as patients


# --- make ------------------------------------------------------------------------------------------------------------
def booking_create(*, actor: Caller, wanted: Document) -> Document:
    """Book a visit for the patient `actor`; the booking as it is shown.

    Args:
        wanted: the input of `POST /`, validated, with `startsAt` (UTC) whichever form the time came in.

    Raises:
        UnknownService, RulesViolated (every rule together), PatientOverlap, SlotTaken. Then nothing was written.
    """
    now = moment()
    service = terms.service_named(wanted["serviceType"])
    person, age = person_cared_for(actor, wanted, service)
    _check_rules(wanted, service, age, now)
    booking = _new_booking(actor, wanted, service, now)
    need = terms.need_of(booking, service, person=person)

    def write() -> None:
        booking["claims"] = slot_guard.runs(slot_guard.needed(booking["_id"], need))
        repositories.booking_add(booking)
        disclosure.audit_written(actor, booking, reading.clinical_fields_of(booking))
        patients.patient_counters_add(patient_id=booking["patient"], bookings=1)
        signals.booking_created.send(
            sender=None, booking=booking, version=1, notification=NotificationKind.CONFIRMATION
        )
        on_commit(lambda: booked.add(service.name))
        # The last write decides, and is the only one that is waited for.
        slot_guard.exchange({}, booking)

    run(write)
    # Shown to who has just written all of it: the line of the writing covers that, a second one would say nothing.
    return reading.shown(booking, terms.zone())


def person_cared_for(actor: Caller, wanted: Mapping[str, Any], service: CatalogService) -> tuple[str, int | None]:
    """The person's claim on time, and their age where the service asks for it.

    What is told about the person of this visit comes before what the account says. The account holder's own name given
    as `patientDetails` is still the account holder: nobody can be in two places by writing their name down.
    """
    told = wanted.get("patientDetails") or {}
    condition = wanted.get("patientCondition") or {}
    name, age = told.get("name"), told.get("age", condition.get("age"))
    needs_age = age is None and terms.rules_of(service).needs_age
    patient = _patient_id(actor)
    if not (name or needs_age):
        return slot_guard.person_resource(patient), age
    contact = patients.patient_contact(patient)
    if name and scheduling.city_key(name) == scheduling.city_key(contact.name):
        name = None
    if needs_age and not name and contact.date_of_birth:
        age = scheduling.years_between(contact.date_of_birth.date(), wanted["startsAt"].astimezone(terms.zone()).date())
    return slot_guard.person_resource(patient, name), age


def _check_rules(wanted: Mapping[str, Any], service: CatalogService, age: int | None, now: datetime) -> None:
    visit = scheduling.Visit(wanted["startsAt"], terms.city_of(wanted), age, bool(wanted.get("prescriptionUrl")))
    if errors := scheduling.violations(visit, terms.rules_of(service), now, terms.zone()):
        raise RulesViolated(errors)


def _new_booking(actor: Caller, wanted: Document, service: CatalogService, now: datetime) -> Document:
    booking: Document = {
        "_id": ObjectId(),
        "patient": actor.id,
        "status": Status.REQUESTED.value,
        "isRecurring": False,
        "recurringDates": [],
        "equipmentRequired": [],
        **wanted,
        **terms.times_at(wanted["startsAt"], service, wanted.get("scheduledTime")),
        "pricing": terms.pricing_document(terms.price_at(service, wanted["startsAt"])),
        "payment": {"status": "PENDING", "method": wanted.get("paymentMethod", "ONLINE"), "attempt": 1},
        "statusTimestamps": {"requestedAt": now},
        "timeline": [changing.timeline_entry(None, Status.REQUESTED.value, actor, now)],
        "messages": [],
        "version": 1,
        "createdAt": now,
        "updatedAt": now,
    }
    booking.setdefault("estimatedDuration", service.duration_minutes)
    booking.pop("paymentMethod", None)
    return booking


# --- read ------------------------------------------------------------------------------------------------------------
def booking_get(*, actor: Caller, booking_id: ObjectId) -> Document:
    """The booking as the actor may see it. Raises BookingNotFound, for strangers too."""
    return disclosure.seen_by(actor, _found(actor, booking_id))


def booking_open(*, actor: Caller, booking_id: ObjectId) -> Document:
    """The booking and its timeline with all that is clinical, for staff whose right to see that was checked.

    Raises BookingNotFound.
    """
    booking = booking_of(actor, booking_id)
    timeline = [reading.without_login(entry) for entry in reading.timeline_of(booking)]
    return disclosure.opened_by(actor, {**reading.shown(booking, terms.zone()), "timeline": timeline})


def _found(actor: Caller, booking_id: ObjectId) -> Document:
    booking = repositories.booking_find(booking_id, visible_to(actor))
    if booking is None:
        raise BookingNotFound
    return booking


def bookings_own(*, actor: Caller, query: ListQuery, page: Page) -> tuple[list[Document], int]:
    """A page of the actor's bookings (a patient's own, or those assigned to a provider) and how many there are."""
    wanted = BookingFilter(
        patient=actor.id if actor.is_patient else None,
        provider=None if actor.is_patient else actor.id,
        statuses=query.statuses,
        service_type=query.service_type,
        starts_from=query.starts_from,
        starts_before=query.starts_before,
    )
    return _page(actor, wanted, query.order, page)


def bookings_upcoming(*, actor: Caller, page: Page) -> tuple[list[Document], int]:
    """The patient's visits that have not ended and are not final, soonest first."""
    now = moment()
    # No visit lasts a day: the lower bound lets the index skip the past.
    wanted = BookingFilter(patient=actor.id, statuses=OPEN, starts_from=now - scheduling.DAY, ends_after=now)
    return _page(actor, wanted, "startsAt", page)


def bookings_history(*, actor: Caller, page: Page) -> tuple[list[Document], int]:
    """The patient's visits that are over, one way or another, latest first."""
    return _page(actor, BookingFilter(patient=actor.id, statuses=FINAL), "-startsAt", page)


def _page(actor: Caller, wanted: BookingFilter, order: str, page: Page) -> tuple[list[Document], int]:
    found, total = repositories.bookings_page(wanted, order, page)
    return disclosure.page_seen_by(actor, found), total


def booking_timeline(*, actor: Caller, booking_id: ObjectId) -> list[Document]:
    """Every change of the booking: from, to, actor, role, at, reason, requestId. Raises BookingNotFound.

    Only the office sees by which login one of its own did it. What people gave as reasons is audited when an admin or
    the provider reads it; providers do not once the visit is over, and staff read it by `booking_open` alone.
    """
    booking = booking_of(actor, booking_id)
    entries = disclosure.entries_seen_by(actor, booking, reading.timeline_of(booking))
    return entries if actor.is_admin else [reading.without_login(entry) for entry in entries]


# --- cancel ----------------------------------------------------------------------------------------------------------
def cancellation_preview(*, actor: Caller, booking_id: ObjectId) -> Refund:
    """What a cancellation by the actor would give back now. Raises BookingNotFound, NotCancellable."""
    booking = booking_of(actor, booking_id)
    _check_cancellable(booking, actor)
    return _refund_for(booking, CancelledBy(lifecycle.part_of(actor)), moment())


@deciding_on_what_is
def booking_cancel(
    *, actor: Caller, booking_id: ObjectId, reason: str = "", unless: Callable[[Document], bool] | None = None
) -> tuple[Document, Refund]:
    """Cancel the visit: frees its time, refunds what the rules say (once); the booking as shown, and the refund.

    Raises:
        BookingNotFound; NotCancellable when it is past cancelling, or `unless` holds for it by now; InvalidTransition
        when a race was lost.
    """
    booking = booking_of(actor, booking_id)
    _check_cancellable(booking, actor)
    if unless is not None and unless(booking):
        raise NotCancellable(booking["status"], Status.CANCELLED, ())
    return run(_cancelled, booking, actor, reason)


def _cancelled(booking: Document, actor: Caller, reason: str) -> tuple[Document, Refund]:
    now = moment()
    by = CancelledBy(lifecycle.part_of(actor))
    refund = _refund_for(booking, by, now)
    amount, cause = refund.refund_amount, f"CANCELLED_BY_{by}"
    changed = changing.transition(
        booking,
        Status.CANCELLED,
        actor=actor,
        now=now,
        reason=reason,
        fields={"cancellation": _cancellation(by, reason, refund, now), **refund_fields(amount, cause, now)},
    )
    announce_cancellation(changed, by, reason if by is CancelledBy.SYSTEM else cause, amount)
    announce_refund(changed, amount, cause)
    return disclosure.seen_by(actor, changed), refund


def _check_cancellable(booking: Mapping[str, Any], actor: Caller) -> None:
    part = lifecycle.part_of(actor)
    if not lifecycle.is_allowed(booking["status"], Status.CANCELLED, part):
        raise NotCancellable(booking["status"], Status.CANCELLED, lifecycle.allowed_from(booking["status"], part))


def _refund_for(booking: Mapping[str, Any], by: CancelledBy, now: datetime) -> Refund:
    starts_at = reading.notice_counts_to(booking, terms.zone())
    return refund_of(reading.paid_amount(booking), refund_share(cancelled_by=by, starts_at=starts_at, now=now))


def _cancellation(by: CancelledBy, reason: str, refund: Refund, now: datetime) -> Document:
    return {
        "cancelledBy": by.value,
        "reason": reason,
        "cancelledAt": now,
        "refundEligible": refund.refund_eligible,
        "refundAmount": Decimal128(refund.refund_amount),
        "cancellationFee": Decimal128(refund.cancellation_fee),
    }


def refund_fields(amount: Decimal, cause: str, now: datetime) -> Document:
    """What notes in the booking that a refund was asked for; {} when there is nothing to give back."""
    if amount <= 0:
        return {}
    return {"refund": {"status": "REQUESTED", "amount": Decimal128(amount), "reason": cause, "requestedAt": now}}


def announce_cancellation(booking: Document, by: CancelledBy, cause: str, refund_amount: Decimal) -> None:
    """Tell that the visit will not take place. `cause` is a code of ours: what a person wrote may be clinical, and
    stays in the booking."""
    signals.booking_cancelled.send(
        sender=None,
        booking=booking,
        version=booking["version"],
        cancelled_by=by.value,
        reason=cause,
        refund_amount=refund_amount,
        notification=NotificationKind.CANCELLATION,
    )


def announce_refund(booking: Document, amount: Decimal, cause: str) -> None:
    """Ask the payment service, through the outbox, for what `refund_fields` noted. `cause` is a code of ours."""
    if amount > 0:
        signals.booking_refund_requested.send(
            sender=None, booking=booking, version=booking["version"], amount=amount, reason=cause, notification=None
        )


# --- review ----------------------------------------------------------------------------------------------------------
@deciding_on_what_is
def booking_review(*, actor: Caller, booking_id: ObjectId, rating: Document) -> Document:
    """Rate a completed visit, once; the booking as it is shown. The service's average follows in the same transaction.

    Raises:
        BookingNotFound, NotReviewable, AlreadyReviewed.
    """
    booking = booking_of(actor, booking_id)
    if booking["status"] != Status.COMPLETED:
        raise NotReviewable
    if (booking.get("rating") or {}).get("stars"):
        raise AlreadyReviewed
    now = moment()

    def write() -> Document:
        changed = changing.change(booking, fields={"rating": {**rating, "ratedAt": now}}, now=now)
        if service := terms.service_if_known(booking["serviceType"]):
            catalog.service_review_add(name=service.name, stars=rating["stars"])
        return changed

    return disclosure.answered(actor, write)


def _patient_id(actor: Caller) -> ObjectId:
    assert actor.id is not None  # only patients book, and they have an id
    return actor.id
