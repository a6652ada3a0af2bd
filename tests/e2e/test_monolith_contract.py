"""What clients of the monolith rely on: its paths, field names, tokens, passwords and data, on its own export.

Where this service answers differently on purpose, the difference stands in docs/migration.md, and here.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import jwt
import pytest
from bson import ObjectId
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from booking_service.api.callers import Role
from booking_service.partners import main_api
from booking_service.partners.main_api import Provider
from tests.factories import tomorrow
from tests.integration.patients.callers import Api
from tests.integration.security.test_limits import REGISTRATION, every_place_taken
from tests.integration.security.world import platform_token

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "data" / "monolith"
PASSWORDS = json.loads((SAMPLE / "passwords.json").read_text())
DIFFERENCES_IN = ROOT / "docs" / "migration.md"

PATIENT = ObjectId("6b02ee6354bb8f95d9a320be")  # patient7.8, with twelve imported bookings
PATIENT_EMAIL = "patient7.8@example.com"
UPPER_CASE = "patient7.11@example.com"  # stored in capitals
DEACTIVATED = "patient7.13@example.com"
BANANA = "6b02ee6354bb8f95d9a320d3"
ANOTHERS = "6b02ee6454bb8f95d9a320dc"


@pytest.fixture(autouse=True)
def _imported(database, tmp_path):
    call_command(
        "import_monolith", "--from", str(SAMPLE), "--no-progress", report=tmp_path / "report.tsv", stdout=StringIO()
    )


def monolith_token(**more):
    """As the monolith signed them."""
    return jwt.encode({"id": str(PATIENT), **more}, settings.JWT_SECRET, algorithm="HS256")


@pytest.fixture
def api():
    """The client of an imported patient, with a token that the monolith issued."""
    return Api(monolith_token(iat=int(datetime.now(UTC).timestamp()) - 3600))


@pytest.fixture
def anybody():
    return Api()


def visit(**changes):
    """The body that the monolith's clients send."""
    day = (tomorrow(days=3) + timedelta(hours=5, minutes=30)).date()
    place = {"street": "1 MG Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
    wanted = {
        "serviceType": "WOUND_DRESSING",
        "scheduledDate": f"{day}",
        "scheduledTime": "10:00 AM",
        "serviceLocation": {
            "type": "HOME",
            "address": {**place, "coordinates": {"lat": 18.52, "lng": 73.85}},
            "contactPerson": "Family",
            "contactPhone": "9876543210",
        },
        "serviceDetails": {"description": "As discussed"},
        "patientCondition": {"age": 40, "mobility": "MOBILE", "consciousness": "CONSCIOUS", "urgency": "ROUTINE"},
        "isRecurring": False,
    }
    return {**wanted, **changes}


def booked(api, **changes):
    answer = api("POST", "/api/bookings", visit(**changes))
    assert answer.status_code == 201, answer.body
    return answer.body["data"]


# --- the same -------------------------------------------------------------------------------------------------------
def test_an_imported_patient_signs_in_with_the_old_password_twice(anybody):
    credentials = {"email": PATIENT_EMAIL, "password": PASSWORDS[PATIENT_EMAIL]}

    first, second = (anybody("POST", "/api/patients/login", credentials) for _ in range(2))

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.body["success"] is True
    assert first.body["data"]["patient"]["_id"] == str(PATIENT)
    assert isinstance(first.body["data"]["token"], str)
    stored = connection.database["patients"].find_one({"_id": PATIENT})["password"]  # type: ignore[attr-defined]
    assert stored.startswith("argon2")


def test_every_imported_active_patient_signs_in(anybody):
    statuses = {
        email: anybody("POST", "/api/patients/login", {"email": email, "password": password}).status_code
        for email, password in list(PASSWORDS.items())
        if email in (PATIENT_EMAIL, UPPER_CASE, "patient7.0@example.com", "patient7.12@example.com")
    }

    assert set(statuses.values()) == {200}
    assert len(statuses) == 4


@pytest.mark.parametrize("claims", [{}, {"type": "patient"}])
def test_a_token_that_the_monolith_issued_goes_on_working(claims):
    answer = Api(monolith_token(**claims))("GET", "/api/patients/profile")

    assert answer.status_code == 200
    assert answer.body["data"]["email"] == PATIENT_EMAIL
    assert "password" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/api/patients/profile", "/api/patients/me", f"/api/patients/{PATIENT}"])
def test_the_profile_has_its_old_paths_and_fields(api, path):
    data = api("GET", path).body["data"]

    assert data.keys() >= {"_id", "name", "email", "phone", "savedAddresses", "medicalHistory", "preferences"}
    assert data.keys() >= {"referralCode", "totalBookings", "totalSpent", "isVerified", "createdAt"}
    assert not data.keys() & {"monolith", "emailLower", "sessions", "password", "__v"}


def test_the_profile_is_changed_as_before(api):
    answer = api("PUT", "/api/patients/profile", {"name": "Asha Rao", "address": {"city": "Pune"}})

    assert answer.status_code == 200
    assert answer.body["data"]["name"] == "Asha Rao"


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
def test_old_bookings_are_in_every_list_and_detail(api, prefix):
    listed = api("GET", f"{prefix}/bookings?limit=100").body

    ids = {booking["_id"] for booking in listed["data"]}
    assert listed["pagination"] == {"page": 1, "limit": 100, "total": 12, "pages": 1}
    assert len(ids) == 12
    assert BANANA in ids
    for booking_id in ids:
        detail = api("GET", f"{prefix}/bookings/{booking_id}")
        assert detail.status_code == 200
        assert detail.body["data"]["pricing"]["totalAmount"] > 0
        assert "monolith" not in detail.body["data"]
        assert api("GET", f"{prefix}/bookings/{booking_id}/timeline").body["data"]
    statuses = {booking["status"] for booking in api("GET", f"{prefix}/bookings/history?limit=100").body["data"]}
    assert statuses <= {"COMPLETED", "CANCELLED", "NO_SHOW", "FAILED"}
    assert statuses


def test_the_list_answers_at_the_path_of_the_monoliths_app(api):
    assert api("GET", "/api/bookings/patient/me").body == api("GET", "/api/bookings").body


def test_a_new_booking_stands_beside_the_old_ones(api):
    booking = booked(api)

    assert booking.keys() >= {"_id", "patient", "serviceType", "scheduledDate", "scheduledTime", "status", "pricing"}
    assert booking.keys() >= {"payment", "serviceLocation", "statusTimestamps", "createdAt", "serviceDetails"}
    assert booking["scheduledTime"] == "10:00 AM"
    assert booking["payment"]["status"] == "PENDING"
    listed = api("GET", "/api/bookings").body
    assert listed["data"][0]["_id"] == booking["_id"] or booking["_id"] in {b["_id"] for b in listed["data"]}
    assert listed["pagination"]["total"] == 13
    assert booking["_id"] in {b["_id"] for b in api("GET", "/api/bookings/upcoming").body["data"]}


@pytest.mark.parametrize("time", ["9:05", "14:30", "02:30 PM"])
def test_times_are_taken_in_all_three_shapes(api, time):
    assert booked(api, scheduledTime=time)["scheduledTime"] == time


@pytest.mark.parametrize("service_type", ["PHYSIOTHERAPY_SESSION", "IV_DRIP"])
def test_the_monoliths_type_names_are_booked(api, service_type):
    assert booked(api, serviceType=service_type, prescriptionUrl="https://example.com/p.pdf")["serviceType"]


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("PUT", "/cancel")])
def test_a_booking_is_cancelled_both_ways(api, method, suffix):
    booking = booked(api)

    answer = api(method, f"/api/bookings/{booking['_id']}{suffix}", {"reason": "Not needed any more"})

    assert answer.status_code == 200
    assert answer.body["data"]["booking"]["status"] == "CANCELLED"
    assert answer.body["data"]["refundDetails"].keys() >= {"refundAmount", "cancellationFee", "refundEligible"}


def test_an_imported_visit_without_a_time_is_cancelled_and_refunded(api):
    answer = api("PUT", f"/api/bookings/{BANANA}/cancel", {"reason": "Never came"})

    assert answer.status_code == 200
    assert answer.body["data"]["booking"]["status"] == "CANCELLED"


def test_a_booking_is_changed_and_reviewed_at_its_old_paths(api):
    booking = booked(api)
    completed = next(b for b in api("GET", "/api/bookings?status=COMPLETED").body["data"] if "rating" not in b)

    changed = api("PUT", f"/api/bookings/{booking['_id']}", {"specialRequirements": "Ring twice"})
    reviewed = api("POST", f"/api/bookings/{completed['_id']}/review", {"stars": 5, "review": "Kind"})

    assert changed.body["data"]["specialRequirements"] == "Ring twice"
    assert reviewed.status_code in (200, 201)


@pytest.mark.parametrize(
    "path", ["", "/featured", "/popular", "/category/nursing", "/search?q=injection", "/IV_DRIP", "/iv-drip-infusion"]
)
def test_the_catalog_answers_at_its_old_paths(anybody, path):
    answer = anybody("GET", f"/api/services{path}")

    assert answer.status_code == 200
    assert answer.body["success"] is True
    services = answer.body["data"] if isinstance(answer.body["data"], list) else [answer.body["data"]]
    for service in services:
        assert service.keys() >= {"_id", "name", "slug", "category", "displayName", "pricing", "availability"}
        assert isinstance(service["pricing"]["basePrice"], int | float)
        assert "monolith" not in service


def test_errors_have_the_old_shape(api):
    body = api("GET", f"/api/bookings/{ObjectId()}").body

    assert body["success"] is False
    assert body["message"]


def test_health_has_the_old_shape(anybody):
    assert anybody("GET", "/health").body.keys() >= {"status", "service", "timestamp", "database"}


# --- different, on purpose ------------------------------------------------------------------------------------------
def past(api):
    return api("POST", "/api/bookings", visit(scheduledDate="2026-01-05"))


def banana(api):
    return api("POST", "/api/bookings", visit(scheduledTime="banana"))


def twice(api):
    booked(api)
    return api("POST", "/api/bookings", visit(serviceType="IV_DRIP", prescriptionUrl="https://example.com/p.pdf"))


def by_status(api):
    return api("GET", "/api/bookings?status=COMPLETED")


def unknown_key(api):
    return api("POST", "/api/bookings", visit(coupon="FREE"))


def city(api):
    elsewhere = {**visit()["serviceLocation"]["address"], "city": "Chennai"}
    return api("POST", "/api/bookings", visit(serviceLocation={**visit()["serviceLocation"], "address": elsewhere}))


def prescription(api):
    return api("POST", "/api/bookings", visit(serviceType="IV_DRIP"))


def too_many(api):
    return api("GET", "/api/bookings?limit=1000")


def malformed_id(api):
    return api("GET", "/api/bookings/not-an-id")


def strangers(api):
    return api("GET", f"/api/bookings/{ANOTHERS}")


def unpaid(api):
    return api("PUT", f"/api/bookings/{booked(api)['_id']}/cancel", {"reason": "x"})


def pay_cancelled(api):
    booking = booked(api)
    api("DELETE", f"/api/bookings/{booking['_id']}", {"reason": "x"})
    return api("POST", f"/api/bookings/{booking['_id']}/payment", {})


def cancel_twice(api):
    booking = booked(api)
    api("DELETE", f"/api/bookings/{booking['_id']}", {"reason": "x"})
    return api("DELETE", f"/api/bookings/{booking['_id']}", {"reason": "x"})


def too_early(api):
    booking, nurse = booked(api), Provider(ObjectId(), Role.NURSE, "Meera", frozenset(), None, True)
    connection.database["nursebookings"].update_one(  # type: ignore[attr-defined]
        {"_id": ObjectId(booking["_id"])}, {"$set": {"status": "CONFIRMED", "serviceProvider": nurse.id}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main_api, "_ask", {nurse.id: nurse}.get)
        return Api(platform_token(nurse.id))("PUT", f"/api/bookings/{booking['_id']}/en-route")


def operator(_api):
    return Api()("POST", "/api/patients/login", {"email": {"$ne": None}, "password": {"$ne": None}})


def guesses(_api):
    credentials = {"email": PATIENT_EMAIL, "password": "Wrong12345"}
    return [Api()("POST", "/api/patients/login", credentials) for _ in range(6)][-1]


def busy(api):
    known = {"email": PATIENT_EMAIL, "password": PASSWORDS[PATIENT_EMAIL]}
    changed = {"currentPassword": known["password"], "newPassword": "Another414002x"}
    with every_place_taken():
        answers = [
            api("PUT", "/api/patients/password", changed),
            api("POST", "/api/patients/register", REGISTRATION),
            api("POST", "/api/patients/login", known),
        ]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "1")] * 3
    return answers[-1]


def deactivated(_api):
    return Api()("POST", "/api/patients/login", {"email": DEACTIVATED, "password": PASSWORDS[DEACTIVATED]})


def regex(_api):
    return Api()("GET", "/api/services/search?q=.*")


def refresh_as_access(api):
    credentials = {"email": PATIENT_EMAIL, "password": PASSWORDS[PATIENT_EMAIL]}
    token = Api()("POST", "/api/patients/login", credentials).body["data"]["refreshToken"]
    return Api(token)("GET", "/api/patients/profile")


def mass_assignment(api):
    return api("PUT", "/api/patients/profile", {"isVerified": True})


def price(api):
    booking = booked(api, serviceType="PHYSIOTHERAPY_SESSION")
    assert booking["pricing"]["totalAmount"] == 1084.24
    return api("GET", f"/api/bookings/{booking['_id']}")


DIFFERENCES = {
    "A visit in the past": (past, 422, "IN_PAST"),
    "A time that is none": (banana, 400, "INVALID"),
    "Two visits of one patient at one time": (twice, 409, "PATIENT_OVERLAP"),
    "A city that is not served": (city, 422, "CITY_NOT_SERVED"),
    "A service that needs a prescription, without one": (prescription, 422, "PRESCRIPTION_REQUIRED"),
    "The list's `status` filter": (by_status, 200, '"COMPLETED"'),
    "A key that nobody knows": (unknown_key, 400, "coupon"),
    "`limit` above 100": (too_many, 400, "limit"),
    "A malformed id": (malformed_id, 404, "NOT_FOUND"),
    "Another patient's booking": (strangers, 404, "NOT_FOUND"),
    "Cancelling what was not paid": (unpaid, 200, '"refundAmount":0'),
    "Paying a cancelled booking": (pay_cancelled, 409, "NOT_PAYABLE"),
    "Cancelling twice": (cancel_twice, 409, "NOT_CANCELLABLE"),
    "A provider who tells a visit's course too early": (too_early, 422, "TOO_EARLY"),
    "An operator as email": (operator, 400, "email"),
    "The sixth wrong password": (guesses, 429, "TOO_MANY"),
    "Signing in, registering or changing a password while too many do": (busy, 503, "BUSY"),
    "A deactivated account": (deactivated, 403, "ACCOUNT_DEACTIVATED"),
    "A pattern as search text": (regex, 200, '"data":[]'),
    "A refresh token as bearer": (refresh_as_access, 401, "success"),
    "`isVerified` in a profile change": (mass_assignment, 400, "isVerified"),
    "Money": (price, 200, "1084.24"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_it_differs_from_the_monolith_where_the_table_says_so(api, name):
    ask, status, tells = DIFFERENCES[name]

    answer = ask(api)

    assert (answer.status_code, tells in answer.content.decode()) == (status, True), answer.content.decode()[:500]


def test_the_table_in_the_docs_has_exactly_these_differences():
    rows = re.findall(r"^\| (.+?) \| .+? \| (\d{3}).*? \|", DIFFERENCES_IN.read_text(), flags=re.MULTILINE)

    assert dict(rows) == {name: str(status) for name, (_, status, _) in DIFFERENCES.items()}


def test_only_completed_bookings_come_when_asked_for(api):
    assert {booking["status"] for booking in by_status(api).body["data"]} == {"COMPLETED"}
