"""How much of a booking leaves this app, to whom, and on what record: the one way out for all use cases.

Patients see what is theirs, the platform's admins all. Providers see clinical fields while the visit is theirs to make,
a day after its end at the latest, and of its payment the method and the status. Staff see them on one page of the
admin, if they have the right to; what they do to a booking shows them none.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec

from booking_service.api.callers import Caller, Role
from booking_service.djongo.transaction import run
from bookings import reading, terms
from bookings.lifecycle import OPEN
from bookings.reading import Document
from patients.audit import Access, clinical_access_record, own_read_record

P = ParamSpec("P")

REPORTED_WITHIN = timedelta(days=1)


def seen_by(actor: Caller, booking: Document) -> Document:
    """The booking as `actor` may see it; changes `booking`. What is clinical in it is on record then."""
    booking = _shown(actor, booking)
    if actor.is_patient:
        _note_own_read(actor)
        return booking
    if not _sees_clinical(actor, booking):
        return _for_others(booking)
    return opened_by(actor, booking)


def entries_seen_by(actor: Caller, booking: Document, entries: list[Document]) -> list[Document]:
    """The timeline as `actor` may see it: what people wrote in it may be clinical, and is on record then."""
    if actor.is_patient:
        return entries
    if not _sees_clinical(actor, booking):
        return reading.entries_without_words(entries)
    audit(actor, Access.READ, booking, reading.words_of({"timeline": entries}))
    return entries


def answered(actor: Caller, write: Callable[P, Document], /, *args: P.args, **kwargs: P.kwargs) -> Document:
    """Run `write` in one transaction; its booking as `actor` may see it. What cannot go on record is not done."""
    return run(lambda: seen_by(actor, write(*args, **kwargs)))


def opened_by(actor: Caller, booking: Document) -> Document:
    """`booking` with all that is or may be clinical, for somebody whose right to it was checked: each time a line."""
    audit(actor, Access.READ, booking, [*reading.clinical_fields_of(booking), *reading.words_of(booking)])
    return booking


def page_seen_by(actor: Caller, bookings: list[Document]) -> list[Document]:
    """A page of a list. Only patients see clinical fields there: providers open the visit for that."""
    bookings = [_shown(actor, booking) for booking in bookings]
    if actor.is_patient:
        _note_own_read(actor)
        return bookings
    return [_for_others(booking) for booking in bookings]


def audit(actor: Caller, action: Access, booking: Mapping[str, Any], fields: Iterable[str]) -> None:
    """Note for ever, in the open transaction if there is one, which clinical fields the actor read or wrote."""
    clinical_access_record(actor=actor, action=action, object_type="booking", object_id=booking["_id"], fields=fields)


def audit_written(actor: Caller, booking: Mapping[str, Any], written: Collection[str]) -> None:
    """Note which of the fields in `written`, emptied ones too, are clinical; nothing when none is."""
    audit(actor, Access.WRITE, booking, [name for name in reading.CLINICAL_FIELDS if name in written])


def _shown(actor: Caller, booking: Document) -> Document:
    booking = reading.shown(booking, terms.zone())
    return reading.without_payment_details(booking) if actor.is_provider else booking


def _for_others(booking: Document) -> Document:
    """Without what is clinical, and without what people wrote."""
    return reading.without_words(reading.without_clinical(booking))


def _sees_clinical(actor: Caller, booking: Mapping[str, Any]) -> bool:
    if actor.is_provider:
        is_theirs = booking.get("serviceProvider") == actor.id and booking["status"] in OPEN
        return is_theirs and not _is_long_over(booking)
    return actor.role is Role.ADMIN


def _is_long_over(booking: Mapping[str, Any]) -> bool:
    """Whether the visit ended long ago. One of no known hour ends with its day, one of no day has ended."""
    _, ends_at = reading.visit_times(booking, terms.zone())
    day = booking.get("scheduledDate")
    if not isinstance(ends_at, datetime):
        if not isinstance(day, datetime):
            return True
        ends_at = day + timedelta(days=1)
    return ends_at.replace(tzinfo=UTC) + REPORTED_WITHIN < datetime.now(UTC)  # as it is shown it has no zone


def _note_own_read(actor: Caller) -> None:
    """The audit of a patient's reading of their own bookings: of all of them at once, as lists show them."""
    own_read_record(actor=actor, object_type="bookings", object_id=str(actor.id), fields=reading.CLINICAL_FIELDS)
