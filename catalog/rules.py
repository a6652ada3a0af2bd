"""What makes a catalog document sound. Pure: staff's edits, the seed and imports are judged by the same rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from booking_service.api.errors import FieldError
from catalog.terms import MOST_PLACES, WEEKDAYS, clock_time, decimal_of

NAME = re.compile(r"[A-Z][A-Z0-9_]{1,59}")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_SLUG = 100
HIGHEST_SURGE = Decimal(5)
HIGHEST_PRICE = 1_000_000  # rupees: with the highest surge, fee and tax it is still an amount that partners take
LONGEST_VISIT_MINUTES = 12 * 60
OLDEST = 120

Document = Mapping[str, Any]


class Category(StrEnum):
    """The shelves of the catalog."""

    NURSING = "NURSING"
    PHYSIOTHERAPY = "PHYSIOTHERAPY"
    PACKAGE = "PACKAGE"

    @property
    def label(self) -> str:
        return self.value.capitalize()


class SkillLevel(StrEnum):
    """How trained the provider has to be."""

    BASIC = "BASIC"
    INTERMEDIATE = "INTERMEDIATE"
    ADVANCED = "ADVANCED"
    SPECIALIST = "SPECIALIST"

    @property
    def label(self) -> str:
        return self.value.capitalize()


def faults(document: Document) -> list[FieldError]:
    """Everything that is wrong with a catalog document; `field` is the dotted path in it. Sound documents have none."""
    return [fault for check in _CHECKS for fault in check(document)]


def renaming_faults(before: Document, name: str, seeded: Collection[str]) -> list[FieldError]:
    """What is wrong with giving the service `before` that name: bookings, and the seed, find it by the one it has."""
    if name == before["name"]:
        return []
    if (before.get("stats") or {}).get("totalBookings"):
        message = "Patients have booked it under its present code, by which their bookings find it."
        return [FieldError("name", message, "NAME_IN_USE")]
    if before["name"] in seeded:
        message = "Clients know it by its present code, and seeding would add it once more."
        return [FieldError("name", message, "NAME_IN_USE")]
    return []


def _identity(document: Document) -> Iterator[FieldError]:
    if not NAME.fullmatch(document.get("name") or ""):
        yield FieldError("name", "Use capital letters, digits and underscores, such as WOUND_DRESSING.", "INVALID")
    slug = document.get("slug") or ""
    if len(slug) > LONGEST_SLUG or not SLUG.fullmatch(slug):
        yield FieldError("slug", "Use small letters, digits and single hyphens, such as wound-dressing.", "INVALID")
    if document.get("category") not in set(Category):
        yield FieldError("category", "Choose nursing, physiotherapy or package.", "UNKNOWN_CATEGORY")
    if not (document.get("displayName") or "").strip():
        yield FieldError("displayName", "Patients need a name to read.", "REQUIRED")


def _price(document: Document) -> Iterator[FieldError]:
    yield from _amount(_part(document, "pricing").get("basePrice"), "pricing.basePrice")


def _amount(rupees: Any, where: str) -> Iterator[FieldError]:
    amount = decimal_of(rupees)
    if amount <= 0:
        yield FieldError(where, "The price must be more than nothing.", "NOT_POSITIVE")
    if amount > HIGHEST_PRICE:
        yield FieldError(where, f"The price is at most {HIGHEST_PRICE:,} rupees.", "OUT_OF_RANGE")


def _package(document: Document) -> Iterator[FieldError]:
    details = _part(document, "pricing").get("packageDetails")
    where = "pricing.packageDetails"
    if document.get("category") != Category.PACKAGE:
        if details:
            yield FieldError(
                f"{where}.sessions", "Only a service of the category Package has sessions.", "NOT_A_PACKAGE"
            )
        return
    details = details or {}
    if (details.get("sessions") or 0) < 1:
        yield FieldError(f"{where}.sessions", "A package needs its number of sessions.", "PACKAGE_WITHOUT_SESSIONS")
    if (details.get("duration") or 0) < 1:
        yield FieldError(f"{where}.duration", "Say within how many days the sessions are taken.", "REQUIRED")
    yield from _amount(details.get("totalPrice"), f"{where}.totalPrice")


def _surge(document: Document) -> Iterator[FieldError]:
    surge = _part(_part(document, "pricing"), "surgePricing")
    where = "pricing.surgePricing"
    if surge and not 1 <= decimal_of(surge.get("surgeMultiplier")) <= HIGHEST_SURGE:
        yield FieldError(f"{where}.surgeMultiplier", f"The factor lies between 1 and {HIGHEST_SURGE}.", "OUT_OF_RANGE")
    windows = surge.get("surgeHours") or []
    if surge.get("enabled") and not windows:
        yield FieldError(f"{where}.enabled", "Add the times in which it applies, or switch it off.", "NO_WINDOWS")
    for index, window in enumerate(windows):
        yield from _times(window, f"{where}.surgeHours.{index}")
        start = clock_time(window.get("start"))
        if start is not None and start == clock_time(window.get("end")):
            message = "It ends when it starts: it would hold no time at all."
            yield FieldError(f"{where}.surgeHours.{index}.end", message, "EMPTY_WINDOW")


def _times(hours: Document, where: str) -> Iterator[FieldError]:
    start, end = clock_time(hours.get("start")), clock_time(hours.get("end"))
    if start is None:
        yield FieldError(f"{where}.start", "Say when it starts, such as 18:00.", "INVALID_TIME")
    if end is None:
        yield FieldError(f"{where}.end", "Say when it ends, such as 22:00.", "INVALID_TIME")


def _visit(document: Document) -> Iterator[FieldError]:
    details = _part(document, "serviceDetails")
    if not 5 <= (details.get("duration") or 0) <= LONGEST_VISIT_MINUTES:
        message = f"A visit takes between 5 minutes and {LONGEST_VISIT_MINUTES // 60} hours."
        yield FieldError("serviceDetails.duration", message, "OUT_OF_RANGE")
    if details.get("skillLevel") not in set(SkillLevel):
        yield FieldError("serviceDetails.skillLevel", "Choose one of the skill levels.", "UNKNOWN_SKILL_LEVEL")


def _availability(document: Document) -> Iterator[FieldError]:
    availability = _part(document, "availability")
    yield from _times(_part(availability, "availableHours"), "availability.availableHours")
    for index, day in enumerate(availability.get("availableDays") or []):
        if str(day).upper() not in WEEKDAYS:
            yield FieldError(f"availability.availableDays.{index}", "This is not a day of the week.", "UNKNOWN_WEEKDAY")
    capacity = availability.get("capacityPerSlot")
    if capacity is not None and not 1 <= capacity <= MOST_PLACES:
        message = f"Between 1 and {MOST_PLACES}, or empty for no limit."
        yield FieldError("availability.capacityPerSlot", message, "OUT_OF_RANGE")
    seen: set[str] = set()
    for index, city in enumerate(availability.get("availableCities") or []):
        key = " ".join(str(city).split()).casefold()
        if not key or key in seen:
            yield FieldError(f"availability.availableCities.{index}", "Name each city once.", "DUPLICATE")
        seen.add(key)


def _requirements(document: Document) -> Iterator[FieldError]:
    requirements = _part(document, "requirements")
    if not 0 <= (requirements.get("advanceBookingHours") or 0) <= 24 * 30:
        yield FieldError("requirements.advanceBookingHours", "Between 0 and 720 hours.", "OUT_OF_RANGE")
    youngest, oldest = requirements.get("minAge"), requirements.get("maxAge")
    for name, age in (("minAge", youngest), ("maxAge", oldest)):
        if age is not None and not 0 <= age <= OLDEST:
            yield FieldError(f"requirements.{name}", f"Between 0 and {OLDEST} years.", "OUT_OF_RANGE")
    if youngest is not None and oldest is not None and youngest > oldest:
        yield FieldError("requirements.maxAge", "The oldest cannot be younger than the youngest.", "OUT_OF_RANGE")


def _questions(document: Document) -> Iterator[FieldError]:
    for index, faq in enumerate(document.get("faqs") or []):
        for part in ("question", "answer"):
            if not (faq.get(part) or "").strip():
                yield FieldError(f"faqs.{index}.{part}", f"The {part} is missing.", "REQUIRED")


def _part(document: Document, name: str) -> Document:
    return document.get(name) or {}


_CHECKS: tuple[Callable[[Document], Iterator[FieldError]], ...] = (
    _identity,
    _price,
    _package,
    _surge,
    _visit,
    _availability,
    _requirements,
    _questions,
)
