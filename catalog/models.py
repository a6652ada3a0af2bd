"""The documents of the catalog, as the monolith's collection names their fields. No rules here: see `rules.py`."""

from __future__ import annotations

from typing import Any

from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, EmbeddedModelField, ObjectIdField
from django_mongodb_backend.models import EmbeddedModel
from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex
from catalog.rules import Category, SkillLevel

# What can happen to a service, as its history says it.
ACTIONS = ("CREATED", "SEEDED", "COPIED", "UPDATED", "ACTIVATED", "DEACTIVATED", "MOVED")
ANY_CASE = {"locale": "en", "strength": 2}  # the collation in which BANGALORE and bangalore are one


def texts(length: int = 200, **options: Any) -> ArrayField:
    """A list of short texts."""
    return ArrayField(models.CharField(max_length=length), default=list, blank=True, **options)


def text(length: int, **options: Any) -> models.CharField:
    """A text that may be empty."""
    return models.CharField(max_length=length, default="", blank=True, **options)


def money(**options: Any) -> models.DecimalField:
    """Rupees, exact."""
    return models.DecimalField(max_digits=12, decimal_places=2, **options)


def count(**options: Any) -> models.IntegerField:
    return models.IntegerField(default=0, **options)


class SurgeWindow(EmbeddedModel):
    """A time of day, local, in which visits cost more: from `start` to just before `end`."""

    start = models.CharField(max_length=5)
    end = models.CharField(max_length=5)


class SurgePricing(EmbeddedModel):
    enabled = models.BooleanField(default=False)
    multiplier = models.DecimalField(max_digits=4, decimal_places=2, default=1, db_column="surgeMultiplier")
    hours = EmbeddedModelArrayField(SurgeWindow, default=list, blank=True, db_column="surgeHours")


class PackageDetails(EmbeddedModel):
    """Several sessions sold together; `duration` is the days in which to take them."""

    sessions = models.IntegerField()
    duration = models.IntegerField()
    price_per_session = money(null=True, blank=True, db_column="pricePerSession")
    total_price = money(db_column="totalPrice")


class Pricing(EmbeddedModel):
    base_price = money(db_column="basePrice")
    currency = models.CharField(max_length=3, default="INR")
    package_details = EmbeddedModelField(PackageDetails, null=True, blank=True, db_column="packageDetails")
    surge_pricing = EmbeddedModelField(SurgePricing, null=True, blank=True, db_column="surgePricing")


class ServiceDetails(EmbeddedModel):
    """How the visit goes; `duration` in minutes."""

    duration = models.IntegerField(default=60)
    equipment_required = texts(db_column="equipmentRequired")
    supplies_needed = texts(db_column="suppliesNeeded")
    skill_level = models.CharField(
        max_length=20,
        choices=[(level.value, level.label) for level in SkillLevel],
        default=SkillLevel.BASIC.value,
        db_column="skillLevel",
    )
    certification_required = texts(db_column="certificationRequired")


class AvailableHours(EmbeddedModel):
    start = models.CharField(max_length=5, default="06:00")
    end = models.CharField(max_length=5, default="22:00")


class Availability(EmbeddedModel):
    """When and where it can be booked; no days and no cities mean every day and everywhere."""

    is_active = models.BooleanField("active", default=True, db_column="isActive")
    cities = texts(100, db_column="availableCities")
    hours = EmbeddedModelField(AvailableHours, null=True, blank=True, db_column="availableHours")
    days = texts(10, db_column="availableDays")
    closed_dates = ArrayField(models.DateField(), default=list, blank=True, db_column="closedDates")
    capacity_per_slot = models.IntegerField(null=True, blank=True, db_column="capacityPerSlot")


class Requirements(EmbeddedModel):
    prescription_required = models.BooleanField(default=False, db_column="prescriptionRequired")
    advance_booking_hours = count(db_column="advanceBookingHours")
    min_age = models.IntegerField(null=True, blank=True, db_column="minAge")
    max_age = models.IntegerField(null=True, blank=True, db_column="maxAge")
    contraindications = texts()


class FrequentQuestion(EmbeddedModel):
    question = models.CharField(max_length=300)
    answer = models.CharField(max_length=2000)


class PatientInstructions(EmbeddedModel):
    before_service = texts(500, db_column="beforeService")
    during_service = texts(500, db_column="duringService")
    after_service = texts(500, db_column="afterService")


class Stats(EmbeddedModel):
    """What the service's bookings add up to; written by `$inc`, never by staff."""

    total_bookings = count(db_column="totalBookings")
    total_revenue = money(default=0, db_column="totalRevenue")
    avg_rating = models.FloatField(default=0, db_column="avgRating")
    total_reviews = count(db_column="totalReviews")
    rating_sum = count(db_column="ratingSum")
    completion_rate = models.FloatField(default=100, db_column="completionRate")


class Seo(EmbeddedModel):
    meta_title = text(100, db_column="metaTitle")
    meta_description = text(300, db_column="metaDescription")
    keywords = texts(60)


class Service(Document):
    """One service of the catalog."""

    name = models.CharField(max_length=60)
    slug = models.CharField(max_length=100)
    category = models.CharField(max_length=20, choices=[(kind.value, kind.label) for kind in Category])
    sub_category = text(60, db_column="subCategory")
    display_name = models.CharField(max_length=100, db_column="displayName")
    short_description = text(300, db_column="shortDescription")
    long_description = models.TextField(max_length=4000, default="", blank=True, db_column="longDescription")
    pricing = EmbeddedModelField(Pricing)
    service_details = EmbeddedModelField(ServiceDetails, db_column="serviceDetails")
    availability = EmbeddedModelField(Availability)
    requirements = EmbeddedModelField(Requirements)
    included = texts(300)
    not_included = texts(300, db_column="notIncluded")
    faqs = EmbeddedModelArrayField(FrequentQuestion, default=list, blank=True)
    patient_instructions = EmbeddedModelField(
        PatientInstructions, null=True, blank=True, db_column="patientInstructions"
    )
    provider_instructions = texts(500, db_column="providerInstructions")
    stats = EmbeddedModelField(Stats, null=True, blank=True)
    seo = EmbeddedModelField(Seo, null=True, blank=True)
    is_featured = models.BooleanField("featured", default=False, db_column="isFeatured")
    is_popular = models.BooleanField("popular", default=False, db_column="isPopular")
    sort_order = count(db_column="sortOrder")
    created_at = models.DateTimeField(null=True, db_column="createdAt")
    updated_at = models.DateTimeField(null=True, db_column="updatedAt")
    version = count(db_column="__v")

    class Meta:
        db_table = "servicecatalogs"
        verbose_name = "service"
        ordering = ["sort_order"]
        indexes = [
            DocumentIndex("name", name="service_name", unique=True),
            DocumentIndex("slug", name="service_slug", unique=True),
            DocumentIndex("sortOrder", "_id", name="service_order"),
            DocumentIndex("availability.isActive", "sortOrder", "-stats.totalBookings", "_id", name="service_list"),
            DocumentIndex(
                "availability.isActive", "category", "sortOrder", "-stats.totalBookings", "_id", name="service_category"
            ),
            DocumentIndex(
                "availability.isActive",
                "availability.availableCities",
                "sortOrder",
                "-stats.totalBookings",
                "_id",
                name="service_city",
                collation=ANY_CASE,
            ),
            DocumentIndex(
                "availability.isActive",
                "isFeatured",
                "sortOrder",
                "-stats.totalBookings",
                "_id",
                name="service_featured",
            ),
            DocumentIndex("availability.isActive", "isPopular", "-stats.totalBookings", "_id", name="service_popular"),
            DocumentIndex("availability.isActive", "-stats.totalBookings", "_id", name="service_most_booked"),
        ]

    def __str__(self) -> str:
        return self.display_name or self.name


class FieldChange(EmbeddedModel):
    """One field before and after, as text for people."""

    field = models.CharField(max_length=200)
    before = models.TextField(default="", blank=True)
    after = models.TextField(default="", blank=True)


class ServiceChange(Document):
    """Who changed what of a service, and when. Only ever appended, in the transaction of the change."""

    service = ObjectIdField()
    service_name = models.CharField(max_length=60, db_column="serviceName")
    action = models.CharField(max_length=20, choices=[(action, action.capitalize()) for action in ACTIONS])
    actor = models.CharField(max_length=150)
    role = models.CharField(max_length=20)
    at = models.DateTimeField("when")
    request_id = text(64, db_column="requestId")
    version = count()
    changes = EmbeddedModelArrayField(FieldChange, default=list)

    class Meta:
        db_table = "servicecatalogchanges"
        verbose_name = "catalog change"
        ordering = ["-at"]
        indexes = [
            DocumentIndex("service", "-at", name="change_service"),
            DocumentIndex("action", "-at", name="change_action"),
            DocumentIndex("-at", "_id", name="change_at"),
        ]

    def __str__(self) -> str:
        return f"{self.service_name}: {self.action.lower()}"
