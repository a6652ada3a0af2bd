"""Patients and the audit for staff: mostly to read, changed through the services, looks at clinical data on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from typing import Any, cast

from bson import ObjectId
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminDateWidget

from booking_service.api.admin_forms import RemembersShown, StoresWhatWasCompared
from booking_service.api.admin_lists import BoundedList, BoundedLists
from booking_service.api.callers import Caller, Role
from booking_service.api.errors import ServiceError
from patients import services
from patients.audit import Access, clinical_access_record
from patients.contact import contact_errors
from patients.models import ClinicalAccess, Patient

CONTACT = ("name", "email", "phone", "date_of_birth", "gender")
STATE = (
    "is_active",
    "phone_verified",
    "email_verified",
    "referral_code",
    "total_bookings",
    "total_spent",
    "last_active",
    "created_at",
    "updated_at",
)
CLINICAL = ("blood_group", "clinical_history", "insured_with")


def staff_caller(request: HttpRequest) -> Caller:
    """The staff user as services know them."""
    return Caller(Role.STAFF, ObjectId(str(request.user.pk)), name=request.user.get_username())


def lines(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A nested document as (dotted path, text) pairs."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key != "_id":
                yield from lines(entry, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, entry in enumerate(value, 1):
            yield from lines(entry, f"{path} {number}")
    elif value not in (None, ""):
        yield path, str(value)


def shown(value: Any) -> SafeString | str:
    """A nested document for people to read."""
    return format_html_join("", "<div><b>{}</b>: {}</div>", lines(value)) or "-"


def as_document(embedded: Any) -> Any:
    """An embedded model, or a list of them, by its document's names."""
    if isinstance(embedded, list):
        return [as_document(entry) for entry in embedded]
    if not hasattr(embedded, "_meta"):
        return embedded
    return {field.column: as_document(getattr(embedded, field.attname)) for field in embedded._meta.fields}


class DayField(forms.DateField):
    """A calendar day, kept as midnight UTC, as the API keeps it."""

    def prepare_value(self, value: Any) -> Any:
        return value.date() if isinstance(value, datetime) else value

    def to_python(self, value: Any) -> Any:
        day = super().to_python(value)
        return day and datetime.combine(day, time.min, UTC)


class ContactForm(RemembersShown, forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """What staff correct, under the rules of the API. What they leave as it was is left alone, however old it is.

    "As it was" is as the page showed it, which the page itself keeps: the document may have moved on since. Only a day
    that is none has to be corrected, or cleared, before anything is saved.
    """

    date_of_birth = DayField(required=False, widget=UnfoldAdminDateWidget)

    def changes(self) -> dict[str, Any]:
        """The changed values by the document's field names."""
        names = [name for name in self.changed_data if name in self.cleaned_data]
        return {Patient._meta.get_field(name).column: self.cleaned_data[name] for name in names}

    def clean(self) -> Any:
        cleaned = super().clean()
        names = {field.column: field.name for field in Patient._meta.fields}
        for error in contact_errors(self.changes()):
            self.add_error(names[error.field], error.message)
        return cleaned


class RefusalsAsMessages:
    """A service's refusal becomes a message on the page it came from, never an error page."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]
        except ServiceError as refusal:
            messages.error(request, refusal.message)
            return HttpResponseRedirect(request.get_full_path())


class PatientList(BoundedList):
    """Reads what it shows and nothing else of a patient."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Patient]:
        found: QuerySet[Patient] = super().get_queryset(request, exclude_parameters)
        return found.only(*PatientAdmin.list_display)


@admin.register(Patient)
class PatientAdmin(BoundedLists, RefusalsAsMessages, StoresWhatWasCompared, ModelAdmin):
    """Looked up by exactly what one knows of a patient: anything vaguer would read the whole collection."""

    list_display = ("name", "email", "phone", "is_active", "created_at")
    list_per_page = 25
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    search_fields = ("email",)
    search_help_text = "The whole email address, phone number, referral code or id."
    actions = ("deactivate", "reactivate")
    form = ContactForm
    readonly_fields = (*STATE, *CLINICAL, "saved_places", "emergency")

    def get_fieldsets(self, request: HttpRequest, obj: Patient | None = None) -> Any:
        sets = [
            ("Contact", {"fields": (*CONTACT, "saved_places", "emergency")}),
            ("Account", {"fields": STATE}),
        ]
        return [*sets, ("Clinical", {"fields": CLINICAL})] if sees_clinical(request) else sets

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedList]:
        return PatientList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Patient], search_term: str
    ) -> tuple[QuerySet[Patient], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if ObjectId.is_valid(term):
            return queryset.filter(_id=ObjectId(term)), False
        if "@" in term:
            return queryset.filter(email_lower=term.lower()), False
        key = "phone" if term.isdecimal() else "referral_code"
        return queryset.filter(**{key: term}), False

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """However the page came to be shown, to look at it or with what is wrong in a form: the look is on record."""
        patient = kwargs.get("obj")
        if patient is not None and sees_clinical(request):
            clinical_access_record(
                actor=staff_caller(request),
                action=Access.READ,
                object_type="patient",
                object_id=patient._id,
                fields=services.CLINICAL_FIELDS,
            )
        return super().render_change_form(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Patient, form: Any, change: bool) -> None:
        """Stores what was changed in the form and nothing else: the rest of the document may have moved on."""
        if changes := form.changes():
            services.patient_update(actor=staff_caller(request), patient_id=obj._id, changes=changes)

    @admin.action(description="Deactivate: end all access", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Patient]) -> None:
        for patient in queryset:
            services.patient_deactivate(actor=staff_caller(request), patient_id=patient._id)
            self.log_change(request, patient, "Account closed.")

    @admin.action(description="Reactivate", permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Patient]) -> None:
        for patient in queryset:
            services.patient_reactivate(actor=staff_caller(request), patient_id=patient._id)
            self.log_change(request, patient, "Account opened again.")

    @admin.display(description="addresses")
    def saved_places(self, patient: Patient) -> SafeString | str:
        return shown(as_document(patient.saved_addresses))

    @admin.display(description="emergency contact")
    def emergency(self, patient: Patient) -> SafeString | str:
        return shown(as_document(patient.emergency_contact))

    @admin.display(description="medical history")
    def clinical_history(self, patient: Patient) -> SafeString | str:
        return shown(as_document(patient.medical_history))

    @admin.display(description="insurance")
    def insured_with(self, patient: Patient) -> SafeString | str:
        return shown(as_document(patient.insurance))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Patient | None = None) -> bool:
        return False


@admin.register(ClinicalAccess)
class ClinicalAccessAdmin(BoundedLists, ModelAdmin):
    """The audit: to be read, by whoever may."""

    list_display = ("at", "actor_role", "actor_id", "actor_name", "action", "object_type", "object_id", "request_id")
    list_filter = ("action", "actor_role")
    ordering = ("-at",)
    sortable_by = ("at",)
    search_fields = ("object_id",)
    search_help_text = "The id of the patient, booking or caller."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ClinicalAccess], search_term: str
    ) -> tuple[QuerySet[ClinicalAccess], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if not ObjectId.is_valid(term):
            return queryset.none(), False
        return queryset.filter(Q(object_id=term) | Q(actor_id=ObjectId(term))), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ClinicalAccess | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ClinicalAccess | None = None) -> bool:
        return False


def sees_clinical(request: HttpRequest) -> bool:
    """Whether the staff user has the right to clinical data."""
    return cast(User, request.user).has_perm("patients.view_clinical")
