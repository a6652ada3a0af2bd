"""The catalog that a new installation starts with: the rows of `seed/*.toml` as documents, and into MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from booking_service.api.callers import SYSTEM
from booking_service.api.errors import Conflict
from catalog import seed_rows, services
from catalog.changes import differences
from catalog.pricing import to_paise
from catalog.rules import Category

CITIES = ["Bangalore", "Mumbai", "Delhi", "Hyderabad", "Chennai", "Pune"]
SEEDED = "SEEDED"
LOOKS = 5

Document = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """The names of the services that were added, brought up to date, already right, or left to staff."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def seed() -> Outcome:
    """Add the services that are missing and refresh those that only the seed has written; leave all others alone."""
    outcome = Outcome()
    for document in seed_documents():
        getattr(outcome, _seed_one(document)).append(document["name"])
    return outcome


def _seed_one(document: Document) -> str:
    """What became of one row. Who changes the service between our look and our write makes us look again."""
    for _ in range(LOOKS - 1):
        try:
            return _brought_in(document)
        except Conflict:
            continue
    return _brought_in(document)


def _brought_in(document: Document) -> str:
    present = services.service_document(name=document["name"])
    if present is None:
        taken = services.names_taken()
        slug = services.free_name(document["slug"], taken, "-")
        services.service_create(actor=SYSTEM, document=document | {"slug": slug}, action=SEEDED)
        return "added"
    history = services.service_history(present["_id"], limit=1)
    if not history or history[0]["action"] != SEEDED:
        return "kept"
    document = document | {"slug": present["slug"]}
    if not differences({name: present.get(name) for name in document}, document):
        return "unchanged"
    services.service_update(
        actor=SYSTEM, service_id=present["_id"], version=present.get("__v") or 0, document=document, action=SEEDED
    )
    return "updated"


def seed_documents() -> Iterator[Document]:
    """Every service of the seed, in the order in which lists show them."""
    for place, (category, row) in enumerate(seed_rows.rows(), start=1):
        yield _document(row, category, place)


def _document(row: Document, category: Category, place: int) -> Document:
    return {
        "name": row["name"],
        "slug": row["name"].lower().replace("_", "-"),
        "category": category.value,
        "displayName": row["display_name"],
        "shortDescription": row["short"],
        "longDescription": row["long"].strip(),
        "pricing": {"basePrice": Decimal(row["price"]), "currency": "INR", **_package(row)},
        "serviceDetails": _details(row),
        "availability": _availability(row),
        "requirements": _requirements(row),
        "included": row["included"],
        "notIncluded": row["not_included"],
        "faqs": [{"question": question, "answer": answer} for question, answer in row.get("faqs", [])],
        "patientInstructions": {
            "beforeService": row.get("before", []),
            "duringService": row.get("during", []),
            "afterService": row.get("after", []),
        },
        "providerInstructions": row.get("provider", []),
        "seo": {
            "metaTitle": f"{row['display_name'].removesuffix(' at home')} at home",
            "metaDescription": row["short"],
            "keywords": row["keywords"],
        },
        "isFeatured": row.get("featured", False),
        "isPopular": row.get("popular", False),
        "sortOrder": place,
    }


def _package(row: Document) -> Document:
    if "sessions" not in row:
        return {}
    price = Decimal(row["price"])
    return {
        "packageDetails": {
            "sessions": row["sessions"],
            "duration": row["days"],
            "pricePerSession": to_paise(price / row["sessions"]),
            "totalPrice": price,
        }
    }


def _details(row: Document) -> Document:
    return {
        "duration": row["minutes"],
        "equipmentRequired": row.get("equipment", []),
        "suppliesNeeded": row.get("supplies", []),
        "skillLevel": row["skill"],
        "certificationRequired": row.get("certifications", []),
    }


def _availability(row: Document) -> Document:
    return {
        "isActive": True,
        "availableCities": row.get("cities", CITIES),
        "availableHours": {"start": "06:00", "end": row.get("closes", "22:00")},
        "availableDays": [],
        "closedDates": [],
    }


def _requirements(row: Document) -> Document:
    ages = {name: row[key] for name, key in (("minAge", "min_age"), ("maxAge", "max_age")) if key in row}
    return {
        "prescriptionRequired": row.get("prescription", False),
        "advanceBookingHours": row["lead_hours"],
        "contraindications": row.get("contraindications", []),
        **ages,
    }
