"""POST /api/bookings/:id/reschedule and PUT /api/bookings/:id."""

from datetime import timedelta
from functools import partial

import pytest

from bookings import moving, services, visits
from bookings.exceptions import PatientOverlap
from catalog import services as catalog
from tests.factories import STAFF, booking_made, patient_made, service_made, tomorrow, visit_input
from tests.integration.bookings.parallel import in_parallel

SURGE = {"enabled": True, "surgeMultiplier": 2, "surgeHours": [{"start": "18:00", "end": "22:00"}]}


def move(api, actor, booking, at, **more):
    return api(actor)("POST", f"/bookings/{booking['_id']}/reschedule", {"startsAt": at.isoformat(), **more})


# --- reschedule ------------------------------------------------------------------------------------------------------
def test_it_moves_the_visit_and_its_claims(api, asha, outbox, claims):
    booking = booking_made(asha)
    before = claims()

    answer = move(api, asha, booking, tomorrow(15), reason="work")

    assert answer.status_code == 200, answer.body
    moved = answer.body["data"]
    assert moved["startsAt"] == tomorrow(15).isoformat().replace("+00:00", ".000Z")
    assert moved["scheduledTime"] == "15:00"
    assert moved["status"] == "REQUESTED"
    assert moved["version"] == 2
    assert len(claims()) == len(before)
    assert not set(before) & set(claims())
    assert outbox.types() == ["booking.created", "booking.rescheduled"]
    timeline = api(asha)("GET", f"/bookings/{booking['_id']}/timeline").body["data"]
    assert (timeline[-1]["change"], timeline[-1]["reason"]) == ("RESCHEDULED", "work")


def test_it_takes_date_and_time_too(api, asha):
    booking = booking_made(asha)
    day = tomorrow(days=2).date().isoformat()

    answer = api(asha)(
        "POST", f"/bookings/{booking['_id']}/reschedule", {"scheduledDate": day, "scheduledTime": "04:05 PM"}
    )

    assert answer.body["data"]["startsAt"] == f"{day}T10:35:00.000Z"
    assert answer.body["data"]["scheduledTime"] == "04:05 PM"


def test_it_moves_by_less_than_the_visits_length(api, asha, claims):
    booking = booking_made(asha)

    assert move(api, asha, booking, tomorrow(10, 10)).status_code == 200
    assert len(claims()) == 6
    assert move(api, asha, booking, tomorrow(10)).status_code == 200
    assert len(claims()) == 6


def test_it_prices_the_new_time(api, asha, outbox, documents, paid):
    service_made("IV_DRIP", pricing={"basePrice": 499, "currency": "INR", "surgePricing": SURGE})
    booking = booking_made(asha, serviceType="IV_DRIP")
    paid(booking["_id"])

    moved = move(api, asha, booking, tomorrow(18)).body["data"]

    assert moved["pricing"]["payableAmount"] == 1354.29
    assert moved["payment"]["balance"] == 677.15
    assert moved["payment"]["paidAmount"] == 677.14
    back = move(api, asha, booking, tomorrow(10)).body["data"]
    assert back["pricing"]["payableAmount"] == 677.14
    assert back["payment"]["balance"] == 0


def test_another_visit_in_the_way_leaves_everything_as_it_was(api, asha, outbox, claims, documents):
    booking, other = booking_made(asha), booking_made(asha, startsAt=tomorrow(15))
    before, held = documents("nursebookings").find_one({"_id": booking["_id"]}), claims()

    answer = move(api, asha, booking, tomorrow(15, 15))

    assert (answer.status_code, answer.body["code"]) == (409, "PATIENT_OVERLAP")
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before
    assert claims() == held
    assert outbox.types() == ["booking.created"] * 2
    services.booking_cancel(actor=asha, booking_id=other["_id"])
    assert move(api, asha, booking, tomorrow(15, 15)).status_code == 200


def test_a_full_service_leaves_everything_as_it_was(api, asha, claims):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    booking = booking_made(asha, serviceType="IV_DRIP")
    booking_made(patient_made(), serviceType="IV_DRIP", startsAt=tomorrow(15))
    held = claims()

    assert move(api, asha, booking, tomorrow(15)).body["code"] == "SLOT_TAKEN"
    assert claims() == held
    assert move(api, asha, booking, tomorrow(10, 15)).status_code == 200
    assert len(claims()) == len(held)


def test_it_moves_the_providers_time_with_it(api, asha, ravi, nurse, admin, claims):
    mine, theirs = booking_made(asha), booking_made(ravi, startsAt=tomorrow(15))
    for booking in (mine, theirs):
        visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)

    assert move(api, asha, mine, tomorrow(15, 40)).body["code"] == "PROVIDER_BUSY"
    assert move(api, asha, mine, tomorrow(15, 45)).status_code == 200
    assert move(api, asha, mine, tomorrow(14, 20)).body["code"] == "PROVIDER_BUSY"
    assert move(api, asha, mine, tomorrow(14, 15)).status_code == 200
    assert len([claim for claim in claims() if claim.startswith("provider:")]) == 18


@pytest.mark.parametrize(
    ("notice", "status"), [(timedelta(hours=4), 200), (timedelta(hours=4) - timedelta(seconds=1), 422)]
)
def test_patients_need_four_hours(api, asha, admin, at, notice, status):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    at(tomorrow(days=3) - notice)

    answer = move(api, asha, booking, tomorrow(days=5))

    assert answer.status_code == status
    if status == 422:
        assert answer.body["code"] == "RESCHEDULE_WINDOW"
        assert move(api, admin, booking, tomorrow(days=5)).status_code == 200


def test_patients_have_three_moves(api, asha, admin):
    booking = booking_made(asha)
    for hour in (11, 12, 13):
        assert move(api, asha, booking, tomorrow(hour)).status_code == 200

    assert move(api, asha, booking, tomorrow(14)).body["code"] == "RESCHEDULE_LIMIT"
    changed = api(asha)("PUT", f"/bookings/{booking['_id']}", {"startsAt": tomorrow(14).isoformat()})
    assert changed.body["code"] == "RESCHEDULE_LIMIT"
    assert move(api, admin, booking, tomorrow(14)).status_code == 200
    assert move(api, asha, booking, tomorrow(15)).body["code"] == "RESCHEDULE_LIMIT"


@pytest.mark.parametrize("status", ["EN_ROUTE", "IN_PROGRESS", "COMPLETED", "CANCELLED", "NO_SHOW", "FAILED"])
def test_a_visit_under_way_or_over_stays_where_it_is(api, asha, admin, documents, status):
    booking = booking_made(asha)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})

    for actor in (asha, admin):
        assert move(api, actor, booking, tomorrow(15)).body["code"] == "NOT_RESCHEDULABLE"


def test_the_rules_of_time_hold_for_moves(api, asha):
    booking = booking_made(asha)

    answer = move(api, asha, booking, tomorrow(23, 1))

    assert answer.status_code == 422
    assert {error["code"] for error in answer.body["errors"]} == {"NOT_ON_GRID", "OUTSIDE_HOURS"}


def test_many_move_into_a_place_just_freed_and_one_gets_it(asha, outbox, claims):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    holder = booking_made(asha, serviceType="IV_DRIP", startsAt=tomorrow(15))
    others = [patient_made() for _ in range(10)]
    waiting = [
        booking_made(patient, serviceType="IV_DRIP", startsAt=tomorrow(9, days=n + 1))
        for n, patient in enumerate(others)
    ]
    services.booking_cancel(actor=asha, booking_id=holder["_id"])

    results = in_parallel(
        [
            partial(moving.booking_reschedule, actor=patient, booking_id=booking["_id"], starts_at=tomorrow(15))
            for patient, booking in zip(others, waiting, strict=True)
        ]
    )

    assert sum(isinstance(result, dict) for result in results) == 1
    assert outbox.types().count("booking.rescheduled") == 1
    assert len(claims()) == 10 * 12


def test_one_move_asked_for_many_times_at_once_is_one_move(asha, outbox, claims, documents):
    service_made("IV_DRIP", availability__capacityPerSlot=2)
    booking = booking_made(asha, serviceType="IV_DRIP")

    results = in_parallel(
        [partial(moving.booking_reschedule, actor=asha, booking_id=booking["_id"], starts_at=tomorrow(12))] * 4
    )

    assert [result for result in results if not isinstance(result, dict)] == []
    assert documents("nursebookings").find_one({"_id": booking["_id"]})["rescheduleCount"] == 1
    assert len(claims()) == 12


@pytest.mark.parametrize("capacity", [None, 3])
def test_a_capacity_that_comes_or_shrinks_leaves_visits_where_they_are(api, asha, nurse, admin, claims, capacity):
    service_id = service_made("IV_DRIP", availability__capacityPerSlot=capacity)
    patients = [asha, patient_made(), patient_made()]
    made = [booking_made(patient, serviceType="IV_DRIP") for patient in patients]
    before = seats(claims())
    document = catalog.service_document(name="IV_DRIP")
    assert document is not None
    document["availability"]["capacityPerSlot"] = 1
    catalog.service_update(actor=STAFF, service_id=service_id, version=0, document=document)

    for patient, booking in zip(patients, made, strict=True):
        edited = api(patient)("PUT", f"/bookings/{booking['_id']}", {"specialRequirements": "ring twice"})
        assert edited.status_code == 200, edited.body
        assert move(api, patient, booking, tomorrow(10)).status_code == 200
    answer = api(admin)("PUT", f"/bookings/{made[2]['_id']}/assign", {"providerId": str(nurse.id)})

    assert answer.status_code == 200, answer.body
    assert seats(claims()) == before
    assert move(api, asha, made[0], tomorrow(15)).status_code == 200
    assert move(api, patients[1], made[1], tomorrow(15)).body["code"] == "SLOT_TAKEN"


def seats(claims):
    return [claim for claim in claims if claim.startswith("seat:")]


def test_one_booking_moved_many_ways_at_once_keeps_one_set_of_claims(asha, outbox, claims, documents):
    booking = booking_made(asha)

    results = in_parallel(
        [
            partial(moving.booking_reschedule, actor=asha, booking_id=booking["_id"], starts_at=tomorrow(hour))
            for hour in (12, 14, 16)
        ]
    )

    moved = [result for result in results if isinstance(result, dict)]
    assert len(claims()) == 6
    assert outbox.types().count("booking.rescheduled") == len(moved) >= 1
    kept = documents("nursebookings").find_one({"_id": booking["_id"]})
    assert kept["rescheduleCount"] == len(moved)


# --- update ----------------------------------------------------------------------------------------------------------
def put(api, actor, booking, changes, **headers):
    return api(actor)("PUT", f"/bookings/{booking['_id']}", changes, **headers)


def test_it_changes_what_was_said(api, asha, outbox):
    booking = booking_made(asha)
    changes = {
        "specialRequirements": "ring twice",
        "serviceDetails": {"description": "hand"},
        "patientCondition": {"mobility": "MOBILE"},
        "paymentMethod": "CASH",
    }

    answer = put(api, asha, booking, changes)

    assert answer.status_code == 200, answer.body
    data = answer.body["data"]
    assert data["payment"]["method"] == "CASH"
    assert {name: data[name] for name in list(changes)[:3]} == {name: changes[name] for name in list(changes)[:3]}
    assert (data["version"], answer["ETag"]) == (2, '"2"')
    assert api(asha)("GET", f"/bookings/{booking['_id']}").body["data"] == data
    assert outbox.types() == ["booking.created"]


def test_it_honours_if_match(api, asha):
    booking = booking_made(asha)

    assert put(api, asha, booking, {"specialRequirements": "a"}, If_Match='"1"').status_code == 200
    stale = put(api, asha, booking, {"specialRequirements": "b"}, If_Match='"1"')
    assert (stale.status_code, stale.body["code"]) == (412, "STALE")
    assert put(api, asha, booking, {"specialRequirements": "b"}, If_Match='"2"').status_code == 200


def test_of_many_updates_of_one_version_one_is_made(api, asha, documents):
    booking = booking_made(asha)
    client = api(asha)

    answers = in_parallel(
        [
            partial(client, "PUT", f"/bookings/{booking['_id']}", {"specialRequirements": str(n)}, If_Match='"1"')
            for n in range(10)
        ]
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    assert documents("nursebookings").find_one({"_id": booking["_id"]})["version"] == 2


def test_a_new_time_is_a_move(api, asha, outbox, claims):
    booking = booking_made(asha)

    answer = put(api, asha, booking, {"startsAt": tomorrow(15).isoformat(), "specialRequirements": "x"})

    assert answer.status_code == 200, answer.body
    assert answer.body["data"]["scheduledTime"] == "15:00"
    assert answer.body["data"]["specialRequirements"] == "x"
    assert outbox.types() == ["booking.created", "booking.rescheduled"]
    assert len(claims()) == 6


def test_another_person_has_another_time(api, asha, claims):
    booking = booking_made(asha)

    assert put(api, asha, booking, {"patientDetails": {"name": "Lakshmi", "age": 70}}).status_code == 200

    assert len(claims()) == 6
    assert api(asha)("POST", "/bookings", visit_input()).status_code == 201
    clash = put(api, asha, booking, {"patientDetails": {"name": "Asha Rao"}})
    assert clash.body["code"] == "PATIENT_OVERLAP"


def test_another_city_is_checked_and_claimed(api, asha, claims):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    booking = booking_made(asha, serviceType="IV_DRIP")
    location = {"address": {"street": "1 Marine Drive", "city": "Mumbai", "pincode": "400001"}}

    assert put(api, asha, booking, {"serviceLocation": location}).status_code == 200
    assert len([claim for claim in claims() if claim.startswith("seat:IV_DRIP:mumbai:")]) == 6
    location["address"]["city"] = "Atlantis"
    assert put(api, asha, booking, {"serviceLocation": location}).body["code"] == "CITY_NOT_SERVED"


def test_a_time_that_stays_is_not_judged_again(api, asha, at):
    booking = booking_made(asha, startsAt=tomorrow(days=2))
    at(tomorrow(days=2) - timedelta(minutes=30))

    assert put(api, asha, booking, {"specialRequirements": "ring twice"}).status_code == 200


@pytest.mark.parametrize("status", ["ASSIGNED", "CONFIRMED", "EN_ROUTE", "IN_PROGRESS", "COMPLETED", "CANCELLED"])
def test_it_changes_only_what_nobody_was_found_for(api, asha, documents, status):
    booking = booking_made(asha)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})

    assert put(api, asha, booking, {"specialRequirements": "x"}).body["code"] == "NOT_EDITABLE"


@pytest.mark.parametrize("body", [{"status": "COMPLETED"}, {"serviceType": "IV_DRIP"}, {"startsAt": None}, [], "x"])
def test_it_refuses_what_cannot_be_changed(api, asha, body):
    assert put(api, asha, booking_made(asha), body).status_code == 400


def test_the_slot_guard_refuses_the_service_too(asha):
    booking_made(asha)
    with pytest.raises(PatientOverlap):
        booking_made(asha)


# --- what changes nothing, and too much of it ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/reschedule", {"startsAt": "the present one", "reason": "work"}),
        ("PUT", "", {}),
        ("PUT", "", {"startsAt": "the present one"}),
        ("PUT", "", {"paymentMethod": "ONLINE"}),
        ("PUT", "", {"specialRequirements": "Ramp"}),
    ],
)
def test_what_changes_nothing_writes_nothing(api, asha, outbox, claims, documents, method, path, body):
    service_made("IV_DRIP")
    booking = booking_made(asha, serviceType="IV_DRIP", specialRequirements="Ramp")
    documents("servicecatalogs").update_one({"name": "IV_DRIP"}, {"$set": {"pricing.basePrice": 1}})
    before, held = documents("nursebookings").find_one({"_id": booking["_id"]}), claims()
    given = {**body, **({"startsAt": tomorrow(10).isoformat()} if "startsAt" in body else {})}

    for _ in range(4):
        answer = api(asha)(method, f"/bookings/{booking['_id']}{path}", given)
        assert answer.status_code == 200, answer.body

    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before
    assert claims() == held
    assert outbox.types() == ["booking.created"]


def test_a_booking_that_was_changed_very_often_stays_as_it_is(api, asha, documents, monkeypatch):
    monkeypatch.setattr(moving, "MOST_CHANGES", 4)
    booking = booking_made(asha)

    answers = [
        api(asha)("PUT", f"/bookings/{booking['_id']}", {"specialRequirements": str(n)}).status_code for n in range(5)
    ]

    assert answers == [200, 200, 200, 409, 409]
    assert documents("nursebookings").find_one({"_id": booking["_id"]})["specialRequirements"] == "2"


def test_how_a_paid_visit_was_paid_stays(api, asha, documents, paid):
    booking = booking_made(asha)
    paid(booking["_id"])
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": "REQUESTED"}})

    answer = api(asha)("PUT", f"/bookings/{booking['_id']}", {"paymentMethod": "CASH"})

    assert (answer.status_code, answer.body["errors"][0]["code"]) == (422, "NOT_CHANGEABLE")
    assert documents("nursebookings").find_one({"_id": booking["_id"]})["payment"]["method"] == "ONLINE"


def test_words_can_be_changed_when_the_service_is_offered_no_more(api, asha, documents):
    service_made("IV_DRIP")
    booking = booking_made(asha, serviceType="IV_DRIP")
    documents("servicecatalogs").update_one({"name": "IV_DRIP"}, {"$set": {"requirements.prescriptionRequired": True}})

    answer = api(asha)("PUT", f"/bookings/{booking['_id']}", {"specialRequirements": "Ramp"})

    assert answer.status_code == 200, answer.body


@pytest.mark.parametrize(
    "changes", [{"patientCondition": {"age": 20}}, {"patientDetails": {"name": "Ravi Rao", "age": 20}}]
)
def test_an_age_that_the_service_refuses_is_refused_wherever_it_is_told(api, asha, changes):
    service_made("ELDERLY_CARE_DAILY", requirements__minAge=60)
    booking = booking_made(asha, serviceType="ELDERLY_CARE_DAILY", patientCondition={"age": 70})

    answer = api(asha)("PUT", f"/bookings/{booking['_id']}", changes)

    assert (answer.status_code, answer.body["errors"][0]["code"]) == (422, "AGE_OUT_OF_RANGE")
