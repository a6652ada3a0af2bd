"""The admin's form of a service: every part of the document as a labelled field, its lists of records as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from bson import ObjectId
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.forms.formsets import BaseFormSet
from django.utils.timezone import localtime
from unfold import widgets

from booking_service.api.errors import FieldError
from catalog import repositories, rules, seed_rows
from catalog.models import (
    Availability,
    AvailableHours,
    FrequentQuestion,
    PackageDetails,
    PatientInstructions,
    Pricing,
    Requirements,
    Seo,
    Service,
    ServiceDetails,
    SurgePricing,
    SurgeWindow,
)
from catalog.pricing import to_paise
from catalog.terms import MOST_PLACES, WEEKDAYS

CHANGED_MEANWHILE = (
    "{who} saved this service at {when}, after you opened it. Nothing of yours was saved, and nothing of theirs was "
    "lost: your entries are still below. Open the service in a new tab to see theirs, then make your change there."
)


MOST_LINES = 200
LARGEST_NUMBER = 1_000_000


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, *, rows: int = 5, longest: int = 300, **options: Any) -> None:
        self.longest = longest
        widget = widgets.UnfoldAdminTextareaWidget(attrs={"rows": rows})
        super().__init__(required=False, widget=widget, **{"max_length": 10_000, **options})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(line) for line in value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        if len(lines) > MOST_LINES:
            raise ValidationError(f"Write at most {MOST_LINES} lines.")
        if any(len(line) > self.longest for line in lines):
            raise ValidationError(f"A line has at most {self.longest} characters.")
        return lines

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), (data or "").replace("\r\n", "\n").strip())


class DatesField(LinesField):
    """A list of days, one a line."""

    def clean(self, value: Any) -> list[date]:
        try:
            return sorted({date.fromisoformat(line) for line in super().clean(value)})
        except ValueError:
            raise ValidationError("Write each day as 2026-12-25, one a line.") from None


def words(**options: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=widgets.UnfoldAdminTextInputWidget(), **options)


def whole(**options: Any) -> forms.IntegerField:
    return forms.IntegerField(
        widget=widgets.UnfoldAdminIntegerFieldWidget(), **{"max_value": LARGEST_NUMBER, **options}
    )


def amount(**options: Any) -> forms.DecimalField:
    widget = widgets.UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01"})
    return forms.DecimalField(max_digits=12, decimal_places=2, widget=widget, **options)


def clock(**options: Any) -> forms.CharField:
    return forms.CharField(max_length=5, widget=widgets.UnfoldAdminTextInputWidget(attrs={"type": "time"}), **options)


def switch(**options: Any) -> forms.BooleanField:
    return forms.BooleanField(required=False, widget=widgets.UnfoldBooleanSwitchWidget(), **options)


# The form's fields for what is embedded: where each is found in a Service.
EMBEDDED = {
    "base_price": "pricing.base_price",
    "package_sessions": "pricing.package_details.sessions",
    "package_days": "pricing.package_details.duration",
    "package_price": "pricing.package_details.total_price",
    "surge_enabled": "pricing.surge_pricing.enabled",
    "surge_multiplier": "pricing.surge_pricing.multiplier",
    "duration": "service_details.duration",
    "skill_level": "service_details.skill_level",
    "equipment_required": "service_details.equipment_required",
    "supplies_needed": "service_details.supplies_needed",
    "certification_required": "service_details.certification_required",
    "is_active": "availability.is_active",
    "opens": "availability.hours.start",
    "closes": "availability.hours.end",
    "days": "availability.days",
    "closed_dates": "availability.closed_dates",
    "capacity_per_slot": "availability.capacity_per_slot",
    "prescription_required": "requirements.prescription_required",
    "advance_booking_hours": "requirements.advance_booking_hours",
    "min_age": "requirements.min_age",
    "max_age": "requirements.max_age",
    "contraindications": "requirements.contraindications",
    "before_service": "patient_instructions.before_service",
    "during_service": "patient_instructions.during_service",
    "after_service": "patient_instructions.after_service",
    "meta_title": "seo.meta_title",
    "meta_description": "seo.meta_description",
    "keywords": "seo.keywords",
}
PACKAGE_FIELDS = ("package_sessions", "package_days", "package_price")


def value_at(service: Any, path: str) -> Any:
    """What a service has at a path of attributes; None where a part of it is missing."""
    for name in path.split("."):
        service = getattr(service, name, None)
    return service


def put_at(service: Any, path: str, value: Any) -> None:
    """Set what a service has at a path of attributes."""
    *parents, name = path.split(".")
    for parent in parents:
        service = getattr(service, parent)
    setattr(service, name, value)


def document_path(path: str) -> str:
    """A path of attributes as the document names it: `pricing.base_price` is `pricing.basePrice`."""
    model: Any = Service
    columns = []
    for name in path.split("."):
        field = model._meta.get_field(name)
        columns.append(field.column)
        model = getattr(field, "embedded_model", None)
    return ".".join(columns)


def complete(service: Service) -> Service:
    """The service with every part that the form writes into; an imported document may lack some."""
    service.pricing = service.pricing or Pricing()
    service.pricing.surge_pricing = service.pricing.surge_pricing or SurgePricing()
    service.service_details = service.service_details or ServiceDetails()
    service.availability = service.availability or Availability()
    service.availability.hours = service.availability.hours or AvailableHours()
    service.requirements = service.requirements or Requirements()
    service.patient_instructions = service.patient_instructions or PatientInstructions()
    service.seo = service.seo or Seo()
    return service


def without_idle_parts(service: Service) -> Service:
    """The service without the parts that `complete` gave it and staff left as they were: they would show as changes."""
    surge = service.pricing.surge_pricing
    if surge and not surge.enabled and not surge.hours:
        service.pricing.surge_pricing = None
    return service


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's is not generic at run time
    """A service. What the rules of the catalog object to is shown at the field that it is about."""

    base_price = amount(
        label="Price",
        help_text="In rupees, for one visit, before platform fee and GST. The preview below shows what patients pay.",
    )
    package_sessions = whole(label="Sessions", required=False, help_text="How many visits the package has.")
    package_days = whole(label="Days", required=False, help_text="Within how many days the sessions are taken.")
    package_price = amount(
        label="Price of the package",
        required=False,
        help_text="In rupees, for all sessions together. Patients pay this.",
    )
    surge_enabled = switch(label="Surge pricing", help_text="Visits that start within the times below cost more.")
    surge_multiplier = forms.DecimalField(
        label="Surge factor",
        required=False,
        max_digits=4,
        decimal_places=2,
        widget=widgets.UnfoldAdminDecimalFieldWidget(attrs={"step": "0.05"}),
        help_text="1.5 means half as much again. Between 1 and 5.",
    )
    duration = whole(label="Minutes", help_text="How long a visit takes; the provider is busy for this long.")
    skill_level = forms.ChoiceField(
        label="Skill level",
        choices=[(level.value, level.label) for level in rules.SkillLevel],
        widget=widgets.UnfoldAdminSelectWidget(),
        help_text="How trained the provider has to be.",
    )
    equipment_required = LinesField(label="Equipment", help_text="What the provider brings, one item a line.")
    supplies_needed = LinesField(label="Supplies", help_text="What is used up, one item a line.")
    certification_required = LinesField(label="Certificates", help_text="What the provider must hold, one a line.")
    is_active = switch(label="Active", help_text="Off: patients neither see nor book it. Existing bookings stay.")
    opens = clock(label="First visit starts at", help_text="Local time.")
    closes = clock(
        label="Last visit ends by",
        help_text="Local time. Earlier than the start means the next day; the same means round the clock.",
    )
    days = forms.MultipleChoiceField(
        label="Days",
        required=False,
        choices=[(day, day.capitalize()) for day in WEEKDAYS],
        widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="None ticked means every day.",
    )
    closed_dates = DatesField(label="Closed on", help_text="Holidays, one a line, such as 2026-12-25.")
    capacity_per_slot = whole(
        label="Visits at the same time",
        required=False,
        max_value=MOST_PLACES,
        help_text="At most so many in one city at one time. Empty: only the number of providers limits it.",
    )
    prescription_required = switch(label="Prescription needed", help_text="A booking without one is refused.")
    advance_booking_hours = whole(label="Hours ahead", help_text="How early a visit has to be booked.")
    min_age = whole(label="Youngest", required=False, help_text="In years. Empty: any age.")
    max_age = whole(label="Oldest", required=False, help_text="In years. Empty: any age.")
    contraindications = LinesField(label="Not suitable for", help_text="One a line.")
    included = LinesField(label="Included", help_text="What patients get, one a line.")
    not_included = LinesField(label="Not included", help_text="What they might expect, but do not get, one a line.")
    before_service = LinesField(label="Before the visit", longest=500, help_text="What to prepare, one a line.")
    during_service = LinesField(label="During the visit", longest=500, help_text="One a line.")
    after_service = LinesField(label="After the visit", longest=500, help_text="One a line.")
    provider_instructions = LinesField(
        label="For the provider", longest=500, help_text="Shown to nurses and therapists, one a line."
    )
    meta_title = words(label="Title for search engines", max_length=100, help_text="About 60 characters.")
    meta_description = forms.CharField(
        label="Description for search engines",
        required=False,
        max_length=300,
        widget=widgets.UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Shown below the title; about 150 characters.",
    )
    keywords = LinesField(label="Keywords", longest=60, help_text="Other words patients search for, one a line.")
    version = forms.IntegerField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = Service
        fields = (
            "name",
            "slug",
            "category",
            "display_name",
            "short_description",
            "long_description",
            "included",
            "not_included",
            "provider_instructions",
            "is_featured",
            "is_popular",
            "sort_order",
        )
        widgets = {"long_description": widgets.UnfoldAdminTextareaWidget(attrs={"rows": 4})}
        labels = {
            "name": "Code",
            "slug": "Address",
            "display_name": "Name",
            "short_description": "In one sentence",
            "long_description": "Description",
            "sort_order": "Place in the list",
        }
        help_texts = {
            "name": "What bookings call it, such as WOUND_DRESSING. It stays once patients have booked.",
            "slug": "The last part of its web address, such as wound-dressing.",
            "category": "The shelf on which patients find it. Packages need their sessions below.",
            "display_name": "What patients read.",
            "short_description": "Shown in lists, 300 characters at most.",
            "long_description": "Shown on the service's own page.",
            "is_featured": "Among the first six on the start page.",
            "is_popular": "Listed under popular, most booked first.",
            "sort_order": "Small numbers come first.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        complete(self.instance)
        self.fields.setdefault("version", forms.IntegerField(required=False, widget=forms.HiddenInput()))
        self.initial.setdefault("version", self.instance.version or 0)
        if "sort_order" in self.fields:  # not in the form of those who may only look
            self.fields["sort_order"].validators += [MinValueValidator(0), MaxValueValidator(LARGEST_NUMBER)]
        for name, path in EMBEDDED.items():
            self.initial.setdefault(name, value_at(self.instance, path))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._require_unchanged()
        for name in ("name", "slug"):
            if name in cleaned and name in self.changed_data and repositories.is_taken(name, cleaned[name]):
                self.add_error(name, "Another service has this already.")
        self._require_name_to_stay()
        return cleaned

    def _require_name_to_stay(self) -> None:
        if self.instance._state.adding or "name" not in self.cleaned_data:
            return
        booked = self.instance.stats.total_bookings if self.instance.stats else 0
        before = {"name": self.initial["name"], "stats": {"totalBookings": booked}}
        for fault in rules.renaming_faults(before, self.cleaned_data["name"], seed_rows.names()):
            show_fault(self, "name", fault)

    def _require_unchanged(self) -> None:
        if self.instance._state.adding or self.cleaned_data.get("version") == (self.instance.version or 0):
            return
        latest = next(iter(repositories.changes_of(self.instance.pk, 1)), None)
        who = latest["actor"] if latest else "Somebody"
        when = f"{localtime(latest['at']):%H:%M}" if latest else "some time"
        raise ValidationError(CHANGED_MEANWHILE.format(who=who, when=when), code="changed")

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, unknown to its stubs
        self._fill_parts()
        fields = {document_path(path): name for name, path in EMBEDDED.items()}
        fields |= {Service._meta.get_field(name).column: name for name in ServiceForm.Meta.fields}
        del fields["pricing.surgePricing.enabled"]  # judged together with its rows, below
        for fault in rules.faults(repositories.document_of(self.instance)):
            show_fault(self, fields.get(fault.field), fault)

    def _fill_parts(self) -> None:
        complete(self.instance)
        cleaned = self.cleaned_data
        details = self.instance.pricing.package_details
        if any(cleaned.get(name) for name in PACKAGE_FIELDS):
            self.instance.pricing.package_details = details or PackageDetails()
        else:
            self.instance.pricing.package_details = None
        for name, path in EMBEDDED.items():
            if name in cleaned and not (name in PACKAGE_FIELDS and self.instance.pricing.package_details is None):
                put_at(self.instance, path, cleaned[name])
        self._price_sessions()

    def _price_sessions(self) -> None:
        details = self.instance.pricing.package_details
        if details and details.sessions and details.total_price:
            details.price_per_session = to_paise(details.total_price / details.sessions)


def show_fault(form: forms.BaseForm, name: str | None, fault: FieldError) -> None:
    """Show a fault at the form's field that it is about, unless that has an error already or there is none."""
    if name in form.fields and name not in form.errors:
        form.add_error(name, ValidationError(fault.message, code=fault.code))


class PlaceForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """A service's place in the list, which staff change by dragging; PlaceFormSet decides what it becomes."""

    moves: Mapping[ObjectId, int] = {}  # service → place; in the first form that changed: all, to be written together

    class Meta:
        model = Service
        fields = ("sort_order",)

    def has_changed(self) -> bool:
        return bool(self.instance.sort_order != self.initial.get("sort_order"))


class PlaceFormSet(forms.BaseModelFormSet):  # type: ignore[type-arg]  # as above
    """The services that the list shows, perhaps a page or a part of all: they change places among themselves.

    The browser numbers what it shows from 0 after a drag, wherever in the catalog that is.
    """

    def clean(self) -> None:
        super().clean()
        if any(form.instance._state.adding for form in self.forms):
            raise ValidationError("A service in this list is not there any more. Open it again.")
        if any(self.errors):
            return
        self._place()
        moved: list[Any] = [form for form in self.forms if form.has_changed()]
        for form in moved[:1]:
            form.moves = {form.instance.pk: form.instance.sort_order for form in moved}

    def _place(self) -> None:
        posted = [form.cleaned_data["sort_order"] for form in self.forms]
        before = [form.initial["sort_order"] or 0 for form in self.forms]
        if posted == before:
            return
        in_order = sorted(self.forms, key=lambda form: int(form.cleaned_data["sort_order"]))
        place = -1
        for form, free in zip(in_order, sorted(before), strict=True):
            place = max(place + 1, free)  # an import may have left several in one place
            form.instance.sort_order = place


class RowForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """One row. Left blank, it is as if it were not there; what is missing in it the rules of the catalog say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.empty_permitted, self.use_required_attribute = True, False
        for name, field in self.fields.items():
            field.required = False
            field.label = (self._meta.labels or {}).get(name, field.label)  # of declared fields, Django leaves it out

    def row(self) -> Any:
        """What the list of the service holds for it."""
        return self._meta.model(**{name: self.cleaned_data.get(name, "") for name in self._meta.fields or ()})


class SurgeWindowForm(RowForm):
    start, end = clock(), clock()

    class Meta:
        model = SurgeWindow
        fields = ("start", "end")
        labels = {"start": "From", "end": "Until"}


class QuestionForm(RowForm):
    class Meta:
        model = FrequentQuestion
        fields = ("question", "answer")
        widgets = {
            "question": widgets.UnfoldAdminTextInputWidget(),
            "answer": widgets.UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }


class CityForm(RowForm):
    name = words(max_length=100)

    class Meta:
        model = Availability  # a city is a text in it, not a record
        fields = ()
        labels = {"name": "City"}

    def row(self) -> str:
        return " ".join(self.cleaned_data.get("name", "").split())


class RowFormSet(BaseFormSet):  # type: ignore[type-arg]  # as above
    """The rows of one list in a service. They are filled in and judged here; saving the service saves them."""

    path: str  # of attributes, in a Service
    default_prefix: str
    also: tuple[str, ...] = ()  # paths in the document whose faults belong to the list as a whole

    # What the admin asks a formset of records for.
    new_objects = changed_objects = deleted_objects = ()

    def __init__(self, data: Any = None, files: Any = None, instance: Any = None, prefix: Any = None, **_: Any) -> None:
        self.instance = complete(instance)
        rows = [] if data is not None else self._initial_rows(value_at(self.instance, self.path) or [])
        super().__init__(data, files, prefix=prefix, initial=rows)

    @classmethod
    def get_default_prefix(cls) -> str:
        return cls.default_prefix

    def get_queryset(self) -> list[Any]:
        return []

    def initial_form_count(self) -> int:
        return 0  # rows have no identity: what is posted is the list

    def total_form_count(self) -> int:
        return super().total_form_count() if self.is_bound else len(self.initial or [])

    def save(self, commit: bool = True) -> list[Any]:
        return []

    def clean(self) -> None:
        kept = [form for form in self.forms if form.has_changed() and not form.cleaned_data.get("DELETE")]
        put_at(self.instance, self.path, [form.row() for form in kept])
        where = document_path(self.path)
        for fault in rules.faults(repositories.document_of(self.instance)):
            if fault.field in self.also:
                raise ValidationError(fault.message, code=fault.code)
            if fault.field.startswith(f"{where}."):
                index, _, column = fault.field.removeprefix(f"{where}.").partition(".")
                form = kept[int(index)]
                show_fault(form, column or next(iter(form.fields)), fault)

    def _initial_rows(self, rows: Iterable[Any]) -> list[dict[str, Any]]:
        return [forms.model_to_dict(row) for row in rows]


class SurgeWindowFormSet(RowFormSet):
    path, default_prefix = "pricing.surge_pricing.hours", "surge"
    also = ("pricing.surgePricing.enabled",)


class QuestionFormSet(RowFormSet):
    path, default_prefix = "faqs", "faqs"


class CityFormSet(RowFormSet):
    path, default_prefix = "availability.cities", "cities"

    def _initial_rows(self, rows: Iterable[Any]) -> list[dict[str, Any]]:
        return [{"name": city} for city in rows]
