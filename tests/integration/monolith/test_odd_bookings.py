"""What an import brings in a booking, whatever it is, no page and no change of the booking fails on."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from bson import Decimal128, ObjectId, json_util
from bson.datetime_ms import DatetimeMS
from django.contrib.auth.models import User
from django.test import Client

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.exceptions import PaymentServiceDown
from booking_service.partners.main_api import Provider
from tests.factories import service_made, token_of, tomorrow
from tests.integration.monolith.conftest import collection
from tests.integration.patients.callers import Api
from tests.integration.security.world import platform_token

NURSE, ADMIN = ObjectId(), ObjectId()
PATHS = (
    *("scheduledDate", "scheduledTime", "estimatedDuration", "serviceType", "serviceProvider", "createdAt"),
    *("serviceLocation", "serviceLocation.address", "serviceLocation.address.city", "patientDetails.age"),
    *("patientDetails", "patientDetails.name", "patientCondition", "patientCondition.age", "equipmentRequired"),
    *("pricing", "pricing.payableAmount", "pricing.currency", "payment.status", "payment.method"),
    *("payment.paidAmount", "payment.transactionId", "payment.attempt", "payment.discrepancies"),
    *("payment.order", "payment.order.amount", "payment.order.orderId", "payment.order.expiresAt"),
    *("cancellation", "cancellation.refundAmount", "rating", "rating.stars", "statusTimestamps", "timeline"),
    *("claims", "version", "refund", "noShow", "reminders", "notifications", "rescheduleCount", "actualService"),
)
ODD = (5, "x", [1], [{"a": 1}], {"a": 1}, float("inf"), Decimal128("NaN"), DatetimeMS(577_014_796_800_000))


@pytest.fixture
def callers(settings, monkeypatch):
    """Nurse and admin, and no limit on how often they call."""
    settings.RATE_LIMIT_ENABLED = False
    people = {ADMIN: Role.ADMIN, NURSE: Role.NURSE}
    known = {key: Provider(key, role, "Meera", frozenset(), None, True) for key, role in people.items()}
    monkeypatch.setattr(main_api, "_ask", known.get)
    return Api(platform_token(NURSE)), Api(platform_token(ADMIN))


@pytest.fixture
def staff():
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("boss", "boss@example.com", "Secret414002x"))
    return client


def exported(folder, path, values):
    """An export of one patient with a booking for each value at `path`, of an age where the service asks for one."""
    now, patient = datetime.now(UTC).replace(microsecond=0), ObjectId()
    day = now.replace(hour=0, minute=0, second=0) + timedelta(days=5)
    bookings = []
    for number, value in enumerate(values):
        booking: dict[str, Any] = {
            "_id": ObjectId(),
            "patient": patient,
            "serviceProvider": NURSE,
            "serviceType": "WOUND_DRESSING",
            "status": ("REQUESTED", "ASSIGNED", "COMPLETED")[number % 3],
            "createdAt": now,
            "updatedAt": now,
            "scheduledDate": day + timedelta(days=number),
            "scheduledTime": "10:00",
            "patientCondition": {"age": 40},
            "serviceLocation": {"address": {"city": "Mumbai"}},
            "rating": {},
            "cancellation": {},
            "pricing": {"payableAmount": 600, "totalAmount": 600},
            "payment": {"status": "PENDING"},
        }
        *parents, last = path.split(".")
        inner = booking
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value
        bookings.append(booking)
    person = {"_id": patient, "name": "Asha", "email": f"{path}@example.com".lower(), "updatedAt": now}
    for name, documents in (("patients", [person]), ("nursebookings", bookings)):
        with (folder / f"{name}.jsonl").open("a") as file:
            file.writelines(f"{json_util.dumps(document)}\n" for document in documents)
    return patient, [booking["_id"] for booking in bookings]


def test_no_booking_of_an_import_fails_a_page_or_a_change(run, tmp_path, callers, staff):
    service_made(requirements__minAge=18, requirements__maxAge=90)
    nurse, admin = callers
    odd_at: dict[str, list[Any]] = {
        path: [ODD[(number + step) % len(ODD)] for step in (0, 3)] for number, path in enumerate(PATHS)
    }
    odd_at["scheduledDate"] = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, 20, tzinfo=UTC),
        *odd_at["scheduledDate"],
    ]
    exports = {path: exported(tmp_path, path, values) for path, values in odd_at.items()}
    output = run(tmp_path)
    failed: list[tuple[str, ...]] = []
    answered = 0

    def ask(who, what, method, page, body=None):
        answer = who(method, f"/api/bookings{page}", body)
        no_payment_service = page.endswith("/payment") and answer.body.get("code") == PaymentServiceDown.code
        if answer.status_code >= 500 and not no_payment_service:
            failed.append((what, method, page.rpartition("/")[2]))
        return answer.status_code == 200

    for path, (patient, keys) in exports.items():
        asha = Api(token_of(Caller(Role.PATIENT, patient)))
        for page in ("", "/upcoming", "/history"):
            ask(asha, path, "GET", page)
        for key, odd in zip(keys, odd_at[path], strict=True):
            what, moved = f"{path}: {odd!r}", {"startsAt": tomorrow(15, days=9).isoformat()}
            answered += ask(asha, what, "GET", f"/{key}")
            for page in ("/timeline", "/cancellation-preview", "/payment"):
                ask(asha, what, "GET", f"/{key}{page}")
            for who, page in product((nurse, admin), ("", "/timeline")):
                ask(who, what, "GET", f"/{key}{page}")
            ask(asha, what, "PUT", f"/{key}", {"specialRequirements": "A ramp", "paymentMethod": "INSURANCE"})
            ask(asha, what, "POST", f"/{key}/payment")
            ask(asha, what, "POST", f"/{key}/review", {"stars": 5})
            ask(asha, what, "POST", f"/{key}/reschedule", moved)
            ask(nurse, what, "PUT", f"/{key}/confirm", {})
            ask(asha, what, "DELETE", f"/{key}")
            if staff.get(f"/admin/bookings/booking/{key}/change/").status_code >= 500:
                failed.append((what, "the admin's page"))

    assert failed == []
    assert "DIFFERS" not in output
    assert answered == collection("nursebookings").count_documents({}) > 0.9 * sum(map(len, odd_at.values()))
