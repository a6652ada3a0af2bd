"""Reading bookings: one, lists, timeline; who sees what; old documents; every list served by an index."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import Decimal128, ObjectId

from booking_service.api.callers import Role
from bookings import moving, reading, repositories, services, visits
from bookings.lifecycle import OPEN, Status
from bookings.scheduling import midnight_utc
from bookings.serializers import BookingInput, PatientDetailsInput, ReviewInput
from tests.factories import booking_made, tomorrow

CLINICAL = {
    "serviceDetails": {"description": "Knee wound"},
    "patientCondition": {"mobility": "BEDRIDDEN"},
    "specialRequirements": "insulin in the fridge",
}


def old_document(patient, **changes):
    """A booking as the monolith left it."""
    return {
        "_id": ObjectId(),
        "patient": patient,
        "serviceType": "INJECTION",
        "scheduledDate": datetime(2026, 10, 18, tzinfo=UTC),
        "scheduledTime": "02:30 PM",
        "estimatedDuration": 60,
        "serviceLocation": {"type": "HOME", "address": {"street": "1 Lake Road", "city": "Bangalore"}},
        "pricing": {"basePrice": 999, "gst": 206.79299999999998, "payableAmount": 1355.6429999999998},
        "payment": {"status": "PENDING"},
        "status": "REQUESTED",
        "statusTimestamps": {"requestedAt": datetime(2026, 10, 16, tzinfo=UTC)},
        "messages": [],
        "createdAt": datetime(2026, 10, 16, tzinfo=UTC),
        "updatedAt": datetime(2026, 10, 18, tzinfo=UTC),
        "__v": 0,
        **changes,
    }


# --- one booking -----------------------------------------------------------------------------------------------------
def test_it_shows_a_patient_their_booking_and_its_etag(api, asha):
    booking = booking_made(asha, **CLINICAL)

    answer = api(asha)("GET", f"/bookings/{booking['_id']}")

    assert answer.status_code == 200
    assert answer["ETag"] == '"1"'
    assert {name: answer.body["data"][name] for name in CLINICAL} == CLINICAL
    again = api(asha)("GET", f"/bookings/{booking['_id']}", If_None_Match='"1"')
    assert (again.status_code, again.body) == (304, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("PUT", "/cancel"),
        ("GET", "/cancellation-preview"),
        ("POST", "/reschedule"),
        ("GET", "/timeline"),
        ("POST", "/review"),
        ("GET", "/payment"),
        ("POST", "/payment"),
    ],
)
def test_a_stranger_cannot_tell_it_from_nothing(api, asha, ravi, nurse, documents, method, path):
    body = (
        {"startsAt": tomorrow(12).isoformat()} if path == "/reschedule" else {"stars": 5} if path == "/review" else {}
    )
    booking = booking_made(asha)
    before = documents("nursebookings").find_one({"_id": booking["_id"]})

    answers = [api(ravi)(method, f"/bookings/{which}{path}", body) for which in (booking["_id"], ObjectId(), "no-id")]

    assert [answer.status_code for answer in answers] == [404] * 3
    bodies = [{**answer.body, "requestId": ""} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    unassigned = api(nurse)(method, f"/bookings/{booking['_id']}{path}", body)
    assert unassigned.status_code in (403, 404)
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before


def test_a_provider_sees_clinical_fields_while_assigned_and_that_is_audited(api, asha, nurse, admin, documents):
    booking = booking_made(asha, **CLINICAL)
    path = f"/bookings/{booking['_id']}"
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)

    seen = api(nurse)("GET", path).body["data"]

    assert {name: seen[name] for name in CLINICAL} == CLINICAL
    line = documents("clinicalaccesses").find_one({"actorId": nurse.id}) or next(
        row
        for name in documents("patients").database.list_collection_names()
        for row in documents(name).find({"actorId": nurse.id, "objectId": str(booking["_id"])})
    )
    assert line["action"] == "READ"
    assert set(line["fields"]) >= set(CLINICAL)
    assert "Knee" not in str(line)

    listed = api(nurse)("GET", "/bookings/provider/me").body["data"]
    assert [row["_id"] for row in listed] == [str(booking["_id"])]
    assert not set(CLINICAL) & set(listed[0])

    visits.booking_decline(actor=nurse, booking_id=booking["_id"])
    assert api(nurse)("GET", path).status_code == 404


@pytest.mark.parametrize(("hours", "sees"), [(23, True), (25, False)])
def test_a_visit_that_nobody_ends_shows_a_provider_nothing_clinical_a_day_later(
    api, asha, nurse, admin, documents, hours, sees
):
    booking = booking_made(asha, **CLINICAL)
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    ended_at = datetime.now(UTC) - timedelta(hours=hours)
    times = {"startsAt": ended_at - timedelta(hours=1), "endsAt": ended_at}
    documents("nursebookings").update_one(
        {"_id": booking["_id"]}, {"$set": {**times, "timeline.0.reason": "Knee wound"}}
    )

    seen = api(nurse)("GET", f"/bookings/{booking['_id']}").body["data"]
    timeline = api(nurse)("GET", f"/bookings/{booking['_id']}/timeline").body["data"]

    assert (set(CLINICAL) <= set(seen)) is sees
    assert ("Knee wound" in str((seen, timeline))) is sees


@pytest.mark.parametrize(("days", "sees"), [(0, True), (3, False), (None, False)])
def test_a_visit_of_no_known_hour_ends_with_its_day(api, asha, nurse, documents, days, sees):
    day = None if days is None else midnight_utc(datetime.now(UTC).date() - timedelta(days=days))
    booking = old_document(asha.id, status="ASSIGNED", serviceProvider=nurse.id, scheduledDate=day, **CLINICAL)
    booking |= {"scheduledTime": "afternoon"}
    for known in ("startsAt", "endsAt"):
        booking.pop(known, None)
    documents("nursebookings").insert_one(booking)

    seen = api(nurse)("GET", f"/bookings/{booking['_id']}")

    assert seen.status_code == 200
    assert (set(CLINICAL) <= set(seen.body["data"])) is sees


def test_a_provider_sees_of_the_payment_how_and_whether_it_is_to_be_paid(api, asha, nurse, admin, documents):
    booking = booking_made(asha)
    order = {"orderId": "order-1", "checkoutUrl": "https://pay.example.com/secret"}
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"payment.order": order}})
    path = f"/bookings/{booking['_id']}"
    assigned = api(admin)("PUT", f"{path}/assign", {"providerId": str(nurse.id)}).body["data"]

    confirmed = api(nurse)("PUT", f"{path}/confirm").body["data"]
    read = api(nurse)("GET", path).body["data"]
    (listed,) = api(nurse)("GET", "/bookings/provider/me").body["data"]

    assert [shown["payment"] for shown in (confirmed, read, listed)] == [{"status": "PENDING", "method": "ONLINE"}] * 3
    assert assigned["payment"]["order"] == order


def test_a_price_that_is_none_takes_no_list_away(api, asha, nurse, documents):
    odd = [old_document(asha.id, serviceProvider=nurse.id) for _ in range(3)]
    for booking, amount in zip(odd, (float("inf"), float("nan"), 1e300), strict=True):
        booking["pricing"]["payableAmount"] = amount
    documents("nursebookings").insert_many(odd)

    assert len(ids(api(asha)("GET", "/bookings"))) == 3
    assert len(ids(api(nurse)("GET", "/bookings/provider/me"))) == 3


@pytest.mark.parametrize(
    "changes",
    [
        *({"estimatedDuration": odd} for odd in ("x", [1], datetime(2026, 1, 1), float("nan"), 2**62)),
        {"scheduledDate": datetime(1, 1, 1), "scheduledTime": "02:00"},
    ],
    ids=str,
)
def test_a_visit_of_no_readable_length_or_day_takes_no_list_away(api, asha, nurse, documents, changes):
    documents("nursebookings").insert_one(old_document(asha.id, serviceProvider=nurse.id, **changes))

    assert len(ids(api(asha)("GET", "/bookings"))) == 1
    assert len(ids(api(nurse)("GET", "/bookings/provider/me"))) == 1


def test_a_provider_sees_no_clinical_field_of_a_visit_that_is_over(api, asha, nurse, admin):
    booking = booking_made(asha, **CLINICAL)
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    services.booking_cancel(actor=admin, booking_id=booking["_id"])

    seen = api(nurse)("GET", f"/bookings/{booking['_id']}").body["data"]

    assert seen["status"] == "CANCELLED"
    assert not set(CLINICAL) & set(seen)
    assert set(CLINICAL) <= set(api(admin)("GET", f"/bookings/{booking['_id']}").body["data"])


IMPORTED = {
    "messages": [{"sender": "PATIENT", "message": "I am HIV positive"}],
    "tracking": {"lat": 12.9, "lng": 77.6},
    "nurseNotes": "HIV positive",
}


def test_what_nobody_foresaw_is_hidden_from_a_provider_of_a_visit_that_is_over(api, asha, nurse, documents):
    old = old_document(asha.id, status="COMPLETED", serviceProvider=nurse.id, **IMPORTED)
    documents("nursebookings").insert_one(old)

    seen = api(nurse)("GET", f"/bookings/{old['_id']}").body["data"]
    (listed,) = api(nurse)("GET", "/bookings/provider/me").body["data"]

    assert (seen["_id"], listed["_id"]) == (str(old["_id"]),) * 2
    assert not set(IMPORTED) & {*seen, *listed}
    assert documents("clinicalaccess").count_documents({"actorId": nurse.id}) == 0


def test_what_nobody_foresaw_is_shown_to_an_admin_and_that_is_a_line(api, asha, admin, documents):
    old = old_document(asha.id, status="COMPLETED", **IMPORTED)
    documents("nursebookings").insert_one(old)

    seen = api(admin)("GET", f"/bookings/{old['_id']}").body["data"]

    assert {name: seen[name] for name in IMPORTED} == IMPORTED
    (line,) = documents("clinicalaccess").find({"actorId": admin.id})
    assert (line["action"], line["fields"]) == ("READ", sorted(IMPORTED))


WORDED = {
    "patientDetails": {"name": "Asha", "condition": "HIV"},
    "cancellation": {"cancelledBy": "PATIENT", "reason": "HIV", "details": "HIV positive"},
    "noShow": "Asked for HIV medicine",
    "rating": {"stars": 5, "review": "Kind", "comment": "though I am HIV positive"},
}
BARE = {"patientDetails": {"name": "Asha"}, "cancellation": {"cancelledBy": "PATIENT"}, "rating": {"stars": 5}}


def test_what_nobody_foresaw_in_a_part_of_a_booking_counts_as_what_people_wrote(api, asha, nurse, admin, documents):
    old = old_document(asha.id, status="COMPLETED", serviceProvider=nurse.id, **WORDED)
    documents("nursebookings").insert_one(old)

    hers, all_of_it = (api(who)("GET", f"/bookings/{old['_id']}").body["data"] for who in (nurse, admin))

    assert {name: hers[name] for name in WORDED if name in hers} == BARE
    assert {name: all_of_it[name] for name in WORDED} == WORDED
    (line,) = documents("clinicalaccess").find({})
    said = ["cancellation.details", "cancellation.reason", "noShow", "patientDetails.condition"]
    assert (line["actorId"], line["fields"]) == (admin.id, [*said, "rating.comment", "rating.review"])


def test_of_what_patients_may_send_in_a_part_of_a_booking_all_but_the_review_is_plain():
    assert set(PatientDetailsInput().fields) == reading.PLAIN_PARTS["patientDetails"]
    assert set(ReviewInput().fields) - {"review"} == reading.PLAIN_PARTS["rating"] - {"ratedAt"}


def test_of_every_field_that_the_service_writes_somebody_said_whether_it_is_clinical(
    asha, nurse, admin, paid, documents
):
    booking = booking_made(asha, **CLINICAL, startsAt=tomorrow(days=3))
    act = {"booking_id": booking["_id"]}
    moving.booking_reschedule(actor=asha, **act, starts_at=tomorrow(12, days=3))
    paid(booking["_id"])
    visits.booking_assign(actor=admin, **act, provider_id=nurse.id)
    for step in (visits.booking_confirm, visits.booking_en_route, visits.booking_start):
        step(actor=admin, **act)
    visits.booking_complete(actor=admin, **act, report={"observations": "Heals well"})
    services.booking_review(actor=asha, **act, rating={"stars": 5})

    (stored,) = documents("nursebookings").find({})

    assert set(stored) <= reading.PLAIN_FIELDS | set(reading.CLINICAL_FIELDS)
    assert set(BookingInput().fields) - {"paymentMethod"} <= reading.PLAIN_FIELDS | set(reading.CLINICAL_FIELDS)


def test_it_tells_every_change_and_who_made_it(api, asha, nurse, admin):
    booking = booking_made(asha)
    path = f"/bookings/{booking['_id']}"
    api(admin)("PUT", f"{path}/assign", {"providerId": str(nurse.id)}, X_Request_ID="assign-1")
    api(nurse)("PUT", f"{path}/decline", {"reason": "ill"})
    api(asha)("DELETE", path, {"reason": "better"})

    entries = api(asha)("GET", f"{path}/timeline").body["data"]

    assert [(entry["from"], entry["to"], entry["role"], entry["reason"]) for entry in entries] == [
        (None, "REQUESTED", "PATIENT", ""),
        ("REQUESTED", "ASSIGNED", "ADMIN", ""),
        ("ASSIGNED", "SEARCHING", "NURSE", "ill"),
        ("SEARCHING", "CANCELLED", "PATIENT", "better"),
    ]
    assert entries[1]["requestId"] == "assign-1"
    assert entries[1]["actor"] == str(admin.id)
    assert all(entry["at"] for entry in entries)


# --- lists -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def week(asha, ravi):
    """Five visits of a patient, booked in an order that is not that of their times; and somebody else's."""
    booking_made(ravi)
    return [booking_made(asha, startsAt=tomorrow(10, days=day))["_id"] for day in (3, 1, 5, 2, 4)]


def ids(answer):
    assert answer.status_code == 200, answer.body
    return [ObjectId(row["_id"]) for row in answer.body["data"]]


def test_it_lists_the_patients_own_newest_first(api, asha, week):
    answer = api(asha)("GET", "/bookings")

    assert ids(answer) == week[::-1]
    assert answer.body["pagination"] == {"page": 1, "limit": 20, "total": 5, "pages": 1}
    assert not {"timeline", "claims", "messages"} & set(answer.body["data"][0])


@pytest.mark.parametrize(("order", "expected"), [("startsAt", [1, 3, 0, 4, 2]), ("-startsAt", [2, 4, 0, 3, 1])])
def test_it_sorts(api, asha, week, order, expected):
    assert ids(api(asha)("GET", f"/bookings?sort={order}")) == [week[n] for n in expected]


def test_it_pages_and_counts_all(api, asha, week):
    pages = [api(asha)("GET", f"/bookings?limit=2&page={page}") for page in (1, 2, 3, 4)]

    assert [ids(page) for page in pages] == [week[:2:-1], week[2:0:-1], week[:1], []]
    assert [page.body["pagination"]["total"] for page in pages] == [5] * 4
    assert pages[0].body["pagination"]["pages"] == 3


def test_it_filters(api, asha, week):
    services.booking_cancel(actor=asha, booking_id=week[0])
    day = lambda days: tomorrow(days=days).date().isoformat()  # noqa: E731
    get = lambda query: ids(api(asha)("GET", f"/bookings?{query}"))  # noqa: E731

    assert get("status=CANCELLED") == [week[0]]
    assert get("status=CANCELLED&status=REQUESTED") == week[::-1]
    assert get("status=requested&sort=startsAt") == [week[1], week[3], week[4], week[2]]
    assert get("serviceType=WOUND_DRESSING") == week[::-1]
    assert get("serviceType=.*") == []
    assert get(f"from={day(4)}") == [week[4], week[2]]
    assert get(f"to={day(2)}") == [week[3], week[1]]
    assert get(f"from={day(2)}&to={day(2)}") == [week[3]]
    at = tomorrow(10, days=2).isoformat()
    assert get(f"from={at}&to={at}") == [week[3]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=DONE", "status"),
        ("sort=price", "sort"),
        ("from=banana", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-12-01T10:00:00", "from"),
        ("serviceType=", "serviceType"),
        ("page=0", "page"),
        ("limit=101", "limit"),
    ],
)
def test_it_refuses_odd_filters(api, asha, query, field):
    answer = api(asha)("GET", f"/bookings?{query}")

    assert answer.status_code == 400
    assert [error["field"] for error in answer.body["errors"]] == [field]


def test_upcoming_has_todays_visits_until_they_end(api, asha, documents):
    now = datetime.now(UTC)
    running, over, later, cancelled = (booking_made(asha, startsAt=tomorrow(hour))["_id"] for hour in (9, 10, 11, 12))
    services.booking_cancel(actor=asha, booking_id=cancelled)
    for booking_id, minutes in ((running, -20), (over, -31)):
        starts_at = now + timedelta(minutes=minutes)
        times = {"startsAt": starts_at, "endsAt": starts_at + timedelta(minutes=30)}
        documents("nursebookings").update_one({"_id": booking_id}, {"$set": times})

    assert ids(api(asha)("GET", "/bookings/upcoming")) == [running, later]


def test_history_has_what_is_over(api, asha, documents):
    made = [booking_made(asha, startsAt=tomorrow(8 + n)) for n in range(5)]
    for booking, status in zip(made, ("COMPLETED", "CANCELLED", "NO_SHOW", "FAILED", "CONFIRMED"), strict=True):
        documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})

    assert ids(api(asha)("GET", "/bookings/history")) == [booking["_id"] for booking in made[3::-1]]


@pytest.mark.parametrize("path", ["", "/upcoming", "/history"])
def test_lists_of_patients_are_for_patients(api, nurse, admin, path):
    assert api(nurse)("GET", f"/bookings{path}").status_code == 403
    assert api(admin)("GET", f"/bookings{path}").status_code == 403


def test_the_list_of_a_provider_is_for_providers(api, asha, nurse):
    assert api(asha)("GET", "/bookings/provider/me").status_code == 403
    assert ids(api(nurse)("GET", "/bookings/provider/me")) == []


# --- indexes ---------------------------------------------------------------------------------------------------------
def stages(plan):
    """The names of all stages of a query plan."""
    found = {plan.get("stage")}
    for child in [plan.get("inputStage"), *plan.get("inputStages", [])]:
        if child:
            found |= stages(child)
    return found


FILTERS = [
    {},
    {"statuses": (Status.REQUESTED,)},
    {"statuses": tuple(OPEN)},
    {"service_type": "WOUND_DRESSING"},
    {"starts_from": datetime(2026, 1, 1, tzinfo=UTC)},
    {"starts_before": datetime(2030, 1, 1, tzinfo=UTC)},
    {
        "statuses": tuple(OPEN),
        "service_type": "WOUND_DRESSING",
        "starts_from": datetime(2026, 1, 1, tzinfo=UTC),
        "starts_before": datetime(2030, 1, 1, tzinfo=UTC),
        "ends_after": datetime(2026, 1, 1, tzinfo=UTC),
    },
]


@pytest.mark.parametrize("owner", ["patient", "provider"])
@pytest.mark.parametrize("order", repositories.ORDERS)
@pytest.mark.parametrize("filters", FILTERS)
def test_every_list_is_served_by_an_index(asha, documents, owner, order, filters):
    others = [{"patient": ObjectId(), "serviceProvider": ObjectId(), "createdAt": datetime.now(UTC)} for _ in range(50)]
    documents("nursebookings").insert_many(others)
    query = repositories.BookingFilter(**{owner: asha.id}, **filters).query()

    plan = documents("nursebookings").find(query).sort(repositories.ORDERS[order]).explain()["queryPlanner"]

    assert "IXSCAN" in stages(plan["winningPlan"])
    assert not {"COLLSCAN", "SORT"} & stages(plan["winningPlan"])


# --- old documents ---------------------------------------------------------------------------------------------------
def test_an_old_document_reads_well(api, asha, documents):
    old = old_document(asha.id)
    documents("nursebookings").insert_one(old)

    shown = api(asha)("GET", f"/bookings/{old['_id']}")

    assert shown.status_code == 200
    assert shown["ETag"] == '"0"'
    data = shown.body["data"]
    assert data["startsAt"] == "2026-10-18T09:00:00.000Z"
    assert data["endsAt"] == "2026-10-18T10:00:00.000Z"
    assert data["pricing"] == {"basePrice": 999, "gst": 206.79, "payableAmount": 1355.64}
    assert "__v" not in data
    timeline = api(asha)("GET", f"/bookings/{old['_id']}/timeline").body["data"]
    assert [(entry["from"], entry["to"]) for entry in timeline] == [(None, "REQUESTED")]
    assert ids(api(asha)("GET", "/bookings")) == [old["_id"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduledTime": "banana"},
        {"scheduledTime": None, "scheduledDate": None},
        {"status": "DONE"},
        {"pricing": None},
        {"payment": None},
        {"serviceLocation": None},
        {"statusTimestamps": None, "messages": None},
        {"serviceType": "AURA_READING"},
    ],
)
def test_a_damaged_old_document_reads_and_cancels_without_an_error(api, asha, documents, changes):
    old = old_document(asha.id, **changes)
    documents("nursebookings").insert_one(old)
    path = f"/bookings/{old['_id']}"

    answers = [
        api(asha)("GET", path),
        api(asha)("GET", f"{path}/timeline"),
        api(asha)("GET", f"{path}/payment"),
        api(asha)("GET", "/bookings"),
        api(asha)("GET", f"{path}/cancellation-preview"),
        api(asha)("PUT", path, {"specialRequirements": "x"}),
        api(asha)("POST", f"{path}/reschedule", {"startsAt": tomorrow().isoformat()}),
        api(asha)("DELETE", path),
    ]

    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert max(answer.status_code for answer in answers) < 500, [answer.body for answer in answers]
    status = documents("nursebookings").find_one({"_id": old["_id"]})["status"]
    assert status == ("DONE" if changes.get("status") else "CANCELLED")


def test_an_old_paid_booking_gives_back_what_it_cost(api, asha, documents):
    old = old_document(asha.id, payment={"status": "PAID", "transactionId": "pay_1"})
    old["scheduledDate"] = tomorrow(days=5).replace(hour=0, minute=0)
    old["pricing"]["payableAmount"] = Decimal128("1355.64")
    documents("nursebookings").insert_one(old)

    answer = api(asha)("DELETE", f"/bookings/{old['_id']}")

    assert answer.body["data"]["refundDetails"] == {
        "refundAmount": 1355.64,
        "cancellationFee": 0,
        "refundEligible": True,
    }


def test_an_admin_sees_any_booking(api, asha, directory):
    booking = booking_made(asha)

    assert api(directory.add(Role.ADMIN))("GET", f"/bookings/{booking['_id']}").status_code == 200
    assert api(directory.add(Role.NURSE))("GET", f"/bookings/{booking['_id']}").status_code == 404


def test_a_provider_reads_no_reasons_once_the_visit_is_over(api, asha, nurse, admin):
    booking = booking_made(asha)
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="My test was positive")

    for path in (f"/bookings/{booking['_id']}", f"/bookings/{booking['_id']}/timeline", "/bookings/provider/me"):
        answer = api(nurse)("GET", path)
        assert answer.status_code == 200
        assert "positive" not in str(answer.body)
    assert "positive" in str(api(asha)("GET", f"/bookings/{booking['_id']}/timeline").body)
    assert "positive" in str(api(admin)("GET", f"/bookings/{booking['_id']}").body)


@pytest.mark.parametrize("who", ["admin", "nurse"])
def test_reasons_read_in_a_timeline_are_on_record(api, asha, nurse, admin, documents, who):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    moving.booking_reschedule(
        actor=asha, booking_id=booking["_id"], starts_at=tomorrow(days=4), reason="My HIV therapy"
    )
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    documents("clinicalaccess").delete_many({})
    reader = {"admin": admin, "nurse": nurse}[who]

    assert "HIV" in str(api(reader)("GET", f"/bookings/{booking['_id']}/timeline").body)

    (line,) = documents("clinicalaccess").find({})
    assert (line["actorId"], line["objectId"]) == (reader.id, str(booking["_id"]))
    assert (line["action"], line["fields"]) == ("READ", ["timeline.reason"])


def test_a_timeline_in_which_nobody_wrote_anything_needs_no_line(api, asha, admin, documents):
    booking = booking_made(asha)
    documents("clinicalaccess").delete_many({})

    assert api(admin)("GET", f"/bookings/{booking['_id']}/timeline").status_code == 200

    assert documents("clinicalaccess").count_documents({}) == 0


@pytest.mark.parametrize(
    ("field", "nothing"),
    [("specialRequirements", ""), ("serviceDetails", {}), ("patientCondition", {}), ("equipmentRequired", [])],
)
def test_emptying_a_clinical_field_is_on_record(api, asha, documents, field, nothing):
    full = {
        "specialRequirements": "Ramp",
        "serviceDetails": {"description": "Wound"},
        "patientCondition": {"mobility": "MOBILE"},
        "equipmentRequired": ["Drip stand"],
    }
    booking = booking_made(asha, **full)
    written = {"action": "WRITE", "objectId": str(booking["_id"])}
    before = documents("clinicalaccess").count_documents(written)

    answer = api(asha)("PUT", f"/bookings/{booking['_id']}", {field: nothing})

    assert answer.status_code == 200, answer.body
    lines = list(documents("clinicalaccess").find(written).sort("_id", 1))
    assert [line["fields"] for line in lines[before:]] == [[field]]
