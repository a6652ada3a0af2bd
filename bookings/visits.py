"""What providers and admins do with a visit: who makes it, and how it goes."""

from collections.abc import Mapping
from datetime import datetime

from bson import ObjectId

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.main_api import Provider, SkillLevel
from bookings import changing, disclosure, lifecycle, moving, reading, services, signals, slot_guard, terms
from bookings.cancellation import CancelledBy
from bookings.changing import booking_of, deciding_on_what_is, moment
from bookings.exceptions import ProviderNotFit
from bookings.lifecycle import Part, Status
from bookings.reading import Document
from bookings.signals import NotificationKind
from catalog.terms import CatalogService
from patients.audit import Access

ROLE_FOR = {"NURSING": Role.NURSE, "PHYSIOTHERAPY": Role.PHYSIOTHERAPIST}
_SKILLS = tuple(SkillLevel)


def booking_assign(*, actor: Caller, booking_id: ObjectId, provider_id: ObjectId) -> Document:
    """Give the visit to a provider: their time is claimed with it; the booking as it is shown.

    Raises:
        BookingNotFound, InvalidTransition, ProviderNotFound, ProviderNotFit, ProviderBusy; ProviderDirectoryDown while
        the main API cannot be asked. Then nothing changed.
    """
    booking = booking_of(actor, booking_id)
    changing.check_transition(booking, Status.ASSIGNED, actor)
    service = terms.service_named(booking["serviceType"])
    # Asked before the transaction: none is held open while another service thinks.
    check_fitness(main_api.provider_get(provider_id, allow_stale=False), service)
    return _assign(actor=actor, booking_id=booking_id, provider_id=provider_id, service=service)


@deciding_on_what_is
def _assign(*, actor: Caller, booking_id: ObjectId, provider_id: ObjectId, service: CatalogService) -> Document:
    booking = booking_of(actor, booking_id)
    changing.check_transition(booking, Status.ASSIGNED, actor)
    return disclosure.answered(actor, _assigned, booking, actor, provider_id, service)


def _assigned(booking: Document, actor: Caller, provider_id: ObjectId, service: CatalogService) -> Document:
    fields = _fields_for(booking, provider_id, service)
    changed = changing.transition(booking, Status.ASSIGNED, actor=actor, now=moment(), fields=fields)
    slot_guard.exchange(booking, changed)
    signals.booking_assigned.send(
        sender=None,
        booking=changed,
        version=changed["version"],
        provider_id=provider_id,
        notification=NotificationKind.ASSIGNMENT,
    )
    return changed


def _fields_for(booking: Document, provider_id: ObjectId, service: CatalogService) -> Document:
    """The fields of a booking with that provider, and the claims for it; old documents get their instants with it."""
    starts_at, ends_at = reading.visit_times(booking, terms.zone())
    fields: Document = {"serviceProvider": provider_id}
    if starts_at is None or ends_at is None:
        return fields  # a time that nobody can read cannot be claimed either
    fields |= {"startsAt": starts_at, "endsAt": ends_at}
    visit = {**booking, **fields}
    need = terms.need_of(visit, service, person=moving.person_of(booking), before=visit)
    fields["claims"] = slot_guard.runs(slot_guard.needed(booking["_id"], need, slot_guard.claims_of(booking)))
    return fields


def check_fitness(provider: Provider, service: CatalogService) -> None:
    """Raises ProviderNotFit unless the provider is active, of the category's profession, and skilled enough."""
    if not provider.is_active or provider.role not in (Role.NURSE, Role.PHYSIOTHERAPIST):
        raise ProviderNotFit
    if profession_for(service) not in (None, provider.role):
        raise ProviderNotFit
    if provider.categories and service.category in ROLE_FOR and service.category not in provider.categories:
        raise ProviderNotFit
    if provider.skill_level is not None and not _is_skilled(provider.skill_level, service.skill_level):
        raise ProviderNotFit


def profession_for(service: CatalogService) -> Role | None:
    """Who may make the visit. Packages are of either profession: those of physiotherapy are named so."""
    if service.category in ROLE_FOR:
        return ROLE_FOR[service.category]
    return Role.PHYSIOTHERAPIST if "PHYSIO" in service.name else Role.NURSE


def _is_skilled(level: SkillLevel, needed: str) -> bool:
    return needed not in _SKILLS or _SKILLS.index(level) >= _SKILLS.index(SkillLevel(needed))


@deciding_on_what_is
def booking_confirm(*, actor: Caller, booking_id: ObjectId, reason: str = "") -> Document:
    """The provider will come. Raises BookingNotFound, InvalidTransition."""
    booking = booking_of(actor, booking_id)

    def write() -> Document:
        changed = changing.transition(booking, Status.CONFIRMED, actor=actor, now=moment(), reason=reason)
        signals.booking_confirmed.send(sender=None, booking=changed, version=changed["version"], notification=None)
        return changed

    return disclosure.answered(actor, write)


@deciding_on_what_is
def booking_decline(*, actor: Caller, booking_id: ObjectId, reason: str = "") -> Document:
    """The provider will not come: their time is free again, somebody else is searched. Raises as confirming does."""
    booking = booking_of(actor, booking_id)
    claims = slot_guard.claims_of(booking)
    theirs = slot_guard.of_provider(claims)

    def write() -> Document:
        changed = changing.transition(
            booking,
            Status.SEARCHING,
            actor=actor,
            now=moment(),
            reason=reason,
            fields={"claims": slot_guard.runs(set(claims) - set(theirs))},
            removed=("serviceProvider",),
        )
        slot_guard.give_back(booking["_id"], theirs)
        return changed

    return disclosure.answered(actor, write)


@deciding_on_what_is
def booking_en_route(*, actor: Caller, booking_id: ObjectId, reason: str = "") -> Document:
    """The provider is on the way. Raises BookingNotFound, InvalidTransition, TooEarly."""
    booking = booking_of(actor, booking_id)
    now = moment()
    return disclosure.answered(
        actor, changing.transition, booking, Status.EN_ROUTE, actor=actor, now=now, reason=reason
    )


@deciding_on_what_is
def booking_start(*, actor: Caller, booking_id: ObjectId, reason: str = "") -> Document:
    """The visit begins. Raises BookingNotFound, InvalidTransition, TooEarly."""
    booking = booking_of(actor, booking_id)
    now = moment()

    def write() -> Document:
        fields = {"actualService.startTime": now}
        disclosure.audit(actor, Access.WRITE, booking, ["actualService"])
        return changing.transition(booking, Status.IN_PROGRESS, actor=actor, now=now, reason=reason, fields=fields)

    return disclosure.answered(actor, write)


@deciding_on_what_is
def booking_complete(*, actor: Caller, booking_id: ObjectId, report: Document) -> Document:
    """The visit took place; `report` is what was found and done.

    The report is clinical: writing it is audited, and it never leaves in an event.

    Raises:
        BookingNotFound, InvalidTransition, TooEarly.
    """
    booking = booking_of(actor, booking_id)
    now = moment()
    fields = _service_given(booking, report, now)

    def write() -> Document:
        changed = changing.transition(booking, Status.COMPLETED, actor=actor, now=now, fields=fields)
        disclosure.audit(actor, Access.WRITE, changed, sorted(report) or ["actualService"])
        signals.booking_completed.send(sender=None, booking=changed, version=changed["version"], notification=None)
        return changed

    return disclosure.answered(actor, write)


def _service_given(booking: Mapping[str, object], report: Document, now: datetime) -> Document:
    fields: Document = {"actualService.endTime": now, "actualService.serviceReport": report}
    started = booking.get("actualService")
    if isinstance(started, dict) and isinstance(started.get("startTime"), datetime):
        fields["actualService.duration"] = round((now - started["startTime"]).total_seconds() / 60)
    return fields


@deciding_on_what_is
def booking_no_show(
    *, actor: Caller, booking_id: ObjectId, absent_party: Part | None = None, reason: str = ""
) -> Document:
    """Somebody was not there: `absent_party`, or whoever is not telling. A provider's absence gives everything back.

    Raises:
        BookingNotFound, InvalidTransition; TooEarly when a provider says it before the visit's start.
    """
    booking = booking_of(actor, booking_id)
    absent = absent_party or (Part.PATIENT if lifecycle.part_of(actor) is Part.PROVIDER else Part.PROVIDER)
    return disclosure.answered(actor, _not_shown, booking, actor, absent, reason)


def _not_shown(booking: Document, actor: Caller, absent: Part, reason: str) -> Document:
    now = moment()
    amount, cause = reading.paid_amount(booking) if absent is Part.PROVIDER else reading.NOTHING, "PROVIDER_NO_SHOW"
    fields = {"noShow": {"absentParty": absent.value, "reason": reason, "at": now}}
    changed = changing.transition(
        booking,
        Status.NO_SHOW,
        actor=actor,
        now=now,
        reason=reason,
        fields={**fields, **services.refund_fields(amount, cause, now)},
    )
    signals.booking_no_show.send(
        sender=None, booking=changed, version=changed["version"], absent_party=absent.value, notification=None
    )
    services.announce_refund(changed, amount, cause)
    return changed


@deciding_on_what_is
def booking_search(*, actor: Caller, booking_id: ObjectId, reason: str = "") -> Document:
    """Begin to look for a provider. Raises BookingNotFound, InvalidTransition."""
    booking = booking_of(actor, booking_id)
    now = moment()
    return disclosure.answered(
        actor, changing.transition, booking, Status.SEARCHING, actor=actor, now=now, reason=reason
    )


@deciding_on_what_is
def booking_fail(*, actor: Caller, booking_id: ObjectId, reason: str) -> Document:
    """Nobody was found in time: the visit will not take place, everything paid goes back.

    A booking that nobody had begun to search for is led through SEARCHING: the table knows no shorter way.

    Raises:
        BookingNotFound, InvalidTransition.
    """
    booking = booking_of(actor, booking_id)
    return disclosure.answered(actor, _failed, booking, actor, reason)


def _failed(booking: Document, actor: Caller, reason: str) -> Document:
    now = moment()
    if booking["status"] == Status.REQUESTED:
        booking = changing.transition(booking, Status.SEARCHING, actor=actor, now=now, reason=reason)
    amount, cause = reading.paid_amount(booking), "NO_PROVIDER_FOUND"
    fields = services.refund_fields(amount, cause, now)
    changed = changing.transition(booking, Status.FAILED, actor=actor, now=now, reason=reason, fields=fields)
    services.announce_cancellation(changed, CancelledBy(lifecycle.part_of(actor)), cause, amount)
    services.announce_refund(changed, amount, cause)
    return changed
