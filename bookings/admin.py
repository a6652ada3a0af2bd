"""Bookings for staff: read, searched, filtered, assigned and cancelled through the API's services, never edited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from booking_service.api.admin_lists import BoundedLists
from booking_service.api.callers import Caller, Role
from booking_service.api.errors import ServiceError
from booking_service.api.serializers import TextField, ValidationError
from booking_service.djongo import readable
from bookings import reading, services, terms, visits
from bookings.exceptions import BookingNotFound
from bookings.lifecycle import Status
from bookings.models import Booking

LISTED = ("service_type", "status", "starts_at", "patient", "service_provider", "payment", "refund", "created_at")
SECTIONS = {
    "visit": ("serviceType", "status", "startsAt", "endsAt", "scheduledDate", "scheduledTime", "statusTimestamps"),
    "place": ("serviceLocation",),
    "people": ("patient", "patientDetails", "serviceProvider"),
    "money": ("pricing", "payment", "refund", "cancellation", "noShow"),
    "told": ("notifications", "rating"),
}
COLOURS = {
    Status.COMPLETED: "success",
    Status.CANCELLED: "danger",
    Status.FAILED: "danger",
    Status.NO_SHOW: "warning",
    Status.REQUESTED: "info",
    Status.SEARCHING: "info",
}


class CancelForm(forms.Form):
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextareaWidget, help_text="The patient reads this.")

    def clean_reason(self) -> str:
        """As the API takes it."""
        try:
            return str(TextField().run_validation(self.cleaned_data["reason"]))
        except ValidationError as refusal:
            raise forms.ValidationError([str(sentence) for sentence in refusal.detail]) from None


class AssignForm(forms.Form):
    provider_id = forms.RegexField(
        r"\A[0-9a-fA-F]{24}\Z",
        label="Provider's id",
        widget=UnfoldAdminTextInputWidget,
        help_text="24 hexadecimal digits, from the main platform.",
        error_messages={"invalid": "This is no id."},
    )


class MoneyFilter(admin.SimpleListFilter):
    """What staff have to settle by hand, or wait for."""

    title, parameter_name = "money", "money"
    CHOICES = {
        "refund": ("Refund needs staff", Q(refund__status="NEEDS_STAFF")),
        "mismatch": ("Paid another amount", Q(payment__needs_staff=True)),
        "refunding": ("Refund on its way", Q(refund__status="REQUESTED")),
        "unpaid": ("Not paid", Q(payment__status__in=["PENDING", "FAILED"])),
        "paid": ("Paid", Q(payment__status="PAID")),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.CHOICES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        choice = self.CHOICES.get(self.value() or "")
        return queryset.filter(choice[1]) if choice else queryset


@admin.register(Booking)
class BookingAdmin(BoundedLists, ModelAdmin):
    """Everything of a booking on one page; what is clinical for those who may see it, audited as it is shown."""

    list_display = ("visit", "status_shown", "starts_at", "patient", "service_provider", "money_shown", "created_at")
    list_filter = ("status", MoneyFilter)
    search_fields = ("_id",)
    search_help_text = "The id of a booking, a patient or a provider, or the name of a service."
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    actions = None
    actions_detail = ("assign", "cancel")
    fields = ("visit", "place", "people", "care", "money", "told", "history")
    readonly_fields = fields

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        return self.fields if _sees_clinical(request) else [name for name in self.fields if name != "care"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Who may assign and cancel: staff with the right to change bookings."""
        return bool(request.user.has_perm("bookings.change_booking"))  # type: ignore[union-attr]

    # --- the list ----------------------------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        found: QuerySet[Booking] = super().get_queryset(request)
        return found.only("_id", *LISTED)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Booking], search_term: str
    ) -> tuple[QuerySet[Booking], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = ObjectId(term)
        except InvalidId:
            return queryset.filter(service_type=term.upper().replace(" ", "_")), False
        found = (queryset.filter(**{whose: wanted}) for whose in ("_id", "patient", "service_provider"))
        return next(filter(QuerySet.exists, found), queryset.none()), False

    @display(description="Status", label=COLOURS)
    def status_shown(self, booking: Booking) -> str:
        return booking.status

    @display(description="Money")
    @readable.or_sign
    def money_shown(self, booking: Booking) -> str:
        if booking.refund and booking.refund.status:
            return f"Refund: {booking.refund.status}"
        return str(booking.payment.status) if booking.payment else "-"

    # --- one booking -------------------------------------------------------------------------------------------------
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What is shown comes from the service, which audits it; a stranger to bookings never gets so far."""
        if self.has_view_permission(request):
            try:
                request.booking = _whole(request, object_id)  # type: ignore[attr-defined]
            except ServiceError as refusal:
                return self._back(request, refusal, reverse("admin:bookings_booking_changelist"))
        return super().change_view(request, object_id, form_url, extra_context)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Booking | None:
        booking: Booking | None = super().get_object(request, object_id, from_field)
        if booking is not None:
            booking.document = getattr(request, "booking", {})
        return booking

    @display(description="Visit")
    def visit(self, booking: Booking) -> SafeString | str:
        return _section(booking, SECTIONS["visit"]) if hasattr(booking, "document") else str(booking.service_type)

    @display(description="Place")
    def place(self, booking: Booking) -> SafeString | str:
        return _section(booking, SECTIONS["place"])

    @display(description="People")
    def people(self, booking: Booking) -> SafeString | str:
        return _section(booking, SECTIONS["people"])

    @display(description="Care")
    def care(self, booking: Booking) -> SafeString | str:
        return _section(booking, reading.clinical_fields_of(booking.document))

    @display(description="Money")
    def money(self, booking: Booking) -> SafeString | str:
        return _section(booking, SECTIONS["money"])

    @display(description="Told")
    def told(self, booking: Booking) -> SafeString | str:
        return _section(booking, SECTIONS["told"])

    @display(description="History")
    def history(self, booking: Booking) -> SafeString | str:
        rows = [
            (
                _text(entry.get("at") or "-"),
                entry.get("from") or "-",
                entry.get("to") or "-",
                entry.get("role") or "-",
                entry.get("reason") or "",
            )
            for entry in booking.document.get("timeline", [])
        ]
        return format_html_join("", "<div>{} <b>{} &rarr; {}</b> {} {}</div>", rows) or "-"

    # --- what staff do -----------------------------------------------------------------------------------------------
    @action(description="Assign a provider", url_path="assign", permissions=["act"])
    def assign(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(form: forms.Form) -> None:
            provider_id = ObjectId(form.cleaned_data["provider_id"])
            visits.booking_assign(actor=_staff(request), booking_id=_id(object_id), provider_id=provider_id)

        explanation = "The provider's time is taken, and the patient is told."
        return self._act(request, object_id, AssignForm, do, title="Assign a provider", explanation=explanation)

    @action(description="Cancel", url_path="cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def do(form: forms.Form) -> None:
            reason = form.cleaned_data["reason"]
            services.booking_cancel(actor=_staff(request), booking_id=_id(object_id), reason=reason)

        try:
            refund = services.cancellation_preview(actor=_staff(request), booking_id=_id(object_id))
        except ServiceError as refusal:
            return self._back(request, refusal, _page_of(object_id))
        explanation = "The visit is called off for good, its time is free again, and the patient is told."
        return self._act(
            request, object_id, CancelForm, do, title="Cancel the visit", explanation=explanation, refund=refund
        )

    def _act(
        self,
        request: HttpRequest,
        object_id: str,
        form_class: type[forms.Form],
        do: Callable[[forms.Form], None],
        **context: Any,
    ) -> HttpResponse:
        """Ask for what the service needs, and do it; a refusal is shown beside the form."""
        form = form_class(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                do(form)
            except ServiceError as refusal:
                form.add_error(None, refusal.message)
            else:
                messages.success(request, "Done.")
                return HttpResponseRedirect(_page_of(object_id))
        page = {**self.admin_site.each_context(request), "form": form, "back": _page_of(object_id), **context}
        return TemplateResponse(request, "bookings/act.html", page)

    def _back(self, request: HttpRequest, refusal: ServiceError, url: str) -> HttpResponse:
        messages.error(request, refusal.message)
        return HttpResponseRedirect(url)


def _staff(request: HttpRequest) -> Caller:
    return Caller(Role.STAFF, ObjectId(str(request.user.pk)), name=request.user.get_username())


def _id(text: str) -> ObjectId:
    """A malformed id is one that no booking has."""
    if not ObjectId.is_valid(text):
        raise BookingNotFound
    return ObjectId(text)


def _page_of(object_id: str) -> str:
    return reverse("admin:bookings_booking_change", args=[object_id])


def _sees_clinical(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("patients.view_clinical"))  # type: ignore[union-attr]


def _whole(request: HttpRequest, object_id: str) -> reading.Document:
    """The booking and its timeline; what is or may be clinical for those alone who have the right to it."""
    if not ObjectId.is_valid(object_id):
        return {}
    actor, booking_id = _staff(request), ObjectId(object_id)
    if _sees_clinical(request):
        return services.booking_open(actor=actor, booking_id=booking_id)
    timeline = services.booking_timeline(actor=actor, booking_id=booking_id)
    return {**services.booking_get(actor=actor, booking_id=booking_id), "timeline": timeline}


def _section(booking: Booking, fields: Iterable[str]) -> SafeString | str:
    document = booking.document
    shown = {field: document[field] for field in fields if field in document}
    return format_html_join("", "<div><b>{}</b>: {}</div>", _lines(shown)) or "-"


def _lines(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A nested document as (dotted path, text) pairs."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _lines(entry, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, entry in enumerate(value, 1):
            yield from _lines(entry, f"{path} {number}")
    elif value not in (None, ""):
        yield path, _text(value)


@readable.or_sign
def _text(value: Any) -> str:
    """Instants on the wall clock of the service's zone; those without a zone are in UTC."""
    if not isinstance(value, datetime):
        return str(value)
    return f"{(value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(terms.zone()):%d %b %Y %H:%M}"
