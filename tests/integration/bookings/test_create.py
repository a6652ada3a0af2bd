"""POST /api/bookings."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from bson import ObjectId

from booking_service.api.callers import Role
from booking_service.djongo import transaction
from bookings import scheduling, services, signals
from catalog import services as catalog
from tests.factories import booking_made, patient_made, service_made, tomorrow, visit_input
from tests.integration.bookings.parallel import in_parallel

EVERYTHING = {
    "serviceType": "WOUND_DRESSING",
    "serviceLocation": {
        "type": "CLINIC",
        "address": {
            "street": "12 Lake Road",
            "landmark": "Temple",
            "city": "Bangalore",
            "state": "Karnataka",
            "pincode": "560001",
            "coordinates": {"lat": 12.97, "lng": 77.59},
        },
        "contactPerson": "Family",
        "contactPhone": "9876543210",
        "floorNumber": "3B",
        "additionalDirections": "Ring twice",
    },
    "serviceDetails": {"description": "Knee wound", "woundType": "burn", "specialInstructions": "slowly"},
    "patientCondition": {"age": 70, "mobility": "WHEELCHAIR", "consciousness": "CONSCIOUS", "urgency": "URGENT"},
    "patientDetails": {"name": "Lakshmi Rao", "age": 70, "gender": "female"},
    "prescriptionUrl": "https://files.example.com/p.pdf",
    "specialRequirements": "a female nurse",
    "isPackage": True,
    "packageDetails": {"totalSessions": 5, "frequency": "daily"},
    "estimatedDuration": 45,
    "isRecurring": True,
    "recurrencePattern": "WEEKLY",
    "recurringDates": ["2027-01-01", "2027-01-08"],
    "equipmentRequired": [{"item": "Gloves"}, "Scissors"],
}


def test_it_answers_with_the_whole_booking(api, asha):
    answer = api(asha)("POST", "/bookings", visit_input(startsAt=tomorrow(10).isoformat()))

    assert answer.status_code == 201
    assert answer["ETag"] == '"1"'
    booking = answer.body["data"]
    assert booking["patient"] == str(asha.id)
    assert booking["status"] == "REQUESTED"
    assert booking["startsAt"] == tomorrow(10).isoformat().replace("+00:00", ".000Z")
    assert booking["endsAt"] == tomorrow(10, 30).isoformat().replace("+00:00", ".000Z")
    assert booking["scheduledTime"] == "10:00"
    assert booking["payment"]["status"] == "PENDING"
    assert booking["payment"]["method"] == "ONLINE"
    assert booking["estimatedDuration"] == 30
    assert not {"claims", "timeline"} & set(booking)
    assert booking["pricing"]["payableAmount"] == 677.14


@pytest.mark.parametrize("method", ["CASH", "INSURANCE", "ONLINE"])
def test_it_keeps_everything_that_it_accepts(api, asha, method):
    day = tomorrow().date().isoformat()
    body = {**EVERYTHING, "scheduledDate": day, "scheduledTime": "02:30 PM", "paymentMethod": method}

    created = api(asha)("POST", "/bookings", body)
    read = api(asha)("GET", f"/bookings/{created.body['data']['_id']}").body["data"]

    assert created.status_code == 201, created.body
    assert created.body["data"] == read
    assert {name: read[name] for name in EVERYTHING} == EVERYTHING
    assert read["payment"]["method"] == method
    assert read["scheduledTime"] == "02:30 PM"
    assert read["scheduledDate"] == f"{day}T00:00:00.000Z"
    assert read["startsAt"] == f"{day}T09:00:00.000Z"


@pytest.mark.parametrize(("text", "utc"), [("9:05", "03:35"), ("14:30", "09:00"), ("02:30 PM", "09:00")])
def test_it_reads_every_form_of_a_local_time(api, asha, text, utc):
    body = visit_input(scheduledDate=tomorrow().date().isoformat(), scheduledTime=text)
    del body["startsAt"]

    booking = api(asha)("POST", "/bookings", body).body["data"]

    assert booking["startsAt"] == f"{tomorrow().date()}T{utc}:00.000Z"
    assert booking["scheduledTime"] == text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"startsAt": "tomorrow"}, "startsAt"),
        ({"startsAt": "2026-12-01T10:00:00"}, "startsAt"),
        ({"startsAt": "0001-01-01T00:00:00+14:00"}, "startsAt"),
        ({"startsAt": "9999-12-31T23:59:00-14:00"}, "startsAt"),
        ({"startsAt": None}, "startsAt"),
        ({"scheduledDate": "2026-12-01"}, "scheduledTime"),
        ({"scheduledTime": "10:00"}, "scheduledDate"),
        ({"scheduledDate": "2026-12-01", "scheduledTime": "banana"}, "scheduledTime"),
        ({"scheduledDate": "2026-02-30", "scheduledTime": "10:00"}, "scheduledDate"),
        ({"scheduledDate": "2026-12-01", "scheduledTime": "10:00"}, "startsAt"),
        ({"serviceType": "AURA_READING"}, "serviceType"),
        ({"serviceType": {"$ne": None}}, "serviceType"),
        ({"serviceLocation": {"type": "HOME"}}, "serviceLocation.address"),
        ({"serviceLocation": {"type": "MOON", "address": {}}}, "serviceLocation.type"),
        ({"patientDetails": {"name": "x" * 101}}, "patientDetails.name"),
        ({"patientDetails": {"name": "a", "age": -1}}, "patientDetails.age"),
        ({"patientCondition": {"age": "70"}}, "patientCondition.age"),
        ({"prescriptionUrl": "javascript:alert(1)"}, "prescriptionUrl"),
        ({"paymentMethod": "BARTER"}, "paymentMethod"),
        ({"equipmentRequired": [{"thing": 1}]}, "equipmentRequired.0.thing"),
        ({"equipmentRequired": "gloves"}, "equipmentRequired"),
        ({"patient": "650000000000000000000000"}, "patient"),
        ({"status": "COMPLETED"}, "status"),
        ({"pricing": {"payableAmount": 1}}, "pricing"),
    ],
)
def test_it_refuses_malformed_input_by_field(api, asha, outbox, documents, changes, field):
    answer = api(asha)("POST", "/bookings", {**visit_input(), **changes})

    assert answer.status_code == 400, answer.body
    assert field in [error["field"] for error in answer.body["errors"]]
    assert documents("nursebookings").count_documents({}) == 0
    assert outbox.types() == []


def test_it_reports_all_rules_that_are_broken_together(api, asha, outbox, documents, claims):
    service_made("IV_DRIP", requirements__prescriptionRequired=True, requirements__minAge=60)
    body = visit_input(serviceType="IV_DRIP", startsAt=(tomorrow(5, 1)).isoformat())
    body["serviceLocation"]["address"]["city"] = "Atlantis"

    answer = api(asha)("POST", "/bookings", body)

    assert answer.status_code == 422
    assert answer.body["code"] == "RULE_VIOLATED"
    assert {error["code"] for error in answer.body["errors"]} == {
        "NOT_ON_GRID",
        "OUTSIDE_HOURS",
        "CITY_NOT_SERVED",
        "AGE_OUT_OF_RANGE",
        "PRESCRIPTION_REQUIRED",
    }
    assert documents("nursebookings").count_documents({}) == 0
    assert outbox.types() == []
    assert claims() == []


def test_it_names_a_single_broken_rule_in_the_answers_code(api, asha):
    answer = api(asha)("POST", "/bookings", visit_input(startsAt=tomorrow(10, days=-3).isoformat()))

    assert (answer.status_code, answer.body["code"]) == (422, "IN_PAST")


def test_it_does_not_book_an_inactive_service(api, asha):
    service_made("IV_DRIP", availability__isActive=False)

    answer = api(asha)("POST", "/bookings", visit_input(serviceType="IV_DRIP"))

    assert (answer.status_code, answer.body["code"]) == (422, "SERVICE_INACTIVE")


def test_it_books_by_the_monoliths_type_names(api, asha):
    service_made("INJECTION_IM")

    booking = api(asha)("POST", "/bookings", visit_input(serviceType="INJECTION")).body["data"]

    assert booking["serviceType"] == "INJECTION"
    assert catalog.service_resolve("INJECTION").name == "INJECTION_IM"


def test_it_charges_what_the_catalog_quotes(api, asha):
    surge = {"enabled": True, "surgeMultiplier": 1.5, "surgeHours": [{"start": "18:00", "end": "22:00"}]}
    service_made("IV_DRIP", pricing={"basePrice": 799, "currency": "INR", "surgePricing": surge})
    at = tomorrow(18).isoformat()

    price = api(asha)("POST", "/bookings", visit_input(serviceType="IV_DRIP", startsAt=at)).body["data"]["pricing"]
    quoted = api(asha)("GET", f"/services/IV_DRIP/pricing?at={at.replace('+', '%2B')}").body["data"]

    assert price["surgeMultiplier"] == 1.5
    assert price["basePrice"] == 1198.5
    assert {name: price[name] for name in ("basePrice", "platformFee", "gst", "totalAmount")} == {
        name: quoted[name] for name in ("basePrice", "platformFee", "gst", "totalAmount")
    }


def test_it_counts_the_age_of_the_person_cared_for(api, asha, documents):
    service_made("ELDERLY_CARE_DAILY", requirements__minAge=60)
    post = lambda **more: api(asha)("POST", "/bookings", visit_input(serviceType="ELDERLY_CARE_DAILY", **more))  # noqa: E731

    assert post().body["code"] == "AGE_OUT_OF_RANGE"
    assert post(patientDetails={"name": "Lakshmi", "age": 59}).body["code"] == "AGE_OUT_OF_RANGE"
    assert post(patientDetails={"name": "Lakshmi"}).body["code"] == "AGE_OUT_OF_RANGE"
    assert post(patientDetails={"name": "Lakshmi", "age": 60}).status_code == 201
    assert post(startsAt=tomorrow(14).isoformat(), patientCondition={"age": 80}).status_code == 201
    born = datetime(datetime.now(UTC).year - 61, 1, 1, tzinfo=UTC)
    documents("patients").update_one({"_id": asha.id}, {"$set": {"dateOfBirth": born}})
    assert post(startsAt=tomorrow(16).isoformat()).status_code == 201


def test_it_writes_booking_claims_event_and_counter_in_one_transaction(asha, documents, outbox, claims):
    def refuse(**_sent):
        raise RuntimeError("a receiver breaks")

    signals.booking_created.connect(refuse)
    try:
        with pytest.raises(RuntimeError):
            booking_made(asha)
    finally:
        signals.booking_created.disconnect(refuse)

    assert documents("nursebookings").count_documents({}) == 0
    assert claims() == []
    assert outbox.types() == []
    assert documents("patients").find_one({"_id": asha.id})["totalBookings"] == 0

    booking = booking_made(asha)

    assert len(claims()) == 6
    assert outbox.types() == ["booking.created"]
    assert outbox.types("PARTNER") == ["notification.send"]
    assert documents("patients").find_one({"_id": asha.id})["totalBookings"] == 1
    kept = documents("nursebookings").find_one({"_id": booking["_id"]})
    assert kept["timeline"][0]["to"] == "REQUESTED"
    assert kept["pricing"]["payableAmount"].to_decimal() == Decimal("677.14")


def test_it_lets_a_person_be_in_one_visit_at_a_time(api, asha, ravi, outbox):
    post = lambda who, at, **more: api(who)("POST", "/bookings", visit_input(startsAt=at.isoformat(), **more))  # noqa: E731
    assert post(asha, tomorrow(10)).status_code == 201

    for at in (tomorrow(9, 35), tomorrow(10), tomorrow(10, 25)):
        clash = post(asha, at)
        assert (clash.status_code, clash.body["code"]) == (409, "PATIENT_OVERLAP")
    own_name = post(asha, tomorrow(10), patientDetails={"name": " asha  RAO "})
    assert own_name.body["code"] == "PATIENT_OVERLAP"

    assert post(asha, tomorrow(9, 30)).status_code == 201
    assert post(asha, tomorrow(10, 30)).status_code == 201
    assert post(ravi, tomorrow(10)).status_code == 201
    assert post(asha, tomorrow(10), patientDetails={"name": "Lakshmi"}).status_code == 201
    again = post(asha, tomorrow(10, 15), patientDetails={"name": "LAKSHMI"})
    assert again.body["code"] == "PATIENT_OVERLAP"
    assert outbox.types() == ["booking.created"] * 5


def test_it_never_exceeds_a_services_capacity_in_a_city(api, asha, ravi):
    service_made("IV_DRIP", availability__capacityPerSlot=2)
    body = lambda **more: visit_input(serviceType="IV_DRIP", **more)  # noqa: E731
    assert api(asha)("POST", "/bookings", body()).status_code == 201
    assert api(ravi)("POST", "/bookings", body(startsAt=tomorrow(10, 15).isoformat())).status_code == 201

    third = api(patient_made())("POST", "/bookings", body(startsAt=tomorrow(10, 25).isoformat()))

    assert (third.status_code, third.body["code"]) == (409, "SLOT_TAKEN")
    free = api(patient_made())("POST", "/bookings", body(startsAt=tomorrow(10, 30).isoformat()))
    assert free.status_code == 201
    elsewhere = body()
    elsewhere["serviceLocation"]["address"]["city"] = "mumbai"
    assert api(patient_made())("POST", "/bookings", elsewhere).status_code == 201


def test_it_has_no_place_in_a_service_without_places(api, asha):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    booking_made(patient_made(), serviceType="IV_DRIP")

    assert api(asha)("POST", "/bookings", visit_input(serviceType="IV_DRIP")).body["code"] == "SLOT_TAKEN"


def test_it_finds_a_place_where_no_single_one_is_free_all_the_time(asha, documents, claims):
    service_made("IV_DRIP", availability__capacityPerSlot=2)
    cells = scheduling.cells(tomorrow(10), tomorrow(10, 30))
    halves = {0: cells[:3], 1: cells[3:]}
    taken = [f"seat:IV_DRIP:bangalore:{seat}:{cell}" for seat, half in halves.items() for cell in half]
    documents("slotclaims").insert_many([{"_id": claim, "booking": ObjectId()} for claim in taken])

    booking_made(asha, serviceType="IV_DRIP")

    seats = {claim for claim in claims() if claim.startswith("seat:")} - set(taken)
    assert seats == {f"seat:IV_DRIP:bangalore:{1 - seat}:{cell}" for seat, half in halves.items() for cell in half}


@pytest.mark.parametrize("capacity", [1, 3])
def test_fifty_parallel_requests_for_one_place_give_one_booking_each(api, outbox, documents, capacity):
    service_made("IV_DRIP", availability__capacityPerSlot=capacity)
    clients = [api(patient_made()) for _ in range(50)]
    documents("outbox").delete_many({})

    answers = in_parallel(
        [partial(client, "POST", "/bookings", visit_input(serviceType="IV_DRIP")) for client in clients]
    )

    codes = sorted((answer.status_code, answer.body.get("code")) for answer in answers)
    assert codes == [(201, None)] * capacity + [(409, "SLOT_TAKEN")] * (50 - capacity)
    assert outbox.types() == ["booking.created"] * capacity
    assert documents("nursebookings").count_documents({}) == capacity


def test_a_conflict_that_lasts_is_no_error_but_a_reason_to_come_again(api, ravi, claims, monkeypatch, caplog):
    monkeypatch.setattr(transaction, "RETRY_SECONDS", 0.3)
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    client = api(ravi)

    with pytest.raises(RuntimeError), transaction.atomic():
        booking_made(patient_made(), serviceType="IV_DRIP")
        [answer] = in_parallel([partial(client, "POST", "/bookings", visit_input(serviceType="IV_DRIP"))])
        raise RuntimeError

    assert (answer.status_code, answer.body["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer["Retry-After"] == "2"
    assert [record.exc_info for record in caplog.records if record.levelname == "ERROR"] == []
    assert "a transaction met conflicts for as long as it was tried again" in caplog.messages
    assert claims() == []


def test_fifty_parallel_requests_of_one_patient_give_one_booking(api, asha, outbox, documents, claims):
    client = api(asha)

    answers = in_parallel([lambda: client("POST", "/bookings", visit_input())] * 50)

    codes = sorted((answer.status_code, answer.body.get("code")) for answer in answers)
    assert codes == [(201, None)] + [(409, "PATIENT_OVERLAP")] * 49
    assert outbox.types() == ["booking.created"]
    assert len(claims()) == 6
    assert documents("patients").find_one({"_id": asha.id})["totalBookings"] == 1


def test_twenty_parallel_posts_with_one_key_give_one_booking(api, asha, outbox, documents):
    client, body, key = api(asha), visit_input(), uuid.uuid4().hex

    answers = in_parallel([lambda: client("POST", "/bookings", body, Idempotency_Key=key)] * 20)

    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.body["data"]["_id"] for answer in made}) == 1
    others = {answer.body["code"] for answer in answers if answer.status_code != 201}
    assert others <= {"REQUEST_IN_PROGRESS"}
    assert outbox.types() == ["booking.created"]
    assert documents("nursebookings").count_documents({}) == 1

    again = client("POST", "/bookings", body, Idempotency_Key=key)
    assert (again.status_code, again["Idempotency-Replayed"]) == (201, "true")
    assert again.body == made[0].body
    reused = client("POST", "/bookings", visit_input(isRecurring=True), Idempotency_Key=key)
    assert (reused.status_code, reused.body["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_stored_refusal_is_repeated(api, asha):
    client, body = api(asha), visit_input(startsAt=tomorrow(10, days=-3).isoformat())

    first = client("POST", "/bookings", body, Idempotency_Key="k")
    second = client("POST", "/bookings", body, Idempotency_Key="k")

    assert first.status_code == second.status_code == 422
    assert second["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(("role", "status"), [(Role.NURSE, 403), (Role.ADMIN, 403), (None, 401)])
def test_only_patients_book(api, directory, role, status, asha):
    client = api(directory.add(role)) if role else api(asha)
    if role is None:
        client.headers = {}

    assert client("POST", "/bookings", visit_input()).status_code == status


def test_it_keeps_sql_and_operators_as_text(api, asha):
    booking = api(asha)("POST", "/bookings", visit_input(specialRequirements="$where: 1; {$ne: null}")).body["data"]

    assert booking["specialRequirements"] == "$where: 1; {$ne: null}"


def test_it_books_up_to_the_last_minute_of_ninety_days(asha, monkeypatch):
    now = tomorrow(10) - timedelta(days=90)
    monkeypatch.setattr(services, "moment", lambda: now)

    assert booking_made(asha)["status"] == "REQUESTED"
