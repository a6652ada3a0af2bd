"""bookings.occupancy: which cells of a service in a city are full, whoever booked them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from booking_service.djongo import transaction
from bookings import moving, occupancy, repositories, slot_guard
from bookings.occupancy import Occupancy, Place
from bookings.scheduling import cells
from tests.factories import booking_made, patient_made, service_made, tomorrow

PUNE = {"type": "HOME", "address": {"city": "Pune"}}
CELLS = cells(tomorrow(6), tomorrow(22, days=10))


@pytest.fixture
def place() -> Place:
    service_id = service_made("IV_DRIP", availability__capacityPerSlot=2, availability__availableCities=[])
    return Place(service_id, "IV_DRIP", "pune", 2)


def book(minute: int = 0, days: int = 1, **changes):
    at = tomorrow(10, minute, days)
    return booking_made(patient_made(), serviceType="IV_DRIP", startsAt=at, **{"serviceLocation": PUNE, **changes})


def full(pod: Occupancy, *places: Place) -> set[int]:
    found = pod.full(places, CELLS)
    return {cell for block, cells in found.items() for cell in cells}


def full_elsewhere(pod: Occupancy, place: Place) -> set[int]:
    """As a thread of its own sees it."""
    try:
        return full(pod, place)
    finally:
        connection.close()


def half_hour(minute: int = 0, days: int = 1) -> set[int]:
    at = tomorrow(10, minute, days)
    return set(cells(at, at + timedelta(minutes=30)))


def test_it_is_right_after_each_booking_cancellation_and_move(place: Place) -> None:
    pods = [Occupancy(), Occupancy()]
    seen = lambda: [full(pod, place) for pod in pods]  # noqa: E731
    assert seen() == [set(), set()]

    book()
    assert seen() == [set(), set()]
    second = book(15)
    assert seen() == [half_hour() & half_hour(15)] * 2

    actor = patient_made()
    mine = booking_made(actor, serviceType="IV_DRIP", startsAt=tomorrow(10, 0, 5), serviceLocation=PUNE)
    book(0, 5)
    assert seen() == [(half_hour() & half_hour(15)) | half_hour(0, 5)] * 2

    moving.booking_reschedule(actor=actor, booking_id=mine["_id"], starts_at=tomorrow(10, 0, 6), reason="")
    assert seen() == [half_hour() & half_hour(15)] * 2
    loaded = repositories.booking_load(second["_id"], {})
    assert loaded
    with transaction.atomic():
        slot_guard.give_back(second["_id"], slot_guard.claims_of(loaded))
    assert seen() == [set(), set()]


def test_odd_changes_and_claims_take_the_slots_of_nobody(place: Place) -> None:
    book()
    book()
    rows, cell = connection.database["seatchanges"], min(half_hour())  # type: ignore[attr-defined]
    name = rows.find_one({})["place"]
    now = datetime.now(UTC)
    rows.insert_many([{"place": name, "at": now, "last": 1, **odd} for odd in ({}, {"first": "x"}, {"first": 1.5})])
    claims = [{"_id": f"{seat}:{cell}x", "expiresAt": now + timedelta(days=1)} for seat in place.seats()]
    connection.database["slotclaims"].insert_many(claims)  # type: ignore[attr-defined]

    assert full(Occupancy(), place) == half_hour()


def test_it_does_not_show_what_is_not_committed(place: Place) -> None:
    pod = Occupancy()
    book()
    full(pod, place)

    with pytest.raises(RuntimeError), transaction.atomic():
        book()
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(full_elsewhere, pod, place).result() == set()
        raise RuntimeError

    assert full(pod, place) == set()


def test_it_sees_a_booking_that_was_written_early_and_committed_late(place: Place) -> None:
    pod = Occupancy()
    book()
    with transaction.atomic():
        book()
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(full_elsewhere, pod, place).result()
        assert timedelta(seconds=60) < occupancy.LOOK_BACK  # MongoDB's transactionLifetimeLimitSeconds

    assert full(pod, place) == half_hour()


def test_it_asks_all_of_several_cities(place: Place) -> None:
    pod, elsewhere = Occupancy(), place._replace(city="delhi")
    book(), book()
    assert full(pod, place, elsewhere) == set()

    for _ in range(2):
        book(serviceLocation={"type": "HOME", "address": {"city": "Delhi"}})

    assert full(pod, place, elsewhere) == half_hour()
    assert full(pod) == set()


def test_it_knows_each_capacity_by_itself(place: Place) -> None:
    pod = Occupancy()
    book()
    assert full(pod, place) == set()
    book()

    assert full(pod, place) == half_hour()
    assert full(pod, place._replace(capacity=3)) == set()
    assert full(pod, place._replace(capacity=1)) == half_hour()


def test_it_keeps_so_many_places_and_forgets_them_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occupancy, "MOST_PLACES", 2)
    pod = Occupancy()
    for city in ("a", "b", "c"):
        full(pod, place._replace(city=city))
    assert [known.city for known in pod._known] == ["b", "c"]

    monkeypatch.setattr(occupancy, "KEEP_SECONDS", 0.0)
    book(), book()
    assert full(pod, place) == half_hour()
    repositories.SeatChange.objects.mongo_delete_many({})  # they go by TTL after an hour
    assert full(pod, place) == half_hour()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The ranges of cells that MongoDB had to count."""
    found: list[range] = []
    count = repositories.cells_full

    def recorded(resources: list[str], runs: list[range]) -> set[int]:
        found.extend(runs)
        return count(resources, runs)

    monkeypatch.setattr(repositories, "cells_full", recorded)
    return found


def test_it_counts_a_month_once_and_then_what_was_booked(place: Place, counted: list[range]) -> None:
    pod = Occupancy()
    full(pod, place)
    assert len(counted) == 1
    counted.clear()

    full(pod, place)
    assert counted == []
    book()
    full(pod, place), full(pod, place)

    assert [set(run) for run in counted] == [half_hour()]


def test_it_counts_whole_days_when_much_was_booked(
    place: Place, counted: list[range], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Occupancy()
    book()
    full(pod, place)
    counted.clear()
    monkeypatch.setattr(occupancy, "MOST_RUNS", 2)

    book(), book(0, 2), book(0, 2)

    assert full(pod, place) == half_hour() | half_hour(0, 2)
    assert len(counted) == 1
    assert half_hour() | half_hour(0, 2) <= set(counted[0])
