"""Catalog documents for tests, as staff would fill them in."""

from typing import Any

from bson import ObjectId

from booking_service.api.callers import Caller, Role
from catalog import services

EDITOR = Caller(Role.STAFF, name="editor")


def wound_dressing(**changes: Any) -> dict[str, Any]:
    """A sound document; `changes` replace its top-level fields."""
    return {
        "name": "WOUND_DRESSING",
        "slug": "wound-dressing",
        "category": "NURSING",
        "displayName": "Wound dressing",
        "shortDescription": "A nurse cleans and dresses your wound at home",
        "longDescription": "Sterile material included",
        "pricing": {"basePrice": 499, "currency": "INR"},
        "serviceDetails": {"duration": 30, "skillLevel": "INTERMEDIATE"},
        "availability": {
            "isActive": True,
            "availableCities": ["Bangalore", "Mumbai"],
            "availableHours": {"start": "06:00", "end": "22:00"},
            "availableDays": [],
        },
        "requirements": {"prescriptionRequired": False, "advanceBookingHours": 2},
        "faqs": [],
        "seo": {"keywords": ["bandage"]},
        "isFeatured": False,
        "isPopular": False,
        "sortOrder": 1,
        **changes,
    }


def service_made(name: str = "WOUND_DRESSING", **changes: Any) -> ObjectId:
    """A service in the catalog; its slug follows its name."""
    document = wound_dressing(name=name, slug=name.lower().replace("_", "-"), **changes)
    return services.service_create(actor=EDITOR, document=document)


def surge(*windows: tuple[str, str], multiplier: float = 1.5) -> dict[str, Any]:
    """`surgePricing` with the windows given as (start, end)."""
    hours = [{"start": start, "end": end} for start, end in windows]
    return {"enabled": True, "surgeMultiplier": multiplier, "surgeHours": hours}
