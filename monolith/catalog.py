"""A catalog document of the monolith as this service keeps it. Pure."""

from __future__ import annotations

from catalog.rules import faults
from monolith.conversion import Converted, Document, Quarantine, copied, document_id, moments

NOTHING_COUNTED = {"totalBookings": 0, "totalRevenue": 0, "avgRating": 0, "totalReviews": 0, "ratingSum": 0}


def converted_service(source: Document) -> Converted:
    """The service with the same id, its money in paise; counters at zero, for they are recomputed.

    Raises:
        Quarantine: it breaks a rule of the catalog that staff could not break either.
    """
    document_id(source)
    converted = Converted(copied(source, "pricing", "stats"))
    document = converted.document
    converted.money("pricing", "basePrice")
    converted.money("pricing.packageDetails", "pricePerSession", "totalPrice")
    converted.money("pricing.surgePricing", "surgeMultiplier")
    moments(converted, "createdAt", "updatedAt")
    _package_category(converted)
    broken = list(faults(document))
    if broken:
        raise Quarantine("RULE_BROKEN", "; ".join(f"{fault.field}: {fault.message}" for fault in broken))
    converted.note_rounding()
    document["stats"] = {**(converted.part("stats") or {}), **NOTHING_COUNTED}
    return converted


def _package_category(converted: Converted) -> None:
    """Packages of old documents carry the category of the care that is given."""
    document = converted.document
    if converted.part("pricing.packageDetails") and document.get("category") != "PACKAGE":
        converted.original["category"] = document.get("category")
        document["category"] = "PACKAGE"
        converted.note("CATEGORY_CHANGED", "a service with sessions is a package: its category was changed")
