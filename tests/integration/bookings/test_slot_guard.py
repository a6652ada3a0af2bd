"""What the slot guard takes and keeps."""

from datetime import timedelta

import pytest
from bson import ObjectId

from booking_service.djongo.transaction import atomic
from bookings import slot_guard
from bookings.exceptions import PatientOverlap, SlotTaken
from bookings.scheduling import cells
from bookings.slot_guard import Need
from tests.factories import tomorrow

# It begins to look at the first of two places.
BOOKING = ObjectId("6b02ee6354bb8f95d9000000")
TEN, HALF = tomorrow(10), timedelta(minutes=30)


def need(**changes):
    facts = {"person": "person:a", "starts_at": TEN, "ends_at": TEN + HALF, "service": "IV_DRIP", "city": "Pune"}
    return Need(**{**facts, "capacity": 2, **changes})


def take(wanted, booking=BOOKING, held=()):
    with atomic():
        return slot_guard.take(booking, wanted, held)


def on_seat(seat):
    return [f"seat:IV_DRIP:pune:{seat}:{cell}" for cell in cells(TEN, TEN + HALF)]


def seats(claims):
    return [claim for claim in claims if claim.startswith("seat:")]


def test_it_keeps_the_place_it_has_though_another_became_free(claims):
    other = ObjectId()
    theirs = take(need(person="person:b"), ObjectId("6b02ee6354bb8f95d9000002"))
    mine = take(need())
    assert seats(theirs) == on_seat(0)
    assert seats(mine) == on_seat(1)
    with atomic():
        slot_guard.give_back(ObjectId("6b02ee6354bb8f95d9000002"), theirs)

    assigned = take(need(provider=other), held=mine)

    assert seats(assigned) == on_seat(1)
    assert sorted(assigned) == claims()


def test_those_who_find_their_first_place_taken_do_not_all_look_at_one_other(claims):
    take(need(capacity=100))

    with atomic():
        chosen = {slot_guard.needed(BOOKING, need(person=f"person:{n}", capacity=100))[-1] for n in range(20)}

    assert len(chosen) > 10
    assert chosen.isdisjoint(claims())


def test_a_refusal_leaves_no_claim_behind(claims):
    take(need(capacity=1))
    before = claims()

    with pytest.raises(SlotTaken):
        take(need(person="person:b", capacity=1), ObjectId())
    with pytest.raises(PatientOverlap):
        take(need(service="PHYSIO_SESSION"), ObjectId())
    with pytest.raises(SlotTaken):
        take(need(person="person:c", capacity=0), ObjectId())

    assert claims() == before


def test_it_gives_back_only_what_is_the_bookings_own(claims):
    mine = take(need())

    with atomic():
        assert slot_guard.give_back(ObjectId(), mine) == 0
        assert slot_guard.give_back(BOOKING, []) == 0
    assert claims() == sorted(mine)
    with atomic():
        assert slot_guard.give_back(BOOKING, mine) == len(mine)
    assert claims() == []
