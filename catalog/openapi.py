"""The answers of the catalog, for `/api/schema`. Documents are passed through, so only the schema spells them out."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter

from booking_service.api.schema import obj
from booking_service.api.shapes import FLAG, ID, INSTANT, NUMBER, TEXT, Schema
from catalog.rules import Category, SkillLevel
from catalog.search import LONGEST_QUERY

WHOLE: Schema = {"type": "integer"}
CLOCK: Schema = {"type": "string", "description": "HH:MM, local time"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def rows(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def choice(values: type[Category] | type[SkillLevel]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


HOURS = obj("start end", start=CLOCK, end=CLOCK)
PACKAGE = obj("sessions totalPrice", sessions=WHOLE, duration=WHOLE, pricePerSession=NUMBER, totalPrice=NUMBER)
SURGE = obj("enabled", enabled=FLAG, surgeMultiplier=NUMBER, surgeHours=rows(HOURS))
SERVICE = obj(
    "_id name slug category displayName pricing serviceDetails availability",
    _id=ID,
    name=TEXT,
    slug=TEXT,
    category=choice(Category),
    subCategory=TEXT,
    displayName=TEXT,
    shortDescription=TEXT,
    longDescription=TEXT,
    pricing=obj("basePrice currency", basePrice=NUMBER, currency=TEXT, packageDetails=PACKAGE, surgePricing=SURGE),
    serviceDetails=obj(
        "duration skillLevel",
        duration=WHOLE | {"description": "minutes"},
        skillLevel=choice(SkillLevel),
        equipmentRequired=TEXTS,
        suppliesNeeded=TEXTS,
        certificationRequired=TEXTS,
    ),
    availability=obj(
        "isActive",
        isActive=FLAG,
        availableCities=TEXTS,
        availableHours=HOURS,
        availableDays=TEXTS | {"description": "none means every day"},
        closedDates=rows(INSTANT),
        capacityPerSlot=WHOLE,
    ),
    requirements=obj(
        prescriptionRequired=FLAG, advanceBookingHours=WHOLE, minAge=WHOLE, maxAge=WHOLE, contraindications=TEXTS
    ),
    included=TEXTS,
    notIncluded=TEXTS,
    faqs=rows(obj("question answer", question=TEXT, answer=TEXT)),
    patientInstructions=obj(beforeService=TEXTS, duringService=TEXTS, afterService=TEXTS),
    stats=obj(totalBookings=WHOLE, avgRating=NUMBER, totalReviews=WHOLE, completionRate=NUMBER),
    seo=obj(metaTitle=TEXT, metaDescription=TEXT, keywords=TEXTS),
    isFeatured=FLAG,
    isPopular=FLAG,
    sortOrder=WHOLE,
    createdAt=INSTANT,
    updatedAt=INSTANT,
)
QUOTE = obj(
    "startsAt basePrice platformFee gst totalAmount currency surgeApplied surgeMultiplier packageDetails",
    startsAt=INSTANT | {"description": "the instant the price is for"},
    basePrice=NUMBER | {"description": "with the surge in it"},
    platformFee=NUMBER,
    gst=NUMBER,
    totalAmount=NUMBER,
    currency=TEXT,
    surgeApplied=FLAG,
    surgeMultiplier=NUMBER,
    packageDetails=PACKAGE | {"nullable": True},
)
SERVICES = rows(SERVICE)

POPULAR = OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100})
SHELF = (
    OpenApiParameter("city", {"type": "string", "maxLength": 100}, description="in any case"),
    OpenApiParameter("featured", bool),
    OpenApiParameter("popular", bool),
)
CATEGORY = OpenApiParameter("category", choice(Category), description="in any case")
QUERY = OpenApiParameter("q", {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY}, required=True)
AT = OpenApiParameter("at", INSTANT, description="with an offset or Z; now if left out")
