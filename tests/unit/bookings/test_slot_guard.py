"""What claims are called, and how a booking remembers them."""

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from bookings import slot_guard

PATIENT = ObjectId("6b02ee6354bb8f95d9a320be")

claims = st.sets(
    st.tuples(st.sampled_from(["person:a", "provider:b", "seat:IV_DRIP:new delhi:0"]), st.integers(0, 40)).map(
        lambda claim: f"{claim[0]}:{claim[1]}"
    )
)


@given(held=claims)
def test_it_remembers_exactly_what_was_claimed(held: set[str]) -> None:
    remembered = slot_guard.runs(held)

    assert sorted(slot_guard.claims_of({"claims": remembered})) == sorted(held)


def test_it_remembers_unbroken_cells_as_one_run() -> None:
    held = ["person:a:11", "person:a:9", "person:a:10", "person:a:13"]

    assert slot_guard.runs(held) == [
        {"resource": "person:a", "first": 9, "last": 11},
        {"resource": "person:a", "first": 13, "last": 13},
    ]


def test_old_documents_remember_nothing() -> None:
    assert slot_guard.claims_of({}) == slot_guard.claims_of({"claims": None}) == []


def test_it_names_a_person_without_telling_who() -> None:
    other = slot_guard.person_resource(PATIENT, "Lakshmi Rao")

    assert other == slot_guard.person_resource(PATIENT, "  LAKSHMI  rao ")
    assert other != slot_guard.person_resource(PATIENT) == f"person:{PATIENT}"
    assert other != slot_guard.person_resource(ObjectId(), "Lakshmi Rao")
    assert "lakshmi" not in other.lower()


def test_it_names_a_place_by_the_city_however_it_is_written() -> None:
    assert slot_guard.seat_resource("IV_DRIP", "New  Delhi", 0) == slot_guard.seat_resource("IV_DRIP", "new delhi", 0)


def test_it_knows_the_claims_on_a_providers_time() -> None:
    assert slot_guard.of_provider(["person:a:1", "provider:b:1", "seat:c:d:0:1"]) == ["provider:b:1"]
