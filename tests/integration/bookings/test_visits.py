"""What providers and admins do, from assign to complete or no-show; and the review after it."""

from datetime import timedelta
from functools import partial

import pytest
from bson import ObjectId

from booking_service.api.callers import SYSTEM, Role
from booking_service.partners.main_api import SkillLevel
from bookings import services, visits
from bookings.exceptions import InvalidTransition, ProviderBusy
from bookings.lifecycle import Status
from tests.factories import booking_made, patient_made, service_made, tomorrow
from tests.integration.bookings.parallel import in_parallel

REPORT = {
    "vitalsChecked": {"bloodPressure": "120/80", "heartRate": 72, "temperature": 98.6},
    "proceduresDone": ["dressing"],
    "medicinesAdministered": [{"name": "Paracetamol", "dosage": "500 mg"}],
    "observations": "stable",
    "recommendations": "rest",
    "followUpRequired": True,
    "followUpDate": "2027-01-01",
}


def put(api, actor, booking, step, body=None):
    return api(actor)("PUT", f"/bookings/{booking['_id']}/{step}", body)


def assign(api, admin, booking, provider):
    return put(api, admin, booking, "assign", {"providerId": str(provider.id)})


@pytest.fixture
def assigned(asha, nurse, admin, outbox, monkeypatch):
    """A visit that a nurse has, and whose time has come."""
    booking = booking_made(asha)
    monkeypatch.setattr(visits, "moment", lambda: booking["startsAt"])
    return visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)


# --- assign ----------------------------------------------------------------------------------------------------------
def test_it_assigns_a_provider_and_claims_their_time(api, asha, nurse, admin, outbox, claims):
    booking = booking_made(asha)

    answer = assign(api, admin, booking, nurse)

    assert answer.status_code == 200, answer.body
    assert answer.body["data"]["status"] == "ASSIGNED"
    assert answer.body["data"]["serviceProvider"] == str(nurse.id)
    theirs = [claim for claim in claims() if claim.startswith(f"provider:{nurse.id}:")]
    assert len(theirs) == 6 + 3  # the visit and 15 minutes of travel
    assert outbox.types() == ["booking.created", "booking.assigned"]
    assert outbox.types("PARTNER") == ["notification.send"] * 2


@pytest.mark.parametrize(("hour", "minute", "status"), [(10, 40, 409), (10, 45, 200), (9, 20, 409), (9, 15, 200)])
def test_a_provider_needs_time_to_travel(api, asha, ravi, nurse, admin, assigned, outbox, hour, minute, status):
    other = booking_made(ravi, startsAt=tomorrow(hour, minute))

    answer = assign(api, admin, other, nurse)

    assert answer.status_code == status
    if status == 409:
        assert answer.body["code"] == "PROVIDER_BUSY"
        assert api(ravi)("GET", f"/bookings/{other['_id']}").body["data"]["status"] == "REQUESTED"
        assert outbox.types().count("booking.assigned") == 1


@pytest.mark.parametrize(
    ("service", "role", "skill", "is_active", "fits"),
    [
        ({"category": "NURSING"}, Role.NURSE, None, True, True),
        ({"category": "NURSING"}, Role.PHYSIOTHERAPIST, None, True, False),
        ({"category": "PHYSIOTHERAPY"}, Role.PHYSIOTHERAPIST, None, True, True),
        ({"category": "PHYSIOTHERAPY"}, Role.NURSE, None, True, False),
        ({"category": "NURSING"}, Role.ADMIN, None, True, False),
        ({"category": "NURSING"}, Role.NURSE, None, False, False),
        ({"category": "NURSING"}, Role.NURSE, SkillLevel.INTERMEDIATE, True, True),
        ({"category": "NURSING"}, Role.NURSE, SkillLevel.SPECIALIST, True, True),
        ({"category": "NURSING"}, Role.NURSE, SkillLevel.BASIC, True, False),
    ],
)
def test_a_provider_must_be_fit_for_it(api, asha, admin, directory, outbox, service, role, skill, is_active, fits):
    service_made("SOME_CARE", **service)
    provider = directory.add(role, skill, is_active=is_active)

    answer = assign(api, admin, booking_made(asha, serviceType="SOME_CARE"), provider)

    assert (answer.status_code, answer.body.get("code")) == ((200, None) if fits else (422, "PROVIDER_NOT_FIT"))
    assert outbox.types().count("booking.assigned") == fits


def test_one_assignment_asked_for_many_times_at_once_is_one(nurse, asha, admin, claims):
    booking = booking_made(asha)

    results = in_parallel(
        [partial(visits.booking_assign, actor=admin, booking_id=booking["_id"], provider_id=nurse.id)] * 4
    )

    assert [type(result) for result in results if not isinstance(result, dict)] == [InvalidTransition] * 3
    assert len(claims()) == 6 + 9


def test_nobody_unknown_is_assigned(api, asha, admin):
    booking = booking_made(asha)

    answer = put(api, admin, booking, "assign", {"providerId": str(ObjectId())})
    assert (answer.status_code, answer.body["code"]) == (404, "PROVIDER_NOT_FOUND")
    assert put(api, admin, booking, "assign", {"providerId": "me"}).status_code == 400
    assert put(api, admin, booking, "assign", {}).status_code == 400


def test_nothing_changes_while_the_directory_is_down(api, asha, nurse, admin, directory, documents, claims, outbox):
    booking = booking_made(asha)
    client = api(admin)
    client("GET", f"/bookings/{booking['_id']}")  # the admin is known by now
    before, held = documents("nursebookings").find_one({"_id": booking["_id"]}), claims()
    directory.is_down = True

    answer = client("PUT", f"/bookings/{booking['_id']}/assign", {"providerId": str(nurse.id)})

    assert (answer.status_code, answer.body["code"]) == (503, "PROVIDER_DIRECTORY_DOWN")
    assert answer["Retry-After"]
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before
    assert claims() == held
    assert outbox.types() == ["booking.created"]


def test_fifty_parallel_assigns_of_one_nurse_to_overlapping_visits_give_one(nurse, admin, outbox, documents, claims):
    made = [booking_made(patient_made(), startsAt=tomorrow(10, 5 * (n % 6))) for n in range(50)]
    documents("outbox").delete_many({})

    results = in_parallel(
        [
            partial(visits.booking_assign, actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
            for booking in made
        ]
    )

    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, ProviderBusy) for result in results) == 49
    assert outbox.types() == ["booking.assigned"]
    assert documents("nursebookings").count_documents({"serviceProvider": nurse.id}) == 1
    assert len([claim for claim in claims() if claim.startswith("provider:")]) == 9


def test_one_visit_goes_to_one_of_many_nurses(asha, admin, directory, outbox, claims):
    booking = booking_made(asha)
    nurses = [directory.add() for _ in range(10)]

    results = in_parallel(
        [
            partial(visits.booking_assign, actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
            for nurse in nurses
        ]
    )

    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, InvalidTransition) for result in results) == 9
    assert outbox.types().count("booking.assigned") == 1
    assert len([claim for claim in claims() if claim.startswith("provider:")]) == 9


# --- the visit -------------------------------------------------------------------------------------------------------
def test_a_visit_takes_place(api, asha, nurse, assigned, outbox, claims):
    steps = [("confirm", "CONFIRMED"), ("en-route", "EN_ROUTE"), ("start", "IN_PROGRESS")]
    for step, status in steps:
        answer = put(api, nurse, assigned, step)
        assert (answer.status_code, answer.body["data"]["status"]) == (200, status)

    done = put(api, nurse, assigned, "complete", REPORT)

    assert done.status_code == 200, done.body
    read = api(asha)("GET", f"/bookings/{assigned['_id']}").body["data"]
    assert read["status"] == "COMPLETED"
    assert read["actualService"]["serviceReport"] == REPORT
    assert read["actualService"]["startTime"] <= read["actualService"]["endTime"]
    assert read["actualService"]["duration"] == 0
    assert outbox.types()[-2:] == ["booking.confirmed", "booking.completed"]
    assert len(claims()) == 15  # a completed visit keeps its time
    stamps = read["statusTimestamps"]
    assert {"assignedAt", "confirmedAt", "enRouteAt", "startedAt", "completedAt"} <= set(stamps)


@pytest.mark.parametrize(
    "body",
    [
        {"serviceReport": {"observations": "stable", "vitals": {"heartRate": 72}}},
        {"observations": "stable", "vitals": {"heartRate": 72}},
    ],
)
def test_a_report_may_use_the_short_names(api, nurse, assigned, documents, body):
    for step in ("confirm", "en-route", "start"):
        put(api, nurse, assigned, step)

    assert put(api, nurse, assigned, "complete", body).status_code == 200
    kept = documents("nursebookings").find_one({"_id": assigned["_id"]})["actualService"]["serviceReport"]
    assert kept == {"observations": "stable", "vitalsChecked": {"heartRate": 72}}


@pytest.mark.parametrize(
    "body",
    [
        {"vitals": {"heartRate": "72"}},
        {"diagnosis": "x"},
        {"observations": "x" * 2001},
        {"photos": ["file:///etc/passwd"]},
        {"vitals": {"$set": 1}},
        {"procedures": ["A wound"], "proceduresDone": ["B"]},
        {"serviceReport": {"vitals": {"heartRate": 72}, "vitalsChecked": {"pulse": 80}}},
        [],
    ],
)
def test_a_malformed_report_completes_nothing(api, nurse, assigned, documents, body):
    for step in ("confirm", "en-route", "start"):
        put(api, nurse, assigned, step)

    answer = put(api, nurse, assigned, "complete", body)

    assert answer.status_code == 400
    assert documents("nursebookings").find_one({"_id": assigned["_id"]})["status"] == "IN_PROGRESS"


def test_no_word_of_a_report_leaves_in_an_event(api, nurse, assigned, documents):
    for step in ("confirm", "en-route", "start"):
        put(api, nurse, assigned, step)
    put(api, nurse, assigned, "complete", {"observations": "gangrene"})

    assert "gangrene" not in str([bytes(row["body"]) for row in documents("outbox").find()])


def test_a_declined_visit_is_searched_again_and_the_nurse_is_free(api, ravi, nurse, admin, assigned, claims, outbox):
    other = booking_made(ravi)

    answer = put(api, nurse, assigned, "decline", {"reason": "ill"})

    assert (answer.status_code, answer.body["data"]["status"]) == (200, "SEARCHING")
    assert "serviceProvider" not in answer.body["data"]
    assert not [claim for claim in claims() if claim.startswith("provider:")]
    assert len([claim for claim in claims() if claim.startswith("person:")]) == 12
    assert assign(api, admin, other, nurse).status_code == 200
    assert put(api, nurse, assigned, "confirm").status_code == 404


@pytest.mark.parametrize(
    ("who", "absent", "kept", "refunds"),
    [
        ("nurse", None, "PATIENT", False),
        ("nurse", "PROVIDER", "PROVIDER", True),
        ("admin", None, "PROVIDER", True),
        ("admin", "PATIENT", "PATIENT", False),
    ],
)
def test_a_no_show_names_who_was_absent(
    api, asha, nurse, admin, assigned, paid, claims, outbox, who, absent, kept, refunds
):
    actor = {"nurse": nurse, "admin": admin}[who]
    paid(assigned["_id"])
    put(api, nurse, assigned, "confirm")

    answer = put(api, actor, assigned, "no-show", {"reason": "door", **({"absentParty": absent} if absent else {})})

    assert answer.status_code == 200, answer.body
    data = answer.body["data"]
    assert (data["status"], data["noShow"]["absentParty"]) == ("NO_SHOW", kept)
    assert claims() == []
    assert outbox.types().count("booking.no_show") == 1
    assert outbox.types("PARTNER").count("refund.request") == refunds


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "step", "ahead"),
    [
        ("CONFIRMED", "en-route", timedelta(hours=4)),
        ("EN_ROUTE", "start", timedelta(hours=4)),
        ("IN_PROGRESS", "complete", timedelta(hours=4)),
        ("CONFIRMED", "no-show", timedelta(0)),
        ("EN_ROUTE", "no-show", timedelta(0)),
    ],
)
def test_a_provider_tells_nothing_of_a_visit_long_before_it(api, nurse, assigned, documents, at, status, step, ahead):
    documents("nursebookings").update_one({"_id": assigned["_id"]}, {"$set": {"status": status}})
    before, told = (
        documents("nursebookings").find_one({"_id": assigned["_id"]}),
        documents("outbox").count_documents({}),
    )
    at(assigned["startsAt"] - ahead - MINUTE)

    answer = put(api, nurse, assigned, step)

    assert (answer.status_code, answer.body["code"]) == (422, "TOO_EARLY")
    assert documents("nursebookings").find_one({"_id": assigned["_id"]}) == before
    assert documents("outbox").count_documents({}) == told
    at(assigned["startsAt"] - ahead)
    assert put(api, nurse, assigned, step).status_code == 200


def test_of_a_visit_without_an_hour_a_provider_tells_from_its_day_on(api, nurse, assigned, documents, at):
    unknown = {"$set": {"status": "CONFIRMED", "scheduledTime": "afternoon"}, "$unset": {"startsAt": 1, "endsAt": 1}}
    documents("nursebookings").update_one({"_id": assigned["_id"]}, unknown)
    at(tomorrow(0) - MINUTE)

    assert put(api, nurse, assigned, "no-show").body["code"] == "TOO_EARLY"
    at(tomorrow(0))
    assert put(api, nurse, assigned, "no-show").status_code == 200


def test_the_office_may_tell_at_any_time_how_a_visit_went(api, admin, assigned, at):
    at(assigned["startsAt"] - timedelta(days=9))

    for step in ("confirm", "en-route", "start", "complete"):
        assert put(api, admin, assigned, step).status_code == 200


def test_why_a_step_was_taken_is_kept(api, asha, nurse, assigned):
    for step in ("confirm", "en-route", "start"):
        assert put(api, nurse, assigned, step, {"reason": f"so we {step}"}).status_code == 200

    entries = api(asha)("GET", f"/bookings/{assigned['_id']}/timeline").body["data"]

    assert [entry["reason"] for entry in entries[-3:]] == ["so we confirm", "so we en-route", "so we start"]


def test_only_the_assigned_provider_acts(api, assigned, directory, asha):
    stranger = directory.add()

    for step in ("confirm", "decline", "en-route", "start", "complete", "no-show"):
        assert put(api, stranger, assigned, step).status_code == 404
        assert put(api, asha, assigned, step).status_code == 403
    assert put(api, stranger, assigned, "assign", {"providerId": str(stranger.id)}).status_code == 403


def test_a_step_out_of_order_names_what_is_allowed(api, nurse, assigned, documents, outbox):
    before = documents("nursebookings").find_one({"_id": assigned["_id"]})

    answer = put(api, nurse, assigned, "complete")

    assert (answer.status_code, answer.body["code"]) == (409, "INVALID_TRANSITION")
    assert answer.body["from"] == "ASSIGNED"
    assert answer.body["to"] == "COMPLETED"
    assert set(answer.body["allowed"]) == {"CONFIRMED", "SEARCHING", "CANCELLED"}
    assert documents("nursebookings").find_one({"_id": assigned["_id"]}) == before


def test_twenty_parallel_confirmations_send_one_event(nurse, assigned, outbox):
    results = in_parallel([lambda: visits.booking_confirm(actor=nurse, booking_id=assigned["_id"])] * 20)

    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, InvalidTransition) for result in results) == 19
    assert outbox.types().count("booking.confirmed") == 1


def test_the_office_can_begin_and_end_a_search(asha, paid, outbox):
    booking = booking_made(asha)
    paid(booking["_id"])

    failed = visits.booking_fail(actor=SYSTEM, booking_id=booking["_id"], reason="NO_PROVIDER_FOUND")

    assert failed["status"] == "FAILED"
    assert failed["refund"]["status"] == "REQUESTED"
    assert outbox.types()[-2:] == ["booking.cancelled", "booking.refund_requested"]
    other = booking_made(asha)
    assert visits.booking_search(actor=SYSTEM, booking_id=other["_id"])["status"] == "SEARCHING"


# --- review ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def completed(asha, documents):
    booking = booking_made(asha)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": Status.COMPLETED}})
    return booking


RATING = {
    "stars": 5,
    "review": "Kind and on time",
    "punctuality": 5,
    "professionalism": 4,
    "skillLevel": 5,
    "communication": 3,
}


def test_a_completed_visit_is_reviewed_once(api, asha, completed, documents):
    path = f"/bookings/{completed['_id']}/review"

    answer = api(asha)("POST", path, RATING)

    assert answer.status_code == 201
    rating = answer.body["data"]["rating"]
    assert {name: rating[name] for name in RATING} == RATING
    again = api(asha)("POST", path, {"stars": 1})
    assert (again.status_code, again.body["code"]) == (409, "ALREADY_REVIEWED")
    assert documents("servicecatalogs").find_one()["stats"]["totalReviews"] == 1


def test_of_many_reviews_at_once_one_counts(api, asha, completed, documents):
    client = api(asha)

    answers = in_parallel([lambda: client("POST", f"/bookings/{completed['_id']}/review", {"stars": 4})] * 20)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert documents("servicecatalogs").find_one()["stats"]["totalReviews"] == 1


def test_many_reviews_of_a_service_are_all_counted(api, documents):
    reviewers = []
    for _ in range(10):
        patient = patient_made()
        booking = booking_made(patient)
        documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": "COMPLETED"}})
        reviewers.append((api(patient), booking["_id"]))

    answers = in_parallel(
        [
            partial(client, "POST", f"/bookings/{booking_id}/review", {"stars": n % 5 + 1})
            for n, (client, booking_id) in enumerate(reviewers)
        ]
    )

    assert [answer.status_code for answer in answers] == [201] * 10
    stats = documents("servicecatalogs").find_one()["stats"]
    assert (stats["totalReviews"], float(str(stats["avgRating"]))) == (10, 3.0)


@pytest.mark.parametrize(
    "body",
    [{}, {"stars": 0}, {"stars": 6}, {"stars": "5"}, {"stars": 5, "review": "x" * 1001}, {"stars": 5, "mood": 1}],
)
def test_a_malformed_review_is_refused(api, asha, completed, body):
    assert api(asha)("POST", f"/bookings/{completed['_id']}/review", body).status_code == 400


def test_only_a_completed_visit_is_reviewed(api, asha):
    booking = booking_made(asha)

    answer = api(asha)("POST", f"/bookings/{booking['_id']}/review", {"stars": 5})

    assert (answer.status_code, answer.body["code"]) == (409, "NOT_REVIEWABLE")


def test_an_old_visit_of_an_unknown_service_can_be_reviewed(asha, completed, documents):
    documents("nursebookings").update_one({"_id": completed["_id"]}, {"$set": {"serviceType": "AURA_READING"}})

    reviewed = services.booking_review(actor=asha, booking_id=completed["_id"], rating={"stars": 3})

    assert reviewed["rating"]["stars"] == 3


@pytest.mark.parametrize("path", ["cancel", "confirm", "decline", "en-route", "start", "complete", "no-show"])
@pytest.mark.parametrize("body", [[], "", 0, False])
def test_a_body_that_is_no_object_does_nothing(api, asha, nurse, admin, documents, path, body):
    booking = booking_made(asha)
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    before = documents("nursebookings").find_one({"_id": booking["_id"]})

    answer = api(nurse)("PUT", f"/bookings/{booking['_id']}/{path}", body)

    assert answer.status_code == 400, answer.body
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before
