"""The catalog as staff keep it. Every save goes through `catalog.services`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from booking_service.api.admin_lists import BoundedLists
from booking_service.api.callers import Caller, Role
from booking_service.api.errors import ServiceError
from booking_service.djongo import readable
from catalog import repositories, search, services
from catalog.forms import (
    EMBEDDED,
    CityForm,
    CityFormSet,
    PlaceForm,
    PlaceFormSet,
    QuestionForm,
    QuestionFormSet,
    RowForm,
    RowFormSet,
    ServiceForm,
    SurgeWindowForm,
    SurgeWindowFormSet,
    complete,
    document_path,
    value_at,
    without_idle_parts,
)
from catalog.models import Availability, FrequentQuestion, Service, ServiceChange, SurgeWindow
from catalog.preview import PricePreviewForm


def caller_of(request: HttpRequest) -> Caller:
    """The member of staff as the actor of a service call."""
    return Caller(Role.STAFF, id=request.user.pk, name=request.user.get_username())


def may(request: HttpRequest, permission: str) -> bool:
    return isinstance(request.user, User) and request.user.has_perm(permission)


MOST_ROWS = 100


class RowsInline:
    """Rows that are part of the service's document: who may change the service may change them."""

    extra = 0
    can_delete = True
    form: type[RowForm]
    formset: type[RowFormSet]
    hide_title = True
    checks_class = admin.checks.BaseModelAdminChecks  # they are no related records, which is all that is checked more

    def get_queryset(self, request: HttpRequest) -> list[Any]:
        return []

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        may_change = self.has_change_permission(request, obj)
        made = forms.formset_factory(
            self.form, formset=self.formset, extra=0, can_delete=may_change, max_num=MOST_ROWS, validate_max=True
        )
        made.form = self.form if may_change else read_only(self.form)
        return made

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "catalog.view_service")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "catalog.change_service" if obj else "catalog.add_service")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    has_delete_permission = has_change_permission


def labelled(changes: list[dict[str, str]]) -> list[dict[str, str]]:
    """The changes of a service with the labels that its form has for the fields."""
    return [part | {"label": LABELS.get(part["field"], part["field"])} for part in changes]


def read_only(form: type[RowForm]) -> type[RowForm]:
    """The form with every field shown but not editable."""

    class ReadOnlyForm(form):  # type: ignore[misc,valid-type]  # a class made of a class
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for field in self.fields.values():
                field.disabled = True

    return ReadOnlyForm


class SurgeWindowInline(RowsInline, TabularInline):
    model, form, formset = SurgeWindow, SurgeWindowForm, SurgeWindowFormSet
    verbose_name, verbose_name_plural = "surge window", "Surge windows, local time (until earlier than from: next day)"
    template_after = "catalog/price_preview.html"


class QuestionInline(RowsInline, TabularInline):
    model, form, formset = FrequentQuestion, QuestionForm, QuestionFormSet
    verbose_name, verbose_name_plural = "question", "Questions patients ask"


class CityInline(RowsInline, TabularInline):
    model, form, formset = Availability, CityForm, CityFormSet
    verbose_name, verbose_name_plural = "city", "Cities (none: everywhere)"


class ActiveFilter(admin.SimpleListFilter):
    title, parameter_name = "active", "active"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Active"), ("no", "Not active")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(availability__is_active=self.value() == "yes")


class CityFilter(admin.SimpleListFilter):
    title, parameter_name = "city", "city"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(city, city) for city in repositories.cities()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        city = self.value()
        return queryset.filter(pk__in=repositories.ids_in_city(city)) if city else queryset


class FoundByText:
    """The search box finds services as the API's search does, those that are not active included."""

    search_fields = ("name",)  # shows the box
    search_help_text = "Name, description, keywords"
    service_field = "pk"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = search_term.strip()[: search.LONGEST_QUERY]
        if wanted:
            queryset = queryset.filter(**{f"{self.service_field}__in": services.service_ids_matching(wanted)})
        return queryset, False


@admin.register(Service)
class ServiceAdmin(BoundedLists, FoundByText, ModelAdmin):
    form = ServiceForm
    inlines = (SurgeWindowInline, CityInline, QuestionInline)
    list_display = (
        "shown_name",
        "category",
        "shown_price",
        "shown_minutes",
        "shown_active",
        "shown_under",
        "shown_bookings",
    )
    list_filter = ("category", ActiveFilter, CityFilter, "is_featured", "is_popular")
    ordering = ("sort_order",)
    sortable_by = ("shown_name", "category")
    ordering_field, hide_ordering_field = "sort_order", True
    warn_unsaved_form = True
    compressed_fields = False
    actions = ("activate", "deactivate")
    actions_detail = ("copy",)
    prepopulated_fields = {"slug": ("display_name",)}
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("display_name", "name"),
                    ("category", "slug"),
                    "short_description",
                    "long_description",
                    ("is_active", "is_featured", "is_popular"),
                )
            },
        ),
        (
            "Price",
            {
                "fields": (
                    ("base_price", "surge_enabled", "surge_multiplier"),
                    ("package_sessions", "package_days", "package_price"),
                    "version",
                ),
                "description": "Sessions, days and price of the package are for services of the category Package only.",
            },
        ),
        (
            "Visit",
            {
                "classes": ("tab",),
                "fields": (
                    ("duration", "skill_level", "capacity_per_slot"),
                    ("opens", "closes"),
                    ("days", "closed_dates"),
                ),
            },
        ),
        (
            "Who may book",
            {
                "classes": ("tab",),
                "fields": (
                    ("prescription_required", "advance_booking_hours"),
                    ("min_age", "max_age"),
                    "contraindications",
                ),
            },
        ),
        (
            "For patients",
            {
                "classes": ("tab",),
                "fields": (("included", "not_included"), ("before_service", "during_service", "after_service")),
            },
        ),
        (
            "For providers",
            {
                "classes": ("tab",),
                "fields": (
                    "provider_instructions",
                    ("equipment_required", "supplies_needed", "certification_required"),
                ),
            },
        ),
        (
            "Lists and search engines",
            {"classes": ("tab",), "fields": (("sort_order", "meta_title"), ("keywords", "meta_description"))},
        ),
    )

    class Media:
        js = ("catalog/price_preview.js", "catalog/row_order.js")

    # --- the list
    @display(description="Service", header=True, ordering="display_name")
    def shown_name(self, service: Service) -> list[str]:
        return [service.display_name, service.name]

    @display(description="Price")
    @readable.or_sign
    def shown_price(self, service: Service) -> str:
        pricing = complete(service).pricing
        details, surge = pricing.package_details, pricing.surge_pricing
        price = details.total_price if details else pricing.base_price
        if price is None:
            return "None"  # an import may have brought that
        return f"₹ {price:,.0f}" + (f", surge {surge.multiplier.normalize():f}" if surge and surge.enabled else "")

    @display(description="Minutes")
    def shown_minutes(self, service: Service) -> Any:
        return value_at(service, "service_details.duration")

    @display(description="Active", boolean=True)
    def shown_active(self, service: Service) -> Any:
        return value_at(service, "availability.is_active")

    @display(description="Also under", empty_value="")
    def shown_under(self, service: Service) -> str | None:
        marks = {"Featured": service.is_featured, "Popular": service.is_popular}
        return ", ".join(name for name, is_set in marks.items() if is_set) or None

    @display(description="Bookings")
    def shown_bookings(self, service: Service) -> Any:
        return value_at(service, "stats.total_bookings") or 0

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return PlaceForm

    def get_changelist_formset(self, request: HttpRequest, **kwargs: Any) -> Any:
        return super().get_changelist_formset(request, formset=PlaceFormSet, **kwargs)

    # --- saving
    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        show = super().changeform_view
        try:
            return show(request, object_id, form_url, extra_context)
        except ServiceError:  # a race lost after the form had looked: now it sees what happened, and keeps the entries
            return show(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Service, form: Any, change: bool) -> None:
        actor = caller_of(request)
        if isinstance(form, PlaceForm):
            if form.moves:
                services.services_reorder(actor=actor, orders=form.moves)
            return
        document = repositories.document_of(without_idle_parts(obj))
        if change:
            version = form.cleaned_data["version"] or 0
            services.service_update(actor=actor, service_id=obj.pk, version=version, document=document)
        else:
            obj.pk = services.service_create(actor=actor, document=document)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """The rows were saved with the service."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # bookings name it for ever: services are switched off instead

    # --- actions
    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = services.services_activate(actor=caller_of(request), service_ids=[service.pk for service in queryset])
        messages.success(request, f"{count} activated. Patients see them now.")

    @admin.action(description="Deactivate", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = services.services_deactivate(actor=caller_of(request), service_ids=[service.pk for service in queryset])
        messages.success(request, f"{count} deactivated. Patients no longer see them.")

    @action(description="Copy", url_path="copy", permissions=["copy"], icon="content_copy")
    def copy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first: what a link leads to changes nothing."""
        service = self.get_object(request, object_id)
        if service is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if request.method == "POST":
            return redirect(reverse("admin:catalog_service_change", args=[_copied(request, service.pk)]))
        title = f"Copy {service}?"
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "object": service}
        return TemplateResponse(request, "catalog/copy_service.html", context)

    def has_copy_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_add_permission(request)

    # --- other pages
    def get_custom_urls(self) -> tuple[Any, ...]:
        return (("price-preview/", "catalog_service_price_preview", self.price_preview_view),)

    def price_preview_view(self, request: HttpRequest, **_: Any) -> JsonResponse:
        """What a patient would pay, from the fields of the form that is being filled in."""
        if not may(request, "catalog.view_service"):
            return JsonResponse({}, status=403)
        form = PricePreviewForm(request.POST)
        if not form.is_valid():
            return JsonResponse({"prices": []})
        now = datetime.now(ZoneInfo(settings.SERVICE_TIME_ZONE)).replace(tzinfo=None)
        return JsonResponse({"prices": form.prices(now)})

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Who changed which field, and when."""
        service = self.get_object(request, object_id)
        if service is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_or_change_permission(request, service):
            return HttpResponse(status=403)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {service}",
            "opts": self.opts,
            "object": service,
            "changes": [
                change | {"changes": labelled(change["changes"])} for change in services.service_history(service.pk)
            ],
        }
        return TemplateResponse(request, "catalog/service_history.html", context)


def _copied(request: HttpRequest, service_id: ObjectId) -> ObjectId:
    """The copy; the original, with a message, when it cannot be copied."""
    try:
        copied = services.service_copy(actor=caller_of(request), service_id=service_id)
    except ServiceError as refusal:
        reasons = [f"{LABELS.get(fault.field, fault.field)}: {fault.message}" for fault in refusal.errors]
        messages.error(request, " ".join([refusal.message, *reasons]))
        return service_id
    messages.success(request, "This is the copy. It is not active yet.")
    return copied


def _shown(name: str, path: str) -> Callable[[Any, Service], Any]:
    """How those who may only look see a field that is the form's own."""
    field = ServiceForm.base_fields[name]
    labels = dict(getattr(field, "choices", ()))
    nothing = NOTHING_MEANS.get(name)

    def value(_admin: ServiceAdmin, service: Service) -> Any:
        found = value_at(service, path)
        if isinstance(found, list):
            return "\n".join(str(labels.get(item, item)) for item in found) or nothing
        return nothing if found is None else labels.get(found, found)

    return display(description=field.label, boolean=isinstance(field, forms.BooleanField))(value)


# What an empty field means, where it is not simply nothing.
NOTHING_MEANS = {
    "days": "Every day",
    "min_age": "Any",
    "max_age": "Any",
    "capacity_per_slot": "As many as there are providers",
}

LABELS = {document_path(path): str(ServiceForm.base_fields[name].label) for name, path in EMBEDDED.items()} | {
    "pricing.currency": "Currency",
    "pricing.packageDetails.pricePerSession": "Price per session",
    "pricing.surgePricing.surgeHours": "Surge windows",
    "availability.availableCities": "Cities",
    "faqs": "Questions patients ask",
    **{
        Service._meta.get_field(name).column: str(ServiceForm.base_fields[name].label)
        for name in ServiceForm.Meta.fields
    },
}

for _name, _path in EMBEDDED.items():
    setattr(ServiceAdmin, _name, _shown(_name, _path))


MADE_NEW = {"CREATED", "SEEDED", "COPIED"}  # with version 0: the seed also brings up to date what it made


@admin.register(ServiceChange)
class ServiceChangeAdmin(BoundedLists, FoundByText, ModelAdmin):
    """The history of all services; nobody writes it by hand."""

    list_display = ("shown_at", "service_link", "action", "actor", "shown_changes")
    list_filter = ("action",)
    service_field = "service"
    ordering = ("-at",)
    sortable_by = ("shown_at",)
    list_display_links = None

    @display(description="When", ordering="at")
    def shown_at(self, change: ServiceChange) -> str:
        return f"{localtime(change.at):%-d %b %Y, %H:%M}"

    @display(description="Service")
    def service_link(self, change: ServiceChange) -> str:
        url = reverse("admin:catalog_service_history", args=[change.service])
        return format_html(
            '<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', url, change.service_name
        )

    @display(description="What changed")
    def shown_changes(self, change: ServiceChange) -> str:
        if change.action in MADE_NEW and change.version == 0:
            return "New"
        fields = [LABELS.get(part.field, part.field) for part in change.changes]
        return ", ".join(fields[:4]) + (f" and {len(fields) - 4} more" if len(fields) > 4 else "")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
