"""What a service of the catalog promises and demands, as plain typed values. Pure: no Django, no database.

Other apps know the catalog by these; documents and models stay inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
MOST_PLACES = 100  # at one time in a city: each is claimed and counted one by one
OPENS, CLOSES = time(6, 0), time(22, 0)  # when a document does not say


@dataclass(frozen=True, slots=True)
class SurgeWindow:
    """`[start, end)` in local time; an end before its start is the next day's. Equal ends hold no moment at all."""

    start: time
    end: time

    def holds(self, at: time) -> bool:
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(frozen=True, slots=True)
class Surge:
    """What a visit costs more inside one of `windows`."""

    enabled: bool = False
    multiplier: Decimal = Decimal(1)
    windows: tuple[SurgeWindow, ...] = ()

    def applies(self, at: time) -> bool:
        return self.enabled and any(window.holds(at) for window in self.windows)


@dataclass(frozen=True, slots=True)
class Package:
    """Several sessions sold together: `price` for all `total_sessions`, to be taken within `valid_days`."""

    price: Decimal
    total_sessions: int
    valid_days: int
    price_per_session: Decimal


@dataclass(frozen=True, slots=True)
class CatalogService:
    """One service, active or not.

    `opens`/`closes` are local; a close before the open is the next day's, the same time is round the clock. `days`
    (Monday is 0) and `cities` (as staff spell them) empty mean every day and everywhere. `capacity_per_slot` None means
    that only providers limit it.
    """

    id: ObjectId
    name: str
    slug: str
    category: str
    display_name: str
    base_price: Decimal
    currency: str = "INR"
    package: Package | None = None
    surge: Surge = field(default_factory=Surge)
    duration_minutes: int = 60
    skill_level: str = "BASIC"
    is_active: bool = True
    cities: tuple[str, ...] = ()
    opens: time = OPENS
    closes: time = CLOSES
    days: frozenset[int] = frozenset()
    closed_dates: frozenset[date] = frozenset()
    lead_hours: int = 0
    min_age: int | None = None
    max_age: int | None = None
    prescription_required: bool = False
    capacity_per_slot: int | None = None

    @property
    def round_the_clock(self) -> bool:
        return self.opens == self.closes


def service_of(document: Mapping[str, Any]) -> CatalogService:
    """The catalog document, ours or the monolith's, as plain values.

    What the monolith let through (a window without an end, a weekday nobody knows) had no effect and has none.
    """
    pricing, availability = document.get("pricing") or {}, document.get("availability") or {}
    requirements, details = document.get("requirements") or {}, document.get("serviceDetails") or {}
    hours, capacity = availability.get("availableHours") or {}, _whole(availability.get("capacityPerSlot"))
    return CatalogService(
        id=document["_id"],
        name=document["name"],
        slug=document.get("slug") or "",
        category=document["category"],
        display_name=document.get("displayName") or document["name"],
        base_price=decimal_of(pricing.get("basePrice")),
        currency=pricing.get("currency") or "INR",
        package=_package(pricing.get("packageDetails")),
        surge=_surge(pricing.get("surgePricing") or {}),
        duration_minutes=int(details.get("duration") or 60),
        skill_level=details.get("skillLevel") or "BASIC",
        is_active=bool(availability.get("isActive", True)),
        cities=tuple(availability.get("availableCities") or ()),
        opens=clock_time(hours.get("start")) or OPENS,
        closes=clock_time(hours.get("end")) or CLOSES,
        days=weekday_numbers(availability.get("availableDays") or ()),
        closed_dates=frozenset(_day(day) for day in availability.get("closedDates") or ()),
        lead_hours=int(requirements.get("advanceBookingHours") or 0),
        min_age=_whole(requirements.get("minAge")),
        max_age=_whole(requirements.get("maxAge")),
        prescription_required=bool(requirements.get("prescriptionRequired")),
        capacity_per_slot=None if capacity is None else min(capacity, MOST_PLACES),
    )


def decimal_of(value: Any) -> Decimal:
    """Money or a factor as the shortest decimal that means it: the monolith's floats, our Decimal128, nothing as 0."""
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return Decimal(str(value or 0))


def clock_time(text: Any) -> time | None:
    """`HH:MM`, `24:00` being midnight; None for anything else."""
    if isinstance(text, time):
        return text
    hour, colon, minute = str(text or "").strip().partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2):
        return None
    if (int(hour), int(minute)) == (24, 0):
        return time(0, 0)
    return time(int(hour), int(minute)) if int(hour) < 24 and int(minute) < 60 else None


def weekday_numbers(names: Any) -> frozenset[int]:
    """The weekdays named, Monday as 0; names that are no weekday are left out."""
    upper = [str(name).strip().upper() for name in names]
    return frozenset(WEEKDAYS.index(name) for name in upper if name in WEEKDAYS)


def _package(details: Mapping[str, Any] | None) -> Package | None:
    if not details or not details.get("sessions"):
        return None
    price, sessions = decimal_of(details.get("totalPrice")), int(details["sessions"])
    return Package(
        price=price,
        total_sessions=sessions,
        valid_days=int(details.get("duration") or 0),
        price_per_session=decimal_of(details.get("pricePerSession")) or (price / sessions).quantize(Decimal("0.01")),
    )


def _surge(surge: Mapping[str, Any]) -> Surge:
    times = [(clock_time(hours.get("start")), clock_time(hours.get("end"))) for hours in surge.get("surgeHours") or ()]
    return Surge(
        enabled=bool(surge.get("enabled")),
        multiplier=decimal_of(surge.get("surgeMultiplier")) or Decimal(1),
        windows=tuple(SurgeWindow(start, end) for start, end in times if start is not None and end is not None),
    )


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value)[:10])


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
