"""The answers of the catalog, for `/api/schema`. Documents are passed through, so only the schema spells them out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from catalog.rules import Category, SkillLevel
from catalog.search import LONGEST_QUERY

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
CLOCK: Schema = {"type": "string", "description": "HH:MM, local time"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def record(required: str = "", **properties: Schema) -> Schema:
    """An object; `required` names the properties that are always there."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": required.split()} if required else schema


def rows(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def choice(values: type[Category] | type[SkillLevel]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


def instant() -> Schema:
    return {"type": "string", "format": "date-time"}


HOURS = record("start end", start=CLOCK, end=CLOCK)
PACKAGE = record("sessions totalPrice", sessions=WHOLE, duration=WHOLE, pricePerSession=NUMBER, totalPrice=NUMBER)
SURGE = record("enabled", enabled=FLAG, surgeMultiplier=NUMBER, surgeHours=rows(HOURS))
SERVICE = record(
    "_id name slug category displayName pricing serviceDetails availability",
    _id={"type": "string", "pattern": "^[0-9a-f]{24}$"},
    name=TEXT,
    slug=TEXT,
    category=choice(Category),
    subCategory=TEXT,
    displayName=TEXT,
    shortDescription=TEXT,
    longDescription=TEXT,
    pricing=record("basePrice currency", basePrice=NUMBER, currency=TEXT, packageDetails=PACKAGE, surgePricing=SURGE),
    serviceDetails=record(
        "duration skillLevel",
        duration=WHOLE | {"description": "minutes"},
        skillLevel=choice(SkillLevel),
        equipmentRequired=TEXTS,
        suppliesNeeded=TEXTS,
        certificationRequired=TEXTS,
    ),
    availability=record(
        "isActive",
        isActive=FLAG,
        availableCities=TEXTS,
        availableHours=HOURS,
        availableDays=TEXTS | {"description": "none means every day"},
        closedDates=rows(instant()),
        capacityPerSlot=WHOLE,
    ),
    requirements=record(
        prescriptionRequired=FLAG, advanceBookingHours=WHOLE, minAge=WHOLE, maxAge=WHOLE, contraindications=TEXTS
    ),
    included=TEXTS,
    notIncluded=TEXTS,
    faqs=rows(record("question answer", question=TEXT, answer=TEXT)),
    patientInstructions=record(beforeService=TEXTS, duringService=TEXTS, afterService=TEXTS),
    providerInstructions=TEXTS,
    stats=record(totalBookings=WHOLE, avgRating=NUMBER, totalReviews=WHOLE),
    seo=record(metaTitle=TEXT, metaDescription=TEXT, keywords=TEXTS),
    isFeatured=FLAG,
    isPopular=FLAG,
    sortOrder=WHOLE,
    createdAt=instant(),
    updatedAt=instant(),
)
QUOTE = record(
    "startsAt basePrice platformFee gst totalAmount currency surgeApplied surgeMultiplier packageDetails",
    startsAt=instant() | {"description": "the instant the price is for"},
    basePrice=NUMBER | {"description": "with the surge in it"},
    platformFee=NUMBER,
    gst=NUMBER,
    totalAmount=NUMBER,
    currency=TEXT,
    surgeApplied=FLAG,
    surgeMultiplier=NUMBER,
    packageDetails=PACKAGE | {"nullable": True},
)
PAGINATION = record("page limit total pages", page=WHOLE, limit=WHOLE, total=WHOLE, pages=WHOLE)

ONE_SERVICE = record("success data", success=FLAG, data=SERVICE)
SERVICES = record("success count data", success=FLAG, count=WHOLE, data=rows(SERVICE))
SERVICE_PAGE = record(
    "success count pagination data", success=FLAG, count=WHOLE, pagination=PAGINATION, data=rows(SERVICE)
)
ONE_QUOTE = record("success data", success=FLAG, data=QUOTE)

PAGE = [
    OpenApiParameter("page", {"type": "integer", "minimum": 1}),
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
]
POPULAR = [OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100})]
SHELF = [
    OpenApiParameter("city", {"type": "string", "maxLength": 100}, description="in any case"),
    OpenApiParameter("featured", bool),
    OpenApiParameter("popular", bool),
]
CATEGORY = [OpenApiParameter("category", choice(Category), description="in any case")]
QUERY = [OpenApiParameter("q", {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY}, required=True)]
INSTANT = [OpenApiParameter("at", instant(), description="with an offset or Z; now if left out")]
