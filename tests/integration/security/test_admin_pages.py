"""The admin's pages against odd ids, odd forms and documents that are older than their shape: never a 500."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from bookings import dashboard as bookings_dashboard
from events import dashboard as events_dashboard
from patients.models import Patient
from tests.factories import tomorrow, visit_input
from tests.integration.patients.callers import Api
from tests.integration.security.routes import admin_paths
from tests.integration.security.test_access import world
from tests.integration.security.world import platform_token

__all__ = ["world"]

NO_IDS = ("x", "0" * 24, "g" * 24, "%00", "$where", "a.b", "..", "_5F", "%7B%22$gt%22:1%7D", "x" * 3000, "1/2", " ")
DAY = datetime(2024, 5, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)
FAR = DatetimeMS(8_640_000_000_000_000)
# The catalog's own tests try its pages.
GROUPS = "/admin/auth/group/"
PAGES = ("/admin/bookings/", "/admin/patients/", "/admin/events/", "/admin/auth/")
NULLS_OF_PATIENTS = (
    "name email phone dateOfBirth gender address savedAddresses medicalHistory insurance preferences emergencyContact "
    "sessions isActive"
)
OLD_PATIENTS: dict[str, dict[str, Any]] = {
    "nothing but a name": {"name": "Asha"},
    "nulls": dict.fromkeys(NULLS_OF_PATIENTS.split()),
    "empty texts": {"name": "", "email": "", "phone": "", "gender": "", "referralCode": ""},
    "lists of nothing": {"savedAddresses": [], "medicalHistory": {"conditions": [], "allergies": None}},
    "half an address": {"savedAddresses": [{"_id": ObjectId(), "coordinates": None}], "address": {}},
    "other numbers": {"totalSpent": 12.5, "totalBookings": 3.0},
    "what the monolith kept": {"profilePicture": "x", "loginHistory": [{"ip": "1.1.1.1"}], "__v": 3},
    "script": {"name": "<script>alert(1)</script>", "emergencyContact": {"name": "<b>x</b>"}},
    "days as text": {"dateOfBirth": "soonish", "createdAt": "2020-01-01T00:00:00Z", "lastActive": 5},
    "days beyond all calendars": {"dateOfBirth": FAR, "createdAt": FAR, "insurance": {"validUntil": FAR}},
    "days at the calendar's ends": {"dateOfBirth": FIRST, "createdAt": LAST, "updatedAt": FIRST, "lastActive": LAST},
    "nested days as text": {
        "medicalHistory": {"conditions": [{"name": "x", "diagnosedDate": "long ago"}], "surgeries": [{"date": 5}]},
        "insurance": {"hasInsurance": "yes", "validUntil": "2020"},
    },
    "texts for documents": {"medicalHistory": "x", "insurance": "x", "preferences": "x", "address": "12 Lake Road"},
    "lists for documents": {"medicalHistory": [], "insurance": [1], "emergencyContact": [{"name": "x"}], "address": []},
    "addresses without ids": {"savedAddresses": [{"street": "x"}, None, "12 Lake Road", [{}], {"_id": "x"}, 5]},
    "addresses of a text": {"savedAddresses": "12 Lake Road"},
    "words for flags": {"phoneVerified": "yes", "isVerified": [], "emailVerified": {}},
    "no amounts": {"totalSpent": Decimal128("NaN"), "totalBookings": None},
    "amounts beyond all money": {"totalSpent": Decimal128("1E+6000"), "totalBookings": "3"},
    "amounts as text": {"totalSpent": "1,000", "totalBookings": []},
    "numbers for texts": {"name": 5, "phone": 9876543210, "gender": ["male"], "bloodGroup": {"a": 1}},
    "what JSON has no word for": {"profilePicture": b"x", "preferences": {"a": Regex("a"), "b": Timestamp(1, 1)}},
    "sign-ins as text": {"passwordChangedAt": "2020", "signedOutAt": "2020", "deletedAt": "2020", "isActive": "false"},
    "sign-ins beyond all calendars": {"passwordChangedAt": FAR, "signedOutAt": FAR, "sessions": [{"openedAt": FAR}]},
    "a password that is no text": {"password": ["$2b$10$"]},
    "no sessions": {"sessions": ["x", None, {"openedAt": "x"}]},
}
NULLS_OF_BOOKINGS = (
    "startsAt endsAt scheduledDate scheduledTime statusTimestamps pricing payment serviceLocation cancellation rating "
    "serviceProvider refund noShow notifications serviceDetails patientDetails patientCondition"
)
# What the monolith demands of each, besides the patient.
REQUIRED = {"status": "REQUESTED", "serviceType": "WOUND_DRESSING"}
OLD_BOOKINGS: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "nulls": dict.fromkeys(NULLS_OF_BOOKINGS.split()),
    "a status nobody knows": {"status": "ARCHIVED", "serviceType": "OLD_ONE", "scheduledDate": DAY},
    "a time that is none": {"status": "ASSIGNED", "scheduledDate": DAY, "scheduledTime": "soonish"},
    "no time": {"status": "CANCELLED", "scheduledDate": DAY, "cancellation": {"reason": "x"}},
    "floats of money": {"status": "COMPLETED", "pricing": {"totalAmount": 1.005}, "payment": {"status": "PAID"}},
    "half a timeline": {"status": "ASSIGNED", "timeline": [{"to": "ASSIGNED", "at": DAY}]},
    "script": {"serviceDetails": {"description": "<script>alert(1)</script>"}},
}


@pytest.fixture
def root(database) -> Client:
    User.objects.create_user("somebody")  # on whose pages forms are tried: one of them deletes
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root", password="Admin-Password-9"))
    return client


def pages() -> list[str]:
    """Not those about one group: a form deletes it, and all tests share the groups."""
    found = {path for path in admin_paths() if path.startswith(PAGES) or path.count("/") == 2}
    return sorted(path for path in found if not (path.startswith(GROUPS) and path.count("/") > 4))


ODD_BOOKINGS: dict[str, dict[str, Any]] = {
    "times that are text": {"startsAt": "soon", "endsAt": 5, "createdAt": "2024-05-01", "scheduledDate": "x"},
    "times that are numbers": {"startsAt": 1714521600, "createdAt": 5.5, "scheduledDate": 7},
    "money that is text": {"payment": "PAID", "refund": 5, "pricing": "free", "cancellation": "yes"},
    "money that is a list": {"payment": ["PAID"], "refund": [{"status": "REFUNDED"}]},
    "money that is no number": {
        "payment": {"status": "PAID", "paidAmount": float("nan"), "balance": Decimal128("NaN")},
        "refund": {"status": 5, "amount": Decimal128("Infinity")},
        "pricing": {"totalAmount": "x"},
    },
    "changes that say nothing": {"timeline": [{}, {"from": "x", "reason": "y"}, {"to": 5, "at": "soon"}]},
    "changes that are none": {"timeline": ["x", None, 5]},
    "a time after all calendars": {"startsAt": FAR, "createdAt": FAR},
    "a visit that nobody made": {"patient": "x", "serviceProvider": "y", "serviceType": None, "status": None},
}
ODD_EVENTS: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "nulls": dict.fromkeys(
        ["type", "lane", "body", "createdAt", "publishedAt", "attempts", "aggregateId", "lastError", "dueAt"]
    ),
    "a body that is no JSON": {"type": "booking.created", "lane": "BROKER", "body": b"\xff{"},
    "a body that is text": {"type": "booking.created", "body": "{}"},
    "times that are text": {"type": "booking.created", "body": b"{}", "createdAt": "soon", "publishedAt": 5},
}


def stored(collection: str, document: dict[str, Any]) -> ObjectId:
    return connection.database[collection].insert_one(document).inserted_id  # type: ignore[attr-defined]


def failures(client: Client, path: str, *bodies: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    """What a GET and a POST of each body break."""
    broken: list[tuple[str, dict[str, Any] | None]] = []
    if client.get(path).status_code >= 500:
        broken.append((path, None))
    return broken + [(path, body) for body in bodies if client.post(path, body).status_code >= 500]


ODD_FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"_save": "1"},
    {"_continue": "1", "name": "\x00"},
    {"_saveasnew": "1", "_addanother": "1"},
    {"post": "yes"},
    {"reason": "x" * 600, "provider_id": "$where"},
    {"action": "deactivate"},
    {"action": "deactivate", "_selected_action": ["x", "0" * 24, "$where", ""]},
    {"action": "retry", "_selected_action": ["x", "0" * 24]},
    {"action": "delete_selected", "_selected_action": ["0" * 24], "post": "yes"},
    {"action": "no such action", "select_across": "1", "index": "x", "_selected_action": ["0" * 24]},
    {"action": "deactivate", "select_across": "yes", "index": "99"},
    {"form-TOTAL_FORMS": "x", "form-INITIAL_FORMS": "-1", "_save": "1"},
)


def test_no_form_breaks_a_page(world, root):
    world.booking("ASSIGNED")
    broken = [failure for path in pages() for failure in failures(root, path, *ODD_FORMS)]
    assert broken == []


MODELS = (
    "bookings/booking",
    "patients/patient",
    "patients/clinicalaccess",
    "events/outboxevent",
    "events/inboxmessage",
    "auth/user",
)


@pytest.mark.parametrize("identity", NO_IDS)
def test_no_id_breaks_a_page(world, root, identity):
    for page in ("change", "history", "delete", "assign", "cancel", "password", "copy"):
        for model in MODELS:
            forms: tuple[dict[str, Any], ...] = ({}, {"reason": "x"}, {"provider_id": "0" * 24})
            assert failures(root, f"/admin/{model}/{identity}/{page}/", *forms) == []
            assert failures(root, f"/admin/{model}/{identity}/") == []


LOOKUPS = (
    "regex=(",
    "iregex=(",
    "search=x",
    "range=a",
    "contains=%00",
    "year=" + "9" * 30,
    "gte=0001-01-01T00:00:00%2B05:00",
    "startswith=argon2",
    "in=a,b",
)
QUERIES = (
    "p=99999999999999999999",
    "q=%00",
    "q=$where",
    "o=99.-1.x",
    "p=-1",
    "p=x",
    "all=",
    "e=1",
    "_popup=1",
    "_to_field=x",
    "status__exact=%00",
    "money=%00",
    "action__exact[$gt]=",
    "created_at__gte=x",
    "_changelist_filters=%00",
)


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_breaks_a_list(world, root, query):
    world.booking("ASSIGNED")
    lists = [path for path in pages() if path.count("/") == 4 and "/add" not in path]
    assert len(lists) >= 6
    for path in lists:
        assert root.get(f"{path}?{query}").status_code < 500, path


@pytest.mark.parametrize("model", admin.site._registry, ids=str)
def test_no_lookup_on_a_filter_breaks_a_list(root, model):
    of_model = admin.site._registry[model]
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    shown = [getattr(entry, "parameter_name", entry) for entry in (*of_model.list_filter, *of_model.list_display)]
    for field in shown:
        for lookup in LOOKUPS:
            assert root.get(f"{path}?{field}__{lookup}").status_code == 400, (field, lookup)
        for value in ("1", "%00", "x", "\ufffd", "0" * 24):
            for lookup in ("exact", "isnull", "id__exact"):
                assert root.get(path, {f"{field}__{lookup}": value}).status_code < 500, (field, lookup, value)


@pytest.mark.parametrize("path", ["search/?s=a&page=abc", "search/?s=a", "autocomplete/?term=%00&app_label=auth"])
def test_pages_that_nothing_uses_are_absent(root, path):
    assert root.get(f"/admin/{path}").status_code == 404


@pytest.mark.parametrize("model", admin.site._registry, ids=str)
def test_a_page_is_asked_for_by_its_id_alone(root, model):
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}"
    for field in ("", "user", "name", "username", "permission", "groups"):
        for page in (f"{'0' * 24}/change/", f"{'0' * 24}/delete/", ""):
            assert root.get(f"{path}/{page}?_to_field={field}").status_code < 500, (field, page)


@pytest.mark.parametrize("kind", OLD_PATIENTS)
def test_no_old_patient_breaks_a_page(world, root, kind):
    patient_id = stored("patients", OLD_PATIENTS[kind])
    path = f"/admin/patients/patient/{patient_id}"
    assert failures(root, f"{path}/change/", *ODD_FORMS, {"name": "Asha Rao", "email": "a@example.com"}) == []
    assert failures(root, f"{path}/history/") == []
    assert failures(root, "/admin/patients/patient/", {"action": "deactivate", "_selected_action": patient_id}) == []
    assert str(patient_id) in root.get("/admin/patients/patient/").content.decode()
    assert "<script>alert" not in root.get(f"{path}/change/").content.decode()


def test_what_cannot_be_read_is_shown_as_it_is(root, database):
    kinds = ("days as text", "nested days as text", "days beyond all calendars", "amounts as text")
    for kind, texts in zip(
        kinds, (["soonish", "2020-01-01"], ["long ago", "yes"], ["8640000000000000"], ["1,000"]), strict=True
    ):
        page = root.get(f"/admin/patients/patient/{stored('patients', OLD_PATIENTS[kind])}/change/").content.decode()
        assert [text for text in texts if text not in page] == [], kind


@pytest.mark.parametrize("kind", OLD_BOOKINGS)
def test_no_old_booking_breaks_a_page(world, root, kind):
    booking_id = stored("nursebookings", {"patient": world.asha.id, **REQUIRED, **OLD_BOOKINGS[kind]})
    path = f"/admin/bookings/booking/{booking_id}"
    provider = {"provider_id": str(world.provider_id)}
    for page, bodies in (
        ("change", ODD_FORMS),
        ("history", ()),
        ("assign", (provider,)),
        ("cancel", ({"reason": "x"},)),
    ):
        assert failures(root, f"{path}/{page}/", *bodies) == []
    assert failures(root, "/admin/bookings/booking/") == []
    assert "<script>alert" not in root.get(f"{path}/change/").content.decode()


@pytest.mark.parametrize("kind", ODD_EVENTS)
@pytest.mark.parametrize("status", ["WAITING", "DEAD"])
def test_no_odd_event_breaks_a_page(root, kind, status):
    event_id = stored("outbox", {"status": status, **ODD_EVENTS[kind]})
    path = "/admin/events/outboxevent/"
    retry = {"action": "retry", "_selected_action": str(event_id)}
    assert failures(root, path, retry) == failures(root, f"{path}{event_id}/change/") == []
    assert failures(root, f"{path}{event_id}/history/") == failures(root, "/admin/events/") == []


@pytest.mark.parametrize("kind", ODD_EVENTS)
def test_no_odd_event_breaks_the_first_page(root, kind):
    stored("outbox", {"status": "WAITING", **ODD_EVENTS[kind]})
    assert events_dashboard.numbers().figures


@pytest.mark.parametrize("kind", ODD_BOOKINGS)
def test_no_odd_booking_takes_a_list_or_its_page(root, kind):
    booking_id = stored("nursebookings", {"patient": ObjectId(), **REQUIRED, **ODD_BOOKINGS[kind]})
    assert failures(root, "/admin/bookings/booking/") == []
    assert failures(root, f"/admin/bookings/booking/{booking_id}/change/") == []
    stored("nursebookings", {**REQUIRED, **ODD_BOOKINGS[kind], "createdAt": datetime.now(UTC)})
    assert bookings_dashboard.numbers().figures


@pytest.mark.parametrize("kind", OLD_BOOKINGS)
def test_no_old_booking_breaks_the_api(world, kind):
    booking_id = stored("nursebookings", {"patient": world.asha.id, **REQUIRED, **OLD_BOOKINGS[kind]})
    mine, path = world.apis["patient A"], f"/api/bookings/{booking_id}"
    for route in ("", "/timeline", "/cancellation-preview", "/payment"):
        for who in ("patient A", "admin"):
            assert world.apis[who]("GET", path + route).status_code < 500, (who, route)
    for route in ("", "/upcoming", "/history"):
        assert mine("GET", f"/api/bookings{route}").status_code == 200, route
    for method, route, body in (
        ("PUT", "", {"specialRequirements": "x"}),
        ("POST", "/reschedule", {"startsAt": "2030-01-01T10:00:00+05:30"}),
        ("POST", "/payment", None),
        ("POST", "/review", {"stars": 5}),
        ("DELETE", "", {"reason": "x"}),
    ):
        assert mine(method, path + route, body).status_code < 500, route
    for action in ("confirm", "decline", "en-route", "start", "complete", "no-show"):
        assert world.apis["admin"]("PUT", f"{path}/{action}").status_code < 500, action


@pytest.mark.parametrize("kind", OLD_PATIENTS)
def test_no_old_patient_breaks_the_api(world, kind):
    patient_id = stored("patients", OLD_PATIENTS[kind])
    mine, admin = Api(platform_token(patient_id)), world.apis["admin"]
    login = {"email": "old@example.com", "password": "Secret414002x"}
    if "email" not in OLD_PATIENTS[kind]:
        Patient.objects.mongo_update_one({"_id": patient_id}, {"$set": {"emailLower": login["email"]}})
    assert Api()("POST", "/api/patients/login", login).status_code == 401
    for api in (mine, admin):
        for body in (None, {"gender": "female"}, {"phone": "9000012345"}, {"bloodGroup": "O+"}):
            answer = api("PUT" if body else "GET", f"/api/patients/{patient_id}", body)
            assert answer.status_code < 500, (body, answer.body)
    address = {"street": "1 MG Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
    for method, path, body in (
        ("GET", "/api/patients/stats", None),
        ("GET", "/api/patients/addresses", None),
        ("POST", "/api/patients/addresses", address),
        ("POST", "/api/patients/addresses", address),
        ("PUT", "/api/patients/password", {"currentPassword": "x", "newPassword": "Secret414002x"}),
        ("POST", "/api/bookings", visit_input(startsAt=tomorrow(days=3).isoformat())),
    ):
        assert mine(method, path, body).status_code < 500, path
