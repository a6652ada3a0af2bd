"""events.deliveries: partners are told what they must know, as often as it takes, and only once."""

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from bson import ObjectId
from django.conf import settings

from booking_service.djongo.transaction import atomic
from booking_service.operations.metrics import EVENTS_DELIVERED
from booking_service.partners import notifications
from booking_service.partners import payments as payment_service
from booking_service.partners.exceptions import NotificationServiceDown, PartnerRefused, PaymentServiceDown
from bookings import notifications as booking_notifications
from bookings import payments
from events import deliveries
from events.deliveries import PartnerLane
from events.models import AT_ONCE, Lane, OutboxEvent
from events.receivers import REQUEST_REFUND, SEND_NOTIFICATION
from events.repositories import NewEvent, outbox_add, outbox_claim
from patients import services as patients

PATIENT_ID = ObjectId()


def write(type, **facts):
    body = json.dumps({"bookingId": str(ObjectId()), "patientId": str(PATIENT_ID), **facts}).encode()
    event = NewEvent(Lane.PARTNER, type, str(ObjectId()), 1, body, ObjectId())
    with atomic():
        outbox_add([event], correlation_id="the-request", at=datetime.now(UTC))
    return event.event_id


def refund():
    return write(REQUEST_REFUND, transactionId="t-1", amount=339.25, reason="CANCELLED")


def step():
    with PartnerLane() as lane:
        return lane.step()


def row():
    return OutboxEvent.objects.mongo_find_one({})


def due_now():
    OutboxEvent.objects.mongo_update_many({}, {"$set": {"dueAt": datetime.now(UTC) - timedelta(seconds=1)}})


@pytest.fixture
def refunds(monkeypatch):
    """Refund calls; an exception put into `fails` is raised instead of an answer."""
    calls: list[dict] = []
    fails: list[Exception] = []

    def request(**call):
        calls.append(call)
        if fails:
            raise fails[0]

    monkeypatch.setattr(payment_service, "refund_request", request)
    return calls, fails


@pytest.fixture
def staff_cases(monkeypatch):
    cases = []
    monkeypatch.setattr(payments, "refund_needs_staff", lambda **case: cases.append(case))
    return cases


@pytest.fixture
def contact(monkeypatch):
    """Sets the channels of the patient."""

    def wants(**channels):
        contact = patients.PatientContact(
            PATIENT_ID, "Asha", "a@example.com", "9876543210", preferences={"notificationChannels": channels}
        )
        monkeypatch.setattr(patients, "patient_contact", lambda _id: contact)
        monkeypatch.setattr(booking_notifications, "notification_is_current", lambda **_: True)

    return wants


@pytest.fixture
def sent(monkeypatch):
    calls = []
    monkeypatch.setattr(notifications, "send", lambda **call: calls.append(call))
    return calls


def test_a_refund_is_asked_for_with_the_rows_id_as_its_key_and_marked(refunds):
    event_id = refund()
    assert step() == 1
    (call,) = refunds[0]
    assert (call["transaction_id"], call["amount"], call["idempotency_key"]) == (
        "t-1",
        Decimal("339.25"),
        str(event_id),
    )
    assert row()["status"] == "SENT"
    assert step() == 0


def test_a_partner_that_is_down_is_asked_again_later_with_the_same_key(refunds, increase):
    calls, fails = refunds
    refund()
    fails.append(PaymentServiceDown(retry_after=40))
    step()
    assert row()["status"] == "WAITING"
    assert row()["lastError"] == "PAYMENT_SERVICE_DOWN"
    assert row()["dueAt"] > datetime.now(UTC) + timedelta(seconds=30)
    assert step() == 0
    fails.clear()
    due_now()
    step()
    assert row()["status"] == "SENT"
    assert len({call["idempotency_key"] for call in calls}) == 1
    assert increase(EVENTS_DELIVERED) == {(REQUEST_REFUND, "retried"): 1, (REQUEST_REFUND, "done"): 1}


def test_after_the_last_attempt_the_refund_is_a_case_for_staff(refunds, staff_cases, settings, increase):
    settings.EVENTS_PARTNER_ATTEMPTS = 3
    refund()
    refunds[1].append(PaymentServiceDown())
    for _ in range(3):
        due_now()
        step()
    assert (row()["status"], row()["attempts"]) == ("DEAD", 3)
    (case,) = staff_cases
    assert case["reason"] == "PAYMENT_SERVICE_DOWN"
    assert increase(EVENTS_DELIVERED) == {(REQUEST_REFUND, "retried"): 2, (REQUEST_REFUND, "dead"): 1}


def test_a_refused_refund_is_a_case_for_staff_at_once(refunds, staff_cases):
    refund()
    refunds[1].append(PartnerRefused("payments", 422, "UNKNOWN_TRANSACTION"))
    step()
    assert row()["status"] == "DEAD"
    assert len(staff_cases) == 1


def test_a_bug_in_a_call_is_tried_again_and_says_only_its_class(refunds):
    refund()
    refunds[1].append(ValueError("a secret"))
    step()
    assert (row()["status"], row()["lastError"]) == ("WAITING", "ValueError")


def test_a_patient_is_told_by_the_channels_they_want(contact, sent):
    contact(sms=True, email=False, push=True)
    event_id = write(SEND_NOTIFICATION, kind="CONFIRMATION", serviceType="X", startsAt="2026-12-01T04:30:00.000Z")
    step()
    (call,) = sent
    assert (call["channels"], call["kind"], call["idempotency_key"]) == (["SMS", "PUSH"], "confirmation", str(event_id))
    assert call["facts"] == {"serviceType": "X", "startsAt": "2026-12-01T04:30:00.000Z"}
    assert row()["status"] == "SENT"


def test_who_wants_no_channel_is_told_nothing(contact, sent):
    contact(sms=False)
    write(SEND_NOTIFICATION, kind="CONFIRMATION")
    step()
    assert (sent, row()["status"]) == ([], "SENT")


def test_what_is_no_longer_true_is_not_sent(contact, sent, monkeypatch):
    asked = []

    def is_overtaken(**about):
        asked.append(about)

    contact(sms=True)
    monkeypatch.setattr(booking_notifications, "notification_is_current", is_overtaken)
    write(SEND_NOTIFICATION, kind="REMINDER_2H", startsAt="2026-12-01T04:30:00.000Z")
    write(SEND_NOTIFICATION, kind="ASSIGNMENT", startsAt=None)
    step()
    assert sent == []
    assert {row["status"] for row in OutboxEvent.objects.mongo_find({})} == {"SENT"}
    told = {about["kind"]: about["starts_at"] for about in asked}
    assert told == {"REMINDER_2H": datetime(2026, 12, 1, 4, 30, tzinfo=UTC), "ASSIGNMENT": None}


def test_an_undeliverable_notification_is_dead_and_its_booking_untouched(contact, monkeypatch, settings):
    settings.EVENTS_PARTNER_ATTEMPTS = 1
    contact(sms=True)

    def down(**_call):
        raise NotificationServiceDown

    monkeypatch.setattr(notifications, "send", down)
    write(SEND_NOTIFICATION, kind="CONFIRMATION")
    step()
    assert row()["status"] == "DEAD"


def test_a_refund_that_nobody_can_be_told_of_is_dead_and_the_next_is_asked_for(refunds, caplog):
    calls, fails = refunds
    fails.append(PartnerRefused("payments", 422))
    refund()  # of a booking that is not there
    refund()

    assert step() == 2

    assert len(calls) == 2
    assert [row["status"] for row in OutboxEvent.objects.mongo_find({})] == ["DEAD", "DEAD"]
    assert caplog.text.count("delivery_not_told") == 2


def test_a_row_that_somebody_else_holds_by_now_is_not_buried_by_us(refunds, staff_cases):
    refund()
    refunds[1].append(PartnerRefused("payments", 422))
    claimed = outbox_claim(Lane.PARTNER, limit=1, lease=timedelta(seconds=-1), type=REQUEST_REFUND)[0]
    OutboxEvent.objects.mongo_update_one({}, {"$set": {"leaseOwner": "another"}})
    deliveries.deliver(claimed)
    assert row()["status"] == "WAITING"
    assert staff_cases == []


@pytest.mark.parametrize("body", [b"not json", b"\xff", b"[" * 100_000])
def test_a_row_with_a_body_that_nobody_can_read_is_dead_and_the_next_is_asked_for(refunds, increase, body):
    unreadable, sound = refund(), refund()
    OutboxEvent.objects.mongo_update_one({"_id": unreadable}, {"$set": {"body": body}})

    assert step() == 2

    found = {row["_id"]: row for row in OutboxEvent.objects.mongo_find({})}
    assert {event_id: row["status"] for event_id, row in found.items()} == {unreadable: "DEAD", sound: "SENT"}
    assert found[unreadable]["lastError"].startswith("unreadable: ")
    assert increase(EVENTS_DELIVERED) == {(REQUEST_REFUND, "dead"): 1, (REQUEST_REFUND, "done"): 1}


def test_a_call_of_another_release_is_left_to_it_and_the_next_is_made(refunds):
    newer, sound = write("sms.send"), refund()

    assert step() == 1

    found = {row["_id"]: row for row in OutboxEvent.objects.mongo_find({})}
    assert {event_id: row["status"] for event_id, row in found.items()} == {newer: "WAITING", sound: "SENT"}
    assert (found[newer]["attempts"], found[newer]["dueAt"]) == (0, AT_ONCE)


def test_a_slow_notification_service_holds_up_no_refund(refunds, contact, monkeypatch):
    """Every place for notifications is taken until the refund, which is due last, has been asked for."""
    asked_for = threading.Event()
    told = []
    monkeypatch.setattr(notifications, "send", lambda **_: told.append(asked_for.wait(10)))
    monkeypatch.setattr(payment_service, "refund_request", lambda **_: asked_for.set())
    contact(sms=True)
    for _ in range(30):
        write(SEND_NOTIFICATION, kind="CONFIRMATION")
    refund()

    assert step() <= settings.EVENTS_PARTNER_THREADS + 1

    assert all(told)
    assert len(told) == settings.EVENTS_PARTNER_THREADS


def test_claiming_the_calls_of_a_type_reads_none_of_another(contact):
    for _ in range(40):
        write(SEND_NOTIFICATION, kind="CONFIRMATION")
    refund()
    due = {"status": "WAITING", "lane": "PARTNER", "dueAt": {"$lte": datetime.now(UTC)}, "type": REQUEST_REFUND}

    plan = OutboxEvent.objects.mongo_find(due).sort([("dueAt", 1), ("_id", 1)]).limit(4).explain()

    assert plan["executionStats"]["totalKeysExamined"] <= 2
    assert "SORT" not in str(plan["queryPlanner"]["winningPlan"])
