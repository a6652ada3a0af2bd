"""A catalog document of the monolith as this service keeps it. Pure."""

from __future__ import annotations

from typing import Any

from catalog.models import Service, Stats
from catalog.rules import faults
from monolith.conversion import Converted, Document, Quarantine, document_id, shaped
from monolith.schema import of_another_kind, shape_of

_SHAPE = shape_of(Service)
NOTHING_COUNTED = {"totalBookings": 0, "totalRevenue": 0, "avgRating": 0, "totalReviews": 0, "ratingSum": 0}


def converted_service(source: Document) -> Converted:
    """The service with the same id, its money in paise; counters at zero, for they are recomputed.

    Raises:
        Quarantine: it breaks a rule of the catalog that staff could not break either.
    """
    document_id(source)
    converted = Converted(_without_nothing(source))
    document = converted.document
    converted.money("pricing", "basePrice")
    converted.money("pricing.packageDetails", "pricePerSession", "totalPrice")
    converted.money("pricing.surgePricing", "surgeMultiplier")
    shaped(converted, _SHAPE)
    _package_category(converted)
    _stats(converted)
    if broken := _broken(document):
        raise Quarantine("RULE_BROKEN", broken)
    converted.note_rounding()
    return converted


def _broken(document: Document) -> str:
    """Which rules of the catalog the document breaks, or where the catalog could not read it."""
    if unreadable := list(of_another_kind(Service, document)):
        return f"of another kind than the catalog's: {', '.join(unreadable)}"
    return "; ".join(f"{fault.field}: {fault.message}" for fault in faults(document))


def _without_nothing(value: Any) -> Any:
    """The value without what is stored as nothing at all in it, which means no more than its absence."""
    if isinstance(value, dict):
        return {name: _without_nothing(part) for name, part in value.items() if part is not None}
    return value


def _stats(converted: Converted) -> None:
    """Nothing counted yet, and what is not counted anew as it was, if it can be read."""
    stats = (converted.part("stats") or {}) | NOTHING_COUNTED
    for name in list(of_another_kind(Stats, stats)):
        converted.original[f"stats.{name}"] = stats.pop(name)
        converted.note("PART_UNREADABLE", f"stats.{name} is of another kind: left out, the original kept")
    converted.document["stats"] = stats


def _package_category(converted: Converted) -> None:
    """Packages of old documents carry the category of the care that is given."""
    document = converted.document
    if converted.part("pricing.packageDetails") and document.get("category") != "PACKAGE":
        converted.original["category"] = document.get("category")
        document["category"] = "PACKAGE"
        converted.note("CATEGORY_CHANGED", "a service with sessions is a package: its category was changed")
