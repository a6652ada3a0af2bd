"""manage.py sweep_bookings."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from bson import Decimal128, ObjectId
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pymongo.errors import ConnectionFailure

from booking_service.api.callers import SYSTEM, Caller, Role
from booking_service.partners import payments as partner
from booking_service.partners.payments import OrderStatus, PaymentOrder
from bookings import changing, moving, notifications, payments, services, sweeping, visits
from tests.factories import booking_made, tomorrow
from tests.integration.bookings.parallel import in_parallel


def sweep():
    output = io.StringIO()
    call_command("sweep_bookings", stdout=output)
    return output.getvalue().splitlines()


@pytest.fixture
def age(documents):
    """Moves a booking's instants into the past."""

    def make_older(booking, **ago):
        fields = {name: datetime.now(UTC) - delta for name, delta in ago.items()}
        documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": fields})

    return make_older


@pytest.fixture
def stored(documents):
    return lambda booking: documents("nursebookings").find_one({"_id": booking["_id"]})


MINUTE = timedelta(minutes=1)


def test_it_fails_what_nobody_was_found_for_and_pays_it_back(asha, ravi, paid, age, stored, outbox, claims):
    unpaid = booking_made(asha, paymentMethod="CASH")
    searched = booking_made(ravi)
    paid(searched["_id"])
    still_time = booking_made(asha, startsAt=tomorrow(days=2), paymentMethod="CASH")
    for booking in (unpaid, searched):
        age(booking, startsAt=MINUTE)

    assert sweep()[0] == "failed: 2 (overtaken: 0)"

    assert [stored(booking)["status"] for booking in (unpaid, searched, still_time)] == [
        "FAILED",
        "FAILED",
        "REQUESTED",
    ]
    assert [entry["to"] for entry in stored(unpaid)["timeline"]] == ["REQUESTED", "SEARCHING", "FAILED"]
    assert stored(unpaid)["timeline"][-1]["role"] == "SYSTEM"
    assert "refund" not in stored(unpaid)
    assert stored(searched)["refund"]["status"] == "REQUESTED"
    assert stored(searched)["refund"]["reason"] == "NO_PROVIDER_FOUND"
    assert outbox.types().count("booking.cancelled") == 2
    assert outbox.types("PARTNER").count("refund.request") == 1
    assert len(claims()) == 6
    before = outbox.types()
    assert sweep()[0] == "failed: 0 (overtaken: 0)"
    assert outbox.types() == before


def test_an_assigned_visit_is_left_alone(asha, nurse, admin, age, stored):
    booking = booking_made(asha, paymentMethod="CASH")
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    age(booking, startsAt=MINUTE)

    sweep()

    assert stored(booking)["status"] == "ASSIGNED"


def test_it_cancels_what_was_to_be_paid_online_and_was_not(asha, paid, age, stored, outbox, claims):
    made = {
        name: booking_made(asha, startsAt=tomorrow(9 + n), **more)
        for n, (name, more) in enumerate(
            {"late": {}, "in_time": {}, "cash": {"paymentMethod": "CASH"}, "paid": {}}.items()
        )
    }
    paid(made["paid"]["_id"])
    for name in ("late", "cash", "paid"):
        age(made[name], createdAt=30 * MINUTE)
    age(made["in_time"], createdAt=29 * MINUTE)

    assert sweep()[1] == "cancelled as unpaid: 1 (overtaken: 0)"

    statuses = {name: stored(booking)["status"] for name, booking in made.items()}
    assert statuses == {"late": "CANCELLED", "in_time": "REQUESTED", "cash": "REQUESTED", "paid": "SEARCHING"}
    cancellation = stored(made["late"])["cancellation"]
    assert (cancellation["cancelledBy"], cancellation["reason"]) == ("SYSTEM", "NOT_PAID")
    assert outbox.types().count("booking.cancelled") == 1
    assert len(claims()) == 18


def test_a_payment_just_in_time_saves_the_booking(asha, paid, age, stored, monkeypatch):
    booking = booking_made(asha)
    age(booking, createdAt=31 * MINUTE)
    seen = changing.booking_of

    def paid_first(actor, booking_id):
        paid(booking_id)
        return seen(actor, booking_id)

    monkeypatch.setattr(services, "booking_of", paid_first)

    assert sweep()[1] == "cancelled as unpaid: 0 (overtaken: 1)"
    assert stored(booking)["status"] == "SEARCHING"


@pytest.fixture
def order_opened(monkeypatch):
    """Opens an order for a booking, as its patient does."""
    monkeypatch.setattr(
        partner,
        "order_open",
        lambda **asked: PaymentOrder(
            "order-1", asked["booking_id"], asked["amount"], "INR", OrderStatus.OPEN, "https://pay.example.com", None
        ),
    )
    return lambda booking: payments.payment_open(actor=patient_of(booking), booking_id=booking["_id"])


def patient_of(booking):
    return Caller(Role.PATIENT, booking["patient"])


def become_online(booking):
    """A booking that was to be paid in cash."""
    changes = {"paymentMethod": "ONLINE"}
    moving.booking_update(actor=patient_of(booking), booking_id=booking["_id"], changes=changes)


@pytest.mark.parametrize("payment", [{"status": "PENDING"}, {"status": "PENDING", "method": "CASH"}, None])
def test_who_goes_to_pay_an_older_booking_has_the_time_for_it(asha, age, documents, stored, at, order_opened, payment):
    booking = booking_made(asha, startsAt=tomorrow(days=20))
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"payment": payment}})
    age(booking, createdAt=timedelta(days=20))
    if (payment or {}).get("method"):
        become_online(booking)
    order_opened(booking)

    sweep()
    assert stored(booking)["status"] == "REQUESTED"
    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-1")
    sweep()
    assert stored(booking)["status"] == "REQUESTED"

    at(datetime.now(UTC) + 31 * MINUTE)
    sweep()
    assert stored(booking)["status"] == "CANCELLED"


def test_an_order_opened_at_the_last_moment_leaves_time_to_pay_it(asha, age, stored, at, order_opened):
    booking = booking_made(asha, startsAt=tomorrow(days=20))
    age(booking, createdAt=29 * MINUTE)
    order_opened(booking)

    at(datetime.now(UTC) + 2 * MINUTE)
    sweep()
    assert stored(booking)["status"] == "REQUESTED"
    at(datetime.now(UTC) + 31 * MINUTE)
    sweep()
    assert stored(booking)["status"] == "CANCELLED"


def test_an_order_opened_just_now_saves_the_booking(asha, age, stored, monkeypatch, order_opened):
    booking = booking_made(asha)
    age(booking, createdAt=31 * MINUTE)
    seen = changing.booking_of

    def opened_first(actor, booking_id):
        if actor is SYSTEM:
            order_opened(booking)
        return seen(actor, booking_id)

    monkeypatch.setattr(services, "booking_of", opened_first)

    assert sweep()[1] == "cancelled as unpaid: 0 (overtaken: 1)"
    assert stored(booking)["status"] == "REQUESTED"


def test_it_goes_on_in_batches(asha, age, monkeypatch, documents):
    monkeypatch.setattr(sweeping, "BATCH", 2)
    for hour in range(7, 12):
        age(booking_made(asha, startsAt=tomorrow(hour)), createdAt=31 * MINUTE)

    assert sweep()[1] == "cancelled as unpaid: 5 (overtaken: 0)"
    assert documents("nursebookings").count_documents({"status": "CANCELLED"}) == 5


def test_two_sweeps_at_once_change_each_booking_once(asha, age, outbox):
    for hour in range(7, 15):
        age(booking_made(asha, startsAt=tomorrow(hour)), createdAt=31 * MINUTE)

    results = in_parallel([sweeping.sweep_unpaid] * 4)

    assert sum(swept.changed for swept in results) == 8
    assert outbox.types().count("booking.cancelled") == 8


def test_two_processes_at_once_change_each_booking_once(asha, age, outbox, process_environment):
    for hour in range(7, 15):
        age(booking_made(asha, startsAt=tomorrow(hour)), createdAt=31 * MINUTE)
    command = [sys.executable, "manage.py", "sweep_bookings"]

    pods = [
        subprocess.Popen(command, env=process_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [pod.communicate(timeout=120) for pod in pods]

    assert [pod.returncode for pod in pods] == [0, 0], outputs
    assert outbox.types().count("booking.cancelled") == 8


def test_one_booking_that_resists_does_not_keep_the_others_waiting(asha, age, documents):
    broken, sound = (booking_made(asha, startsAt=tomorrow(hour)) for hour in (9, 11))
    for booking in (broken, sound):
        age(booking, createdAt=31 * MINUTE)
    documents("nursebookings").update_one({"_id": broken["_id"]}, {"$set": {"timeline": "gone"}})

    with pytest.raises(CommandError, match=str(broken["_id"])):
        sweep()

    assert documents("nursebookings").find_one({"_id": sound["_id"]})["status"] == "CANCELLED"


def test_many_that_resist_do_not_keep_the_others_waiting(asha, age, documents, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 2)
    *broken, sound = (booking_made(asha, startsAt=tomorrow(hour)) for hour in (7, 9, 11, 13))
    for booking in (*broken, sound):
        age(booking, createdAt=31 * MINUTE)
    broken_ids = [booking["_id"] for booking in broken]
    documents("nursebookings").update_many({"_id": {"$in": broken_ids}}, {"$set": {"timeline": "gone"}})

    with pytest.raises(CommandError, match="3 bookings could not be swept"):
        sweep()

    assert documents("nursebookings").find_one({"_id": sound["_id"]})["status"] == "CANCELLED"


def discrepancy(amount, **back):
    return {"transactionId": "txn-9", "amount": Decimal128(amount), "at": tomorrow(), **back}


@pytest.mark.parametrize(
    ("payment", "status"),
    [
        ({"payment.discrepancies": [discrepancy("677.13")]}, "REQUESTED"),
        ({"payment.discrepancies": [], "payment.moreDiscrepancies": 1}, "REQUESTED"),
        (
            {"payment.discrepancies": [discrepancy("600", refundedAmount=Decimal128("1"), refundedAt=tomorrow())]},
            "REQUESTED",
        ),
        (
            {"payment.discrepancies": [discrepancy("600", refundedAmount=Decimal128("600"), refundedAt=tomorrow())]},
            "CANCELLED",
        ),
        ({"payment.discrepancies": [discrepancy("0")]}, "CANCELLED"),
        ({"payment.discrepancies": None}, "CANCELLED"),
    ],
)
def test_what_brought_money_that_does_not_fit_is_left_to_staff(asha, age, documents, stored, payment, status):
    booking = booking_made(asha)
    age(booking, createdAt=31 * MINUTE)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": payment})

    sweep()

    assert stored(booking)["status"] == status


def test_money_that_came_just_now_and_does_not_fit_saves_the_booking(asha, paid, age, stored, monkeypatch):
    booking = booking_made(asha)
    age(booking, createdAt=31 * MINUTE)
    seen = changing.booking_of

    def paid_first(actor, booking_id):
        payments.payment_discrepancy_record(booking_id=booking_id, transaction_id="txn-1", amount=Decimal("677.13"))
        return seen(actor, booking_id)

    monkeypatch.setattr(services, "booking_of", paid_first)

    assert sweep()[1] == "cancelled as unpaid: 0 (overtaken: 1)"
    assert stored(booking)["status"] == "REQUESTED"


def test_odd_bookings_keep_their_claims_and_nobody_waiting(asha, claims, documents):
    nameless, unreadable, cancelled = (booking_made(asha, startsAt=tomorrow(hour)) for hour in (7, 9, 11))
    documents("nursebookings").update_one({"_id": nameless["_id"]}, {"$unset": {"status": ""}})
    documents("nursebookings").update_one({"_id": unreadable["_id"]}, {"$set": {"claims": 7}})
    documents("nursebookings").update_one({"_id": cancelled["_id"]}, {"$set": {"status": "CANCELLED"}})

    with pytest.raises(CommandError, match=f"1 bookings could not be swept: {unreadable['_id']}"):
        sweep()

    assert len(claims()) == 12


@pytest.mark.parametrize("command", ["sweep_bookings", "send_reminders"])
def test_without_mongodb_it_says_so_in_a_line(process_environment, command):
    nowhere = "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=300"
    process = subprocess.run(
        [sys.executable, "manage.py", command],
        env={**process_environment, "MONGODB_URI": nowhere},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert process.returncode == 1
    assert process.stderr.strip() == "CommandError: MongoDB is not reachable or asks for a retry"


@pytest.mark.parametrize(
    ("command", "module", "name"),
    [("sweep_bookings", services, "booking_cancel"), ("send_reminders", notifications, "_remind")],
)
def test_mongodb_gone_on_the_way_ends_it_at_once(asha, age, at, monkeypatch, command, module, name):
    calls = []

    def gone(*_args, **named):
        calls.append(named)
        raise OperationalError("MongoDB is not reachable") from ConnectionFailure()

    monkeypatch.setattr(module, name, gone)
    for hour in (9, 11):
        age(booking_made(asha, startsAt=tomorrow(hour)), createdAt=31 * MINUTE)
    at(tomorrow(8))

    with pytest.raises(CommandError, match="MongoDB is not reachable"):
        call_command(command, stdout=io.StringIO())

    assert len(calls) == 1


def test_it_frees_claims_that_no_booking_stands_behind(asha, claims, documents, caplog):
    kept = booking_made(asha)
    held = claims()
    expires_at = tomorrow(days=5)
    orphan, leftover = ObjectId(), kept["_id"]
    documents("slotclaims").insert_many(
        [
            {"_id": "person:x:1", "booking": orphan, "expiresAt": expires_at},
            {"_id": "person:x:2", "booking": orphan, "expiresAt": expires_at},
            {"_id": "provider:y:1", "booking": leftover, "expiresAt": expires_at},
        ]
    )

    assert sweep()[2] == "orphaned claims freed: 3"

    assert claims() == held
    assert caplog.text.count("orphaned_claims_freed") == 2
    assert sweep()[2] == "orphaned claims freed: 0"


@pytest.mark.parametrize("odd", [{}, {"booking": [ObjectId()]}, {"booking": "x"}])
def test_a_claim_that_names_no_booking_keeps_no_other_waiting(asha, claims, documents, odd):
    documents("slotclaims").insert_many(
        [
            {"_id": "person:x:1", "expiresAt": tomorrow(days=5), **odd},
            {"_id": "person:x:2", "expiresAt": tomorrow(days=5), "booking": ObjectId()},
        ]
    )

    with pytest.raises(CommandError, match="could not be swept: person:x:1"):
        sweep()

    assert claims() == ["person:x:1"]


def test_it_frees_the_claims_of_what_was_cancelled_past_the_service(asha, claims, documents):
    booking = booking_made(asha)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": "CANCELLED"}})

    assert sweep()[2] == "orphaned claims freed: 6"
    assert claims() == []


def test_no_command_scans_the_bookings(asha, age, documents):
    for hour in range(7, 12):
        age(booking_made(asha, startsAt=tomorrow(hour)), createdAt=31 * MINUTE)
    database = documents("nursebookings").database
    database.command("profile", 2)
    try:
        sweep()
        call_command("send_reminders", stdout=io.StringIO())
    finally:
        database.command("profile", 0)
    profiled = list(database["system.profile"].find({"ns": {"$regex": r"\.(nursebookings|slotclaims)$"}}))
    database["system.profile"].drop()

    plans = {row["planSummary"] for row in profiled if "planSummary" in row}
    assert any("status" in plan for plan in plans)
    assert not [plan for plan in plans if "COLLSCAN" in plan]
    assert not [row for row in profiled if row.get("hasSortStage")]
