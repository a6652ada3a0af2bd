"""The slot guard: who has which time.

What is scarce
    A person's time (the one cared for), a provider's time (with the travel after a visit), and, for services with a
    capacity, the places of a service in a city.

The pattern in five lines
    1. Time is cut into 5-minute cells. A claim is one document in `slotclaims` with `_id` "<resource>:<cell>".
    2. A booking writes a claim for every cell of every resource it needs, in the transaction that writes the booking.
    3. `_id` is unique, so of two that want the same cell one fails; nobody looks first and writes later.
    4. The booking remembers its claims (`claims`: runs of cells), so exactly those are given back.
    5. They go back in the transaction that makes the booking CANCELLED, NO_SHOW or FAILED, or moves it elsewhere.
    Claims on places tell `occupancy` what changed, by an insert of the same transaction that conflicts with none.

What fails and how
    A cell another booking has: the insert fails, the transaction is aborted, nothing of it stays, and the resource in
    the failed `_id` says whether it is SLOT_TAKEN, PATIENT_OVERLAP or PROVIDER_BUSY. A cell another transaction is
    writing: MongoDB reports a write conflict and the whole transaction runs again, then sees the other's result.
    Places of a service ("seats") are chosen by what the transaction's snapshot shows as free; a seat that was taken
    since is such a write conflict, so the next try chooses another one, until none is free.
    A visit that stays when and where it is keeps the seats it has and takes none, whatever the capacity is by now.
    A crash: the transaction never commits. Claims without a booking can only come from a hand in the database;
    `sweep_bookings` looks for them and says so. Claims go by TTL a day after the visit: the past is not scarce.
"""

import hashlib
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from bson import ObjectId

from booking_service.api.errors import Conflict
from bookings import repositories
from bookings.exceptions import PatientOverlap, ProviderBusy, SlotTaken
from bookings.scheduling import cells, city_key

PERSON, PROVIDER, SEAT = "person", "provider", repositories.SEAT
_REFUSALS: dict[str, type[Conflict]] = {PERSON: PatientOverlap, PROVIDER: ProviderBusy, SEAT: SlotTaken}


@dataclass(frozen=True, slots=True)
class Need:
    """What a visit takes up. `capacity` None: no place but those it has. `travel` follows the visit."""

    person: str
    starts_at: datetime
    ends_at: datetime
    service: str
    city: str
    capacity: int | None = None
    provider: ObjectId | None = None
    travel: timedelta = timedelta(0)


def person_resource(patient: ObjectId, name: str | None = None) -> str:
    """The account holder, or by `name` another person of their account; hashed, as ids end up in logs."""
    if name is None:
        return f"{PERSON}:{patient}"
    digest = hashlib.sha256(city_key(name).encode()).hexdigest()[:16]
    return f"{PERSON}:{patient}:{digest}"


def seat_resource(service: str, city: str, seat: int) -> str:
    """One of the places of a service in a city."""
    return f"{seat_place(service, city)}:{seat}"


def seat_place(service: str, city: str) -> str:
    """What the places of a service in a city have in common. A ":" of the city's is none of the claim's."""
    return f"{SEAT}:{service}:{city_key(city).replace(':', '%3A')}"


def take(booking_id: ObjectId, need: Need, held: Collection[str] = ()) -> list[str]:
    """Claim what `need` says and `held` does not have yet, inside the caller's transaction; all claims afterwards.

    Raises:
        PatientOverlap, ProviderBusy, SlotTaken: another booking has it. The transaction cannot go on.
    """
    wanted = needed(booking_id, need, held)
    _claim(booking_id, wanted, held, need.ends_at)
    return wanted


def needed(booking_id: ObjectId, need: Need, held: Collection[str] = ()) -> list[str]:
    """The claims that `need` means, with those of `held` that serve it. Raises SlotTaken: no place is left."""
    return [*_person_and_provider(need), *_seats(booking_id, need, frozenset(held))]


def exchange(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Claim what a booking remembers `after` a change and did not `before`, and free what it needs no longer.

    Inside the transaction of that change and after it: who changed the booking meanwhile has won it, and the loser
    does not get as far as to meet the winner's claims, which are the booking's own.

    Raises:
        PatientOverlap, ProviderBusy, SlotTaken: another booking has it. The transaction cannot go on.
    """
    held, wanted = claims_of(before), claims_of(after)
    if wanted != held:
        _claim(after["_id"], wanted, held, after["endsAt"])
        give_back(after["_id"], set(held) - set(wanted))


def _claim(booking_id: ObjectId, wanted: Iterable[str], held: Collection[str], ends_at: datetime) -> None:
    had = set(held)
    new = [claim for claim in wanted if claim not in had]
    taken = repositories.claims_add(booking_id, new, repositories.expiry(ends_at))
    if taken is not None:
        raise _REFUSALS[taken.partition(":")[0]]()


def give_back(booking_id: ObjectId, claims: Iterable[str]) -> int:
    """Free the booking's claims, inside the caller's transaction; how many were freed."""
    return repositories.claims_remove(booking_id, claims)


def of_provider(claims: Iterable[str]) -> list[str]:
    """Those of `claims` that are on a provider's time."""
    return [claim for claim in claims if claim.startswith(f"{PROVIDER}:")]


def _person_and_provider(need: Need) -> list[str]:
    claims = [f"{need.person}:{cell}" for cell in cells(need.starts_at, need.ends_at)]
    if need.provider is not None:
        busy = cells(need.starts_at, need.ends_at + need.travel)
        claims += [f"{PROVIDER}:{need.provider}:{cell}" for cell in busy]
    return claims


def _seats(booking_id: ObjectId, need: Need, held: frozenset[str]) -> list[str]:
    """A claim on a place for each cell: those it has, else one place for the whole visit, else changing places."""
    wanted, place = cells(need.starts_at, need.ends_at), seat_place(need.service, need.city)
    kept = sorted(
        claim for claim in held if claim.rsplit(":", 2)[0] == place and int(claim.rpartition(":")[2]) in wanted
    )
    if need.capacity is None or len(kept) == len(wanted):
        return kept
    places = [f"{place}:{seat}" for seat in range(need.capacity)]
    taken = set(repositories.claims_taken(places, wanted)) - held
    free = [[seat for seat in range(need.capacity) if f"{place}:{seat}:{cell}" not in taken] for cell in wanted]
    if not all(free):
        raise SlotTaken
    if throughout := sorted(set.intersection(*map(set, free))):
        free = [[_one_of(throughout, booking_id, need.capacity)]] * len(wanted)
    return [
        f"{place}:{_one_of(seats, booking_id, need.capacity)}:{cell}" for seats, cell in zip(free, wanted, strict=True)
    ]


def _one_of(free: list[int], booking_id: ObjectId, capacity: int) -> int:
    """Everybody looks at another seat first, and at any after that, so that few want the same one, then or again."""
    first = int(str(booking_id)[-6:], 16) % capacity
    return first if first in free else random.choice(free)  # noqa: S311 - spreads bookings, keeps no secret


def runs(claims: Iterable[str]) -> list[dict[str, Any]]:
    """Claims as a booking remembers them: `{resource, first, last}` for each unbroken run of cells."""
    split = sorted((resource, int(cell)) for resource, _, cell in (claim.rpartition(":") for claim in claims))
    found = []
    for (resource, _), run in groupby(enumerate(split), key=lambda item: (item[1][0], item[1][1] - item[0])):
        run_cells = [cell for _, (_, cell) in run]
        found.append({"resource": resource, "first": run_cells[0], "last": run_cells[-1]})
    return found


def claims_of(booking: dict[str, Any]) -> list[str]:
    """The claims a booking remembers; [] for documents of before."""
    return [
        f"{run['resource']}:{cell}"
        for run in booking.get("claims") or ()
        for cell in range(run["first"], run["last"] + 1)
    ]
