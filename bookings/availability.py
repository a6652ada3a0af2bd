"""The slots endpoint: which times of a service can be booked, and what they cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from orjson import Fragment

from booking_service.api.renderers import encode
from bookings import repositories, scheduling, slot_guard, terms
from bookings.changing import moment
from bookings.scheduling import EmptyReason, Slot
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
    rules = terms.rules_of(service)
    free = _free_seats(service, days, [city] if city else service.cities)
    found, reason = scheduling.slots(rules, days=days, city=city, now=moment(), zone=terms.zone(), free=free)
    written = {starts_at: text for day in days for starts_at, text in _written(service, day)} if found else {}
    return Offer([_fragment(slot, written[slot.starts_at]) for slot in found], reason)


def _fragment(slot: Slot, text: bytes) -> Fragment:
    return Fragment(text if slot.available else text.replace(FREE, TAKEN))


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


def _free_seats(service: CatalogService, days: Sequence[date], cities: Iterable[str]) -> dict[int, int] | None:
    """The places left in each cell where some are taken: of the city, or of the emptiest of several."""
    if service.capacity_per_slot is None:
        return None
    first, _ = scheduling.opening(days[0], terms.rules_of(service), terms.zone())
    _, last = scheduling.opening(days[-1], terms.rules_of(service), terms.zone())
    cells = scheduling.cells(first, last + timedelta(hours=1))
    taken = [_taken(service.name, city, service.capacity_per_slot, cells) for city in cities]
    full = set.intersection(*(set(counts) for counts in taken)) if taken else set()
    return {cell: service.capacity_per_slot - min(counts[cell] for counts in taken) for cell in full}


def _taken(service: str, city: str, capacity: int, cells: range) -> Counter[int]:
    seats = [slot_guard.seat_resource(service, city, seat) for seat in range(capacity)]
    return Counter(int(claim.rpartition(":")[2]) for claim in repositories.claims_taken(seats, cells))
