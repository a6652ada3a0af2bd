"""Which cells of a service with a capacity are full: kept in the process, and right after every booking.

What is scarce
    Reading. A month of a busy service is ten thousand claims; a month of slots asks which cells have none left.

The pattern in four lines
    1. Who takes or gives back a seat writes a `SeatChange` in the same transaction: the place, and which cells.
    2. A process keeps the full cells of a place by blocks of cells, and the changes it has seen.
    3. Each request reads, in one query, the changes of its places; cells of one it has not seen are counted again.
    4. Blocks nobody asked for yet are counted by MongoDB, which sends the full cells only.

What fails and how
    Counting comes after reading the changes, so it may see more than it knows of, never less: that change is met
    again and its cells are counted once more. A change carries the clock of its pod and shows only when it commits,
    so each request looks back LOOK_BACK. A place is forgotten after KEEP_SECONDS, well before its changes are; this
    also bounds what a process of an older version, which tells no changes, can hide while a rollout lasts.
    Nothing is decided here: the slot guard alone says who gets a seat.
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple

from bson import ObjectId

from bookings import repositories, slot_guard
from bookings.scheduling import NO_CELLS

CELLS_A_BLOCK = 288  # a day of them, in UTC
LOOK_BACK = timedelta(seconds=90)  # longer than MongoDB lets a transaction live, with clocks that differ
KEEP_SECONDS = 600.0
MOST_PLACES = 128
MOST_RUNS = 16  # that are counted one by one; more of them by whole blocks


class Place(NamedTuple):
    """A service with so many seats in a city. The id is there as another service may come to have the name."""

    service_id: ObjectId
    service: str
    city: str
    capacity: int

    @property
    def name(self) -> str:
        return slot_guard.seat_place(self.service, self.city)

    def seats(self) -> list[str]:
        return [slot_guard.seat_resource(self.service, self.city, seat) for seat in range(self.capacity)]


@dataclass(frozen=True, slots=True)
class Known:
    """The full cells of a place by block, right up to the changes in `seen`; those before `since` are all in it."""

    since: datetime
    forget_at: float
    seen: frozenset[ObjectId] = frozenset()
    full: Mapping[int, frozenset[int]] = field(default_factory=dict)


class Occupancy:
    """What a process knows of places. Safe for threads: what is known is replaced, never changed."""

    def __init__(self) -> None:
        self._known: OrderedDict[Place, Known] = OrderedDict()
        self._lock = Lock()

    def full(self, places: Collection[Place], cells: range) -> dict[int, frozenset[int]]:
        """For each block that `cells` touch, its cells in which none of `places` has a seat left."""
        blocks = blocks_of(cells)
        if not places:
            return dict.fromkeys(blocks, NO_CELLS)
        found = [known.full for known in self._up_to_date(places, blocks)]
        return {block: _in_all(tuple(full[block] for full in found)) for block in blocks}

    def _up_to_date(self, places: Collection[Place], blocks: range) -> Iterator[Known]:
        began = datetime.now(UTC) - LOOK_BACK
        known = {place: self._find(place, began) for place in places}
        since = min(one.since for one in known.values())
        changes: dict[str, list[dict[str, Any]]] = {place.name: [] for place in places}
        for change in repositories.seat_changes(changes.keys(), since):
            changes[change["place"]].append(change)
        for place, one in known.items():
            latest = _read(place, one, changes[place.name], blocks, began)
            self._keep(place, latest)
            yield latest

    def _find(self, place: Place, began: datetime) -> Known:
        known, now = self._known.get(place), time.monotonic()
        return known if known and now < known.forget_at else Known(since=began, forget_at=now + KEEP_SECONDS)

    def _keep(self, place: Place, known: Known) -> None:
        with self._lock:
            self._known[place] = known
            self._known.move_to_end(place)
            while len(self._known) > MOST_PLACES:
                self._known.popitem(last=False)


def _read(place: Place, known: Known, changes: list[dict[str, Any]], blocks: range, began: datetime) -> Known:
    """What is known after `changes` and with `blocks`, which are counted where they have to be."""
    new = [range(change["first"], change["last"] + 1) for change in changes if change["_id"] not in known.seen]
    missing = [block for block in blocks if block not in known.full]
    stale = [run for run in new if not known.full.keys().isdisjoint(blocks_of(run))]
    if len(stale) > MOST_RUNS:  # as while an import runs
        stale = list(_runs(sorted({block for run in stale for block in blocks_of(run)})))
    full = _counted(place, known.full, [*stale, *_runs(missing)], missing) if stale or missing else known.full
    return Known(began, known.forget_at, frozenset(change["_id"] for change in changes), full)


def _counted(
    place: Place, full: Mapping[int, frozenset[int]], runs: list[range], missing: list[int]
) -> dict[int, frozenset[int]]:
    counted = repositories.cells_full(place.seats(), runs)
    latest, again = {**dict.fromkeys(missing, NO_CELLS), **full}, frozenset(chain.from_iterable(runs))
    for block in latest.keys() & set(chain.from_iterable(map(blocks_of, runs))):
        latest[block] = (latest[block] - again) | counted.intersection(_cells(block))
    return latest


@lru_cache(maxsize=4096)  # of sets that stay the same objects until somebody books, so that they are soon compared
def _in_all(cells: tuple[frozenset[int], ...]) -> frozenset[int]:
    return frozenset.intersection(*cells)


def blocks_of(cells: range) -> range:
    """The blocks that `cells` touch."""
    return range(cells.start // CELLS_A_BLOCK, (cells.stop - 1) // CELLS_A_BLOCK + 1)


def _cells(block: int) -> range:
    return range(block * CELLS_A_BLOCK, (block + 1) * CELLS_A_BLOCK)


def _runs(blocks: Iterable[int]) -> Iterator[range]:
    """The cells of ascending `blocks`, in as few ranges as there are gaps."""
    begin = end = None
    for block in blocks:
        if block != end:
            if begin is not None and end is not None:
                yield range(begin * CELLS_A_BLOCK, end * CELLS_A_BLOCK)
            begin = block
        end = block + 1
    if begin is not None and end is not None:
        yield range(begin * CELLS_A_BLOCK, end * CELLS_A_BLOCK)


occupancy = Occupancy()
