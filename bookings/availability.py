"""The slots endpoint: which times of a service can be booked, and what they cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from orjson import Fragment

from booking_service.api.renderers import encode
from bookings import scheduling, terms
from bookings.changing import moment
from bookings.occupancy import Place, blocks_of, occupancy
from bookings.scheduling import NO_CELLS, EmptyReason, Slot, VisitRules, city_key
from catalog import services as catalog
from catalog.terms import CatalogService

# How a slot's JSON says whether it is free.
FREE, TAKEN = b'"available":true', b'"available":false'


@dataclass(frozen=True, slots=True)
class Offer:
    """The slots, each as JSON, or the reason why there are none."""

    slots: list[Fragment]
    reason: EmptyReason | None


def today() -> date:
    """Today where the service is."""
    return moment().astimezone(terms.zone()).date()


def slots_offered(*, id_or_slug: str, days: Sequence[date], city: str | None) -> Offer:
    """What can be booked on the local `days` in `city` (anywhere when None), with the price a booking would charge.

    Raises:
        ServiceNotFound.
    """
    service = catalog.service_find(id_or_slug)
    rules, full = terms.rules_of(service), _full(service, days, [city] if city else service.cities)
    found, reason = scheduling.slots(rules, days=days, city=city, now=moment(), zone=terms.zone(), full=full)
    written: dict[datetime, Fragment] = {}
    for day in days if found else ():
        written.update(_marked(service, day, full.get(day, NO_CELLS)))
    return Offer([written[slot.starts_at] for slot in found], reason)


@lru_cache(maxsize=1024)
def _marked(service: CatalogService, day: date, full: frozenset[int]) -> dict[datetime, Fragment]:
    """Each slot of a local day by its start, as JSON that says whether it is free."""
    slots = scheduling.slots_of_day(day, terms.rules_of(service), terms.zone(), full)
    texts = dict(_written(service, day))
    return {
        slot.starts_at: Fragment(
            texts[slot.starts_at] if slot.available else texts[slot.starts_at].replace(FREE, TAKEN)
        )
        for slot in slots
    }


@lru_cache(maxsize=1024)  # what a slot says changes with the service alone; a day has 48 at most
def _written(service: CatalogService, day: date) -> list[tuple[datetime, bytes]]:
    """The start of each slot of a local day, and the slot as JSON when it is free."""
    slots = scheduling.slots_of_day(day, terms.rules_of(service), terms.zone())
    return [(slot.starts_at, _json(slot, service)) for slot in slots]


def _json(slot: Slot, service: CatalogService) -> bytes:
    price = terms.price_at(service, slot.starts_at)
    offer = {
        "startsAt": slot.starts_at,
        "endsAt": slot.ends_at,
        "available": True,
        "price": price.payable_amount,
        "surgeApplied": price.surge_applied,
    }
    return bytes(memoryview(encode(offer)))  # a copy: what orjson returns goes on holding the 4 kB it wrote into


def _full(service: CatalogService, days: Sequence[date], cities: Iterable[str]) -> dict[date, frozenset[int]]:
    """The cells around each day in which no seat is left, in the city or in any of several; {} without a capacity."""
    if service.capacity_per_slot is None:
        return {}
    rules = terms.rules_of(service)
    cells = {day: _cells(day, rules, terms.zone()) for day in days}
    served = [city for city in map(city_key, cities) if not rules.cities or city in rules.cities]
    places = {Place(service.id, service.name, city, service.capacity_per_slot) for city in served}
    full = occupancy.full(places, range(cells[days[0]].start, cells[days[-1]].stop))
    return {day: _together(tuple(full[block] for block in blocks_of(of_day))) for day, of_day in cells.items()}


@lru_cache(maxsize=4096)
def _together(cells: tuple[frozenset[int], ...]) -> frozenset[int]:
    return NO_CELLS.union(*cells)


@lru_cache(maxsize=1024)
def _cells(day: date, rules: VisitRules, zone: ZoneInfo) -> range:
    """What the visits of a local day can touch: round the clock, the last one ends on the next day."""
    opens_at, closes_at = scheduling.opening(day, rules, zone)
    return scheduling.cells(opens_at, closes_at + rules.duration)
