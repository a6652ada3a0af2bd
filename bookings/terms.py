"""What the catalog's terms mean for a booking: its rules, its price, the time and places it takes up."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from bson import Decimal128
from django.conf import settings

from bookings import slot_guard
from bookings.exceptions import UnknownService
from bookings.scheduling import VisitRules, city_key, midnight_utc
from catalog import services as catalog
from catalog.exceptions import ServiceNotFound
from catalog.pricing import Quote, quote
from catalog.terms import CatalogService


@lru_cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def zone() -> ZoneInfo:
    """The zone in which dates and times without an offset are meant."""
    return _zone(settings.SERVICE_TIME_ZONE)


def travel() -> timedelta:
    """What a provider needs after a visit before the next one."""
    return timedelta(minutes=settings.TRAVEL_BUFFER_MINUTES)


def service_named(service_type: str) -> CatalogService:
    """The catalog's terms for a service type. Raises UnknownService."""
    try:
        return catalog.service_resolve(service_type)
    except ServiceNotFound:
        raise UnknownService from None


def service_if_known(service_type: str) -> CatalogService | None:
    """The catalog's terms for a service type of an old document, which the catalog may never have had."""
    try:
        return catalog.service_resolve(service_type)
    except ServiceNotFound:
        return None


@lru_cache(maxsize=256)
def rules_of(service: CatalogService) -> VisitRules:
    """What the service demands of a visit."""
    return VisitRules(
        duration=timedelta(minutes=service.duration_minutes),
        is_active=service.is_active,
        cities=frozenset(city_key(city) for city in service.cities),
        opens=None if service.round_the_clock else service.opens,
        closes=None if service.round_the_clock else service.closes,
        weekdays=service.days,
        closed_dates=service.closed_dates,
        lead=timedelta(hours=service.lead_hours),
        min_age=service.min_age,
        max_age=service.max_age,
        prescription_required=service.prescription_required,
    )


def price_at(service: CatalogService, starts_at: datetime) -> Quote:
    """What a visit at that instant costs."""
    return quote(service, starts_at.astimezone(zone()))


def times_at(starts_at: datetime, service: CatalogService, told: str | None = None) -> dict[str, Any]:
    """The instants of a visit, and the monolith's date and text for them (the caller's own text where there is one)."""
    local = starts_at.astimezone(zone())
    return {
        "startsAt": starts_at,
        "endsAt": starts_at + rules_of(service).duration,
        "scheduledDate": midnight_utc(local.date()),
        "scheduledTime": told or f"{local:%H:%M}",
    }


def pricing_document(price: Quote) -> dict[str, Any]:
    """A price as a booking keeps it."""
    return {
        "basePrice": _stored(price.base_price),
        "surgeMultiplier": _stored(price.surge_multiplier),
        "platformFee": _stored(price.platform_fee),
        "gst": _stored(price.gst),
        "discount": _stored(price.discount),
        "totalAmount": _stored(price.total_amount),
        "payableAmount": _stored(price.payable_amount),
        "currency": price.currency,
        "surgeApplied": price.surge_applied,
    }


def _stored(amount: Decimal) -> Decimal128:
    """`amount` with its decimals. Prices are few and come again, and to make one takes longer than to look it up."""
    return _stored_text(str(amount))


@lru_cache(maxsize=1024)
def _stored_text(amount: str) -> Decimal128:
    return Decimal128(amount)


def need_of(
    booking: Mapping[str, Any], service: CatalogService, *, person: str, before: Mapping[str, Any] | None = None
) -> slot_guard.Need:
    """The time and places that the booking takes up, its provider's time included.

    Args:
        before: the booking as it was; where the visit stays when and where it is, it takes no further place.
    """
    stays = before is not None and _when_and_where(before) == _when_and_where(booking)
    return slot_guard.Need(
        person=person,
        starts_at=booking["startsAt"],
        ends_at=booking["endsAt"],
        service=service.name,
        city=city_of(booking),
        capacity=None if stays else service.capacity_per_slot,
        provider=booking.get("serviceProvider"),
        travel=travel(),
    )


def _when_and_where(booking: Mapping[str, Any]) -> tuple[Any, ...]:
    return (booking["startsAt"], booking["endsAt"], booking["serviceType"], city_key(city_of(booking)))


def city_of(booking: Mapping[str, Any]) -> str:
    """Where the visit is; "" for documents that do not say."""
    address = (booking.get("serviceLocation") or {}).get("address") or {}
    return str(address.get("city") or "")
