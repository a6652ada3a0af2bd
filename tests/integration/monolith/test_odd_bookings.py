"""What an import brings in a booking, whatever it is, no page and no change of the booking fails on."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, json_util
from bson.datetime_ms import DatetimeMS
from django.contrib.auth.models import User
from django.test import Client

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.exceptions import PaymentServiceDown
from booking_service.partners.main_api import Provider
from events.consumer import Event, Fate, take_effect
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
    *("payment.moreDiscrepancies", "payment.failedTransactions", "payment.dueSince", "payment.balance"),
    *("cancellation", "cancellation.refundAmount", "rating", "rating.stars", "statusTimestamps", "timeline"),
    *("claims", "version", "refund", "noShow", "reminders", "notifications", "rescheduleCount", "actualService"),
)
FAR = DatetimeMS(577_014_796_800_000)
ODD: tuple[Any, ...] = (5, "x", [1], [{"a": 1}], {"a": 1}, float("inf"), Decimal128("NaN"), FAR)
LATER, PAID_BACK = datetime(2099, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
PAYMENTS: tuple[dict[str, Any], ...] = (
    *({"order": {"amount": 600, **more}} for more in ({}, {"orderId": None}, {"orderId": 5}, {"orderId": ""})),
    *({"order": order} for order in ({"amount": 600, "expiresAt": LATER}, {"orderId": "o"}, None)),
    *({"attempt": attempt} for attempt in (None, True, -1, 1.5, 2**31 - 1, Int64(2**63 - 1))),
    *({"moreDiscrepancies": count} for count in (None, 1.5, Int64(2**63 - 1))),
    *({"discrepancies": [flag]} for flag in ({}, None, {"at": LATER}, {"transactionId": "tx", "at": LATER})),
    *({"discrepancies": [{"transactionId": name, "refundedAt": PAID_BACK}]} for name in ("tx", "", None)),
    {"discrepancies": [{"amount": 600}]},
    {"failedTransactions": [{}, None, 5]},
    *({name: odd} for name in ("status", "method", "paidAmount", "transactionId", "paidAt") for odd in (*ODD, None)),
)
MESSAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("payment.completed", {"transactionId": "paid", "amount": 600}),
    ("payment.completed", {"transactionId": "paid", "amount": 5}),
    ("payment.failed", {"orderId": "another"}),
    ("payment.failed", {"transactionId": "tx", "reason": "DECLINED"}),
    ("payment.refunded", {"amount": 600}),
    ("payment.refunded", {"amount": 600, "transactionId": "tx"}),
)


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
        datetime(9999, 12, 31, tzinfo=UTC),
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


@pytest.mark.parametrize("status", ["PENDING", "PAID"])
def test_no_booking_of_an_import_fails_a_message_on_its_payment(run, tmp_path, callers, status):
    cases = list(product(PAYMENTS, MESSAGES))
    patient, keys = exported(tmp_path, "payment", [{"status": status, **payment} for payment, _ in cases])
    output = run(tmp_path)
    asha = Api(token_of(Caller(Role.PATIENT, patient)))
    failed: list[tuple[str, ...]] = []

    for number, (key, (payment, (name, facts))) in enumerate(zip(keys, cases, strict=True)):
        if asha("POST", f"/api/bookings/{key}/payment").status_code == 200:  # there is no payment service
            failed.append((str(payment), "an order that nobody can pay"))
        paid_by = {"transactionId": f"paid-{number}"} if facts.get("transactionId") == "paid" else {}
        verdict = take_effect(Event(f"m-{number}", name, {"bookingId": str(key), **facts, **paid_by}, ""))
        if verdict.fate is Fate.RETRY:
            failed.append((str(payment), name, verdict.reason))

    assert failed == []
    assert "DIFFERS" not in output
    assert collection("nursebookings").count_documents({}) == len(cases)


@pytest.mark.parametrize(("attempt", "kept"), [(3, 3), (0, None), (None, None), ("3", None)])
def test_an_attempt_that_counts_goes_on_where_a_booking_comes_back(run, tmp_path, attempt, kept):
    _, (key,) = exported(tmp_path, "payment", [{"status": "FAILED", "attempt": attempt}])
    run(tmp_path)

    assert collection("nursebookings").find_one({"_id": key})["payment"].get("attempt") == kept
