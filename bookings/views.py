"""The endpoints of bookings: parse, call one service, render. Who may call what is one table."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from django.http import HttpResponse
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from booking_service.api.conditional import check_if_match, etag_for, is_known, not_modified, revalidated
from booking_service.api.envelope import success
from booking_service.api.errors import PreconditionFailed
from booking_service.api.idempotency import idempotent
from booking_service.api.pagination import Page, page_from, pagination
from booking_service.api.schema import documents
from booking_service.api.views import ServiceViewSet
from bookings import availability, moving, openapi, payments, services, visits
from bookings.cancellation import Refund
from bookings.exceptions import (
    AlreadyPaid,
    AlreadyReviewed,
    BookingNotFound,
    InvalidTransition,
    NotCancellable,
    NotEditable,
    NotPayable,
    NotReschedulable,
    NotReviewable,
    PatientOverlap,
    ProviderBusy,
    ProviderNotFit,
    RangeTooLarge,
    RescheduleLimit,
    RescheduleWindow,
    RulesViolated,
    SlotTaken,
    TooEarly,
)
from bookings.lifecycle import Part
from bookings.queries import list_query, slot_city, slot_days
from bookings.reading import Document
from bookings.serializers import (
    AssignInput,
    BookingChanges,
    BookingInput,
    NoShowInput,
    ReasonInput,
    ReportInput,
    RescheduleInput,
    ReviewInput,
    service_report,
)
from patients.authentication import caller
from patients.permissions import (
    IsAdmin,
    IsPatient,
    IsPatientOrAdmin,
    IsPatientProviderOrAdmin,
    IsProvider,
    IsProviderOrAdmin,
)

PATIENT = (IsPatient(),)
PROVIDER = (IsProvider(),)
ADMIN = (IsAdmin(),)
CARE = (IsProviderOrAdmin(),)
OFFICE = (IsPatientOrAdmin(),)
CONCERNED = (IsPatientProviderOrAdmin(),)

# Who may call what. Whose bookings they reach is the services' business: others' are not there for them.
WHO: Mapping[str, tuple[BasePermission, ...]] = {
    "create": PATIENT,
    "list": PATIENT,
    "upcoming": PATIENT,
    "history": PATIENT,
    "assigned": PROVIDER,
    "retrieve": CONCERNED,
    "update": PATIENT,
    "cancel": CONCERNED,
    "cancellation_preview": CONCERNED,
    "reschedule": OFFICE,
    "timeline": CONCERNED,
    "assign": ADMIN,
    "confirm": CARE,
    "decline": CARE,
    "en_route": CARE,
    "start": CARE,
    "complete": CARE,
    "no_show": CARE,
    "review": PATIENT,
    "payment_open": PATIENT,
    "payment": PATIENT,
}


class BookingViewSet(ServiceViewSet):
    """Everything below `/api/bookings`."""

    def get_permissions(self) -> Any:
        return WHO[str(self.action)]

    # --- lists -------------------------------------------------------------------------------------------------------
    @documents(openapi.BOOKINGS, parameters=openapi.FILTERS, paginated=True)
    def list(self, request: Request) -> HttpResponse:
        """Your bookings, newest first unless sorted otherwise."""
        page = page_from(request)
        found, total = services.bookings_own(actor=caller(request), query=list_query(request.query_params), page=page)
        return _page(found, total, page)

    @documents(openapi.BOOKINGS, paginated=True)
    def upcoming(self, request: Request) -> HttpResponse:
        """Your visits to come, soonest first."""
        page = page_from(request)
        return _page(*services.bookings_upcoming(actor=caller(request), page=page), page)

    @documents(openapi.BOOKINGS, paginated=True)
    def history(self, request: Request) -> HttpResponse:
        """Your bookings that have ended, newest first."""
        page = page_from(request)
        return _page(*services.bookings_history(actor=caller(request), page=page), page)

    @documents(openapi.BOOKINGS, parameters=openapi.FILTERS, paginated=True)
    def assigned(self, request: Request) -> HttpResponse:
        """The bookings that are assigned to you, the provider."""
        return self.list(request)

    # --- one booking -------------------------------------------------------------------------------------------------
    @documents(
        openapi.BOOKING,
        body=BookingInput,
        status=201,
        refusals=(SlotTaken, PatientOverlap, RulesViolated),
        example=openapi.booking_example,
    )
    @idempotent
    def create(self, request: Request) -> HttpResponse:
        """Book a visit. A refusal lists all that is wrong."""
        booking = services.booking_create(actor=caller(request), wanted=BookingInput.parse(request.data))
        return _booking(booking, "Booking created.", status=201)

    @documents(openapi.BOOKING)
    def retrieve(self, request: Request, booking_id: str) -> HttpResponse:
        """One booking, with its ETag."""
        booking = services.booking_get(actor=caller(request), booking_id=_id(booking_id))
        tag = etag_for(booking["version"])
        return not_modified(tag) if is_known(request, tag) else success(booking, headers={"ETag": tag})

    @documents(
        openapi.BOOKING,
        body=BookingChanges,
        parameters=openapi.IF_MATCH,
        refusals=(PreconditionFailed, NotEditable, SlotTaken, PatientOverlap, RulesViolated),
        example={"specialRequirements": "The lift is out of order."},
    )
    def update(self, request: Request, booking_id: str) -> HttpResponse:
        """Change a booking while no provider has it; a new time runs the rules of a reschedule."""
        booking = moving.booking_update(
            actor=caller(request),
            booking_id=_id(booking_id),
            changes=BookingChanges.parse(request.data),
            check_version=lambda version: check_if_match(request, etag_for(version)),
        )
        return _booking(booking, "Booking updated.")

    @documents(openapi.CANCELLED, body=ReasonInput, refusals=(NotCancellable,), example={"reason": "I feel better."})
    @idempotent
    def cancel(self, request: Request, booking_id: str) -> HttpResponse:
        """Cancel a booking; the answer says what is refunded."""
        booking, refund = services.booking_cancel(
            actor=caller(request), booking_id=_id(booking_id), reason=_reason(request)
        )
        answer = {"booking": booking, "refundDetails": _refund(refund)}
        return success(answer, message="Booking cancelled.", headers={"ETag": etag_for(booking["version"])})

    @documents(openapi.REFUND, refusals=(NotCancellable,))
    def cancellation_preview(self, request: Request, booking_id: str) -> HttpResponse:
        """What a cancellation now would refund."""
        return success(_refund(services.cancellation_preview(actor=caller(request), booking_id=_id(booking_id))))

    @documents(
        openapi.BOOKING,
        body=RescheduleInput,
        refusals=(NotReschedulable, SlotTaken, PatientOverlap, RescheduleWindow, RescheduleLimit, RulesViolated),
        example=openapi.reschedule_example,
    )
    @idempotent
    def reschedule(self, request: Request, booking_id: str) -> HttpResponse:
        """Move a visit; the new slot is claimed before the old one is freed."""
        asked = RescheduleInput.parse(request.data)
        booking = moving.booking_reschedule(
            actor=caller(request),
            booking_id=_id(booking_id),
            starts_at=asked["startsAt"],
            reason=asked.get("reason", ""),
            told_time=asked.get("scheduledTime"),
        )
        return _booking(booking, "Booking rescheduled.")

    @documents(openapi.TIMELINE)
    def timeline(self, request: Request, booking_id: str) -> HttpResponse:
        """Every change of the booking's status: from, to, who, when and why."""
        return success(services.booking_timeline(actor=caller(request), booking_id=_id(booking_id)))

    @documents(
        openapi.BOOKING,
        body=ReviewInput,
        status=201,
        refusals=(NotReviewable, AlreadyReviewed),
        example={"stars": 5, "review": "Gentle and on time."},
    )
    def review(self, request: Request, booking_id: str) -> HttpResponse:
        """Review a completed visit, once."""
        rating = ReviewInput.parse(request.data)
        booking = services.booking_review(actor=caller(request), booking_id=_id(booking_id), rating=rating)
        return _booking(booking, "Thank you for your review.", status=201)

    # --- the visit ---------------------------------------------------------------------------------------------------
    @documents(openapi.BOOKING, body=AssignInput, refusals=(InvalidTransition, ProviderBusy, ProviderNotFit))
    def assign(self, request: Request, booking_id: str) -> HttpResponse:
        """Assign a provider who is fit for the service and free at that time."""
        provider_id = AssignInput.parse(request.data)["providerId"]
        booking = visits.booking_assign(actor=caller(request), booking_id=_id(booking_id), provider_id=provider_id)
        return _booking(booking, "Provider assigned.")

    @documents(openapi.BOOKING, body=ReasonInput, refusals=(InvalidTransition,))
    def confirm(self, request: Request, booking_id: str) -> HttpResponse:
        """Confirm the visit that is assigned to you."""
        booking = visits.booking_confirm(actor=caller(request), booking_id=_id(booking_id), reason=_reason(request))
        return _booking(booking, "Visit confirmed.")

    @documents(openapi.BOOKING, body=ReasonInput, refusals=(InvalidTransition,))
    def decline(self, request: Request, booking_id: str) -> HttpResponse:
        """Give the visit back; another provider is searched."""
        booking = visits.booking_decline(actor=caller(request), booking_id=_id(booking_id), reason=_reason(request))
        return _booking(booking, "Visit declined.")

    @documents(openapi.BOOKING, body=ReasonInput, refusals=(InvalidTransition, TooEarly))
    def en_route(self, request: Request, booking_id: str) -> HttpResponse:
        """Say that you are on the way."""
        booking = visits.booking_en_route(actor=caller(request), booking_id=_id(booking_id), reason=_reason(request))
        return _booking(booking, "On the way.")

    @documents(openapi.BOOKING, body=ReasonInput, refusals=(InvalidTransition, TooEarly))
    def start(self, request: Request, booking_id: str) -> HttpResponse:
        """Start the visit."""
        booking = visits.booking_start(actor=caller(request), booking_id=_id(booking_id), reason=_reason(request))
        return _booking(booking, "Visit started.")

    @documents(
        openapi.BOOKING,
        body=ReportInput,
        refusals=(InvalidTransition, TooEarly),
        example={"observations": "The wound heals well."},
    )
    def complete(self, request: Request, booking_id: str) -> HttpResponse:
        """Complete the visit, with its report."""
        report = service_report(request.data)
        booking = visits.booking_complete(actor=caller(request), booking_id=_id(booking_id), report=report)
        return _booking(booking, "Visit completed.")

    @documents(openapi.BOOKING, body=NoShowInput, refusals=(InvalidTransition, TooEarly))
    def no_show(self, request: Request, booking_id: str) -> HttpResponse:
        """Record that somebody was not there."""
        asked = NoShowInput.parse(request.data)
        booking = visits.booking_no_show(
            actor=caller(request),
            booking_id=_id(booking_id),
            absent_party=Part(asked["absentParty"]) if "absentParty" in asked else None,
            reason=asked.get("reason", ""),
        )
        return _booking(booking, "No-show recorded.")

    # --- payment -----------------------------------------------------------------------------------------------------
    @documents(openapi.PAYMENT, status=(200, 201), refusals=(AlreadyPaid, NotPayable))
    @idempotent(transactional=False)
    def payment_open(self, request: Request, booking_id: str) -> HttpResponse:
        """Open a payment order, or return the one that is still open."""
        order, is_new = payments.payment_open(actor=caller(request), booking_id=_id(booking_id))
        return success(order, status=201 if is_new else 200)

    @documents(openapi.PAYMENT)
    def payment(self, request: Request, booking_id: str) -> HttpResponse:
        """How the booking's payment stands."""
        return success(payments.payment_get(actor=caller(request), booking_id=_id(booking_id)))


class SlotViewSet(ServiceViewSet):
    """`/api/services/:idOrSlug/slots`: public, and here because this app owns the claims."""

    authentication_classes = ()

    @documents(openapi.SLOTS, parameters=openapi.SLOT_RANGE, counted=True, conditional=True, refusals=(RangeTooLarge,))
    def slots(self, request: Request, id_or_slug: str) -> HttpResponse:
        """The slots of a service, each with its price; an empty answer says why."""
        days = slot_days(request.query_params, availability.today())
        offer = availability.slots_offered(id_or_slug=id_or_slug, days=days, city=slot_city(request.query_params))
        reason = {"reason": offer.reason.value} if offer.reason else {}
        return revalidated(request, success({"slots": offer.slots, **reason}, count=len(offer.slots)))


def _id(text: str) -> ObjectId:
    """A malformed id is one that no booking has."""
    try:
        return ObjectId(text)
    except InvalidId:
        raise BookingNotFound from None


def _reason(request: Request) -> str:
    """What people say of why they do it, if they do."""
    return str(ReasonInput.parse(request.data).get("reason", ""))


def _booking(booking: Document, message: str, status: int = 200) -> HttpResponse:
    return success(booking, message=message, status=status, headers={"ETag": etag_for(booking["version"])})


def _page(found: list[Document], total: int, page: Page) -> HttpResponse:
    return success(found, pagination=pagination(page, total))


def _refund(refund: Refund) -> Document:
    return {
        "refundAmount": refund.refund_amount,
        "cancellationFee": refund.cancellation_fee,
        "refundEligible": refund.refund_eligible,
    }
