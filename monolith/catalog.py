"""A catalog document of the monolith as this service keeps it. Pure."""

from __future__ import annotations

from datetime import datetime

from catalog.models import Service
from catalog.rules import faults
from catalog.terms import service_of
from monolith.conversion import Converted, Document, Quarantine, copied, document_id, shaped
from monolith.schema import shape_of

_SHAPE = shape_of(Service)
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
    shaped(converted, _SHAPE)
    _package_category(converted)
    if broken := _broken(document):
        raise Quarantine("RULE_BROKEN", broken)
    converted.note_rounding()
    document["stats"] = {**(converted.part("stats") or {}), **NOTHING_COUNTED}
    return converted


def _broken(document: Document) -> str:
    """Which rules of the catalog the document breaks, or that the catalog cannot read it at all."""
    try:
        broken = [f"{fault.field}: {fault.message}" for fault in faults(document)]
        closed = service_of(document).closed_dates and document["availability"]["closedDates"]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return f"a value is of another kind than the catalog's ({type(error).__name__})"
    if not all(isinstance(day, datetime) for day in closed):
        broken.append("availability.closedDates: A day is text, not a date.")
    return "; ".join(broken)


def _package_category(converted: Converted) -> None:
    """Packages of old documents carry the category of the care that is given."""
    document = converted.document
    if converted.part("pricing.packageDetails") and document.get("category") != "PACKAGE":
        converted.original["category"] = document.get("category")
        document["category"] = "PACKAGE"
        converted.note("CATEGORY_CHANGED", "a service with sessions is a package: its category was changed")
