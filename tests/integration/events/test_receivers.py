"""events.receivers: every signal leaves the row its contract promises, in the signal's own transaction."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from django.db import connection

from booking_service.api.request_id import bind_request_id
from booking_service.djongo.transaction import atomic
from bookings import moving, signals
from bookings.signals import NotificationKind
from events.exceptions import OutsideTransactionError
from events.models import OutboxEvent
from events.receivers import RECEIVERS, camel_case
from events.schemas import PUBLISHED, PUBLISHED_BY_NAME
from patients.signals import patient_registered
from tests.factories import booking_made, patient_made, service_made, tomorrow

BOOKING = {
    "_id": ObjectId(),
    "patient": ObjectId(),
    "serviceType": "WOUND_DRESSING",
    "scheduledDate": datetime(2026, 12, 1, tzinfo=UTC),
    "scheduledTime": "10:00",
    "startsAt": datetime(2026, 12, 1, 4, 30, tzinfo=UTC),
    "pricing": {"payableAmount": Decimal128("678.50")},
    "payment": {"transactionId": "t-1"},
    "status": "REQUESTED",
    "patientCondition": {"diagnosis": "a secret"},
}
PATIENT = {"patientId": str(ObjectId()), "name": "Asha", "email": "a@example.com", "phone": "9876543210"}

# What each signal is sent with, and the data its event then has besides bookingId and patientId.
SENT: dict[str, tuple[Any, dict, dict]] = {
    "booking.created": (
        signals.booking_created,
        {"notification": NotificationKind.CONFIRMATION},
        {
            "serviceType": "WOUND_DRESSING",
            "scheduledDate": "2026-12-01T00:00:00.000Z",
            "scheduledTime": "10:00",
            "startsAt": "2026-12-01T04:30:00.000Z",
            "amount": 678.5,
            "status": "REQUESTED",
        },
    ),
    "booking.cancelled": (
        signals.booking_cancelled,
        {"cancelled_by": "PATIENT", "reason": "away", "refund_amount": Decimal("339.25"), "notification": None},
        {"cancelledBy": "PATIENT", "reason": "away", "refundAmount": 339.25, "status": "REQUESTED"},
    ),
    "booking.rescheduled": (
        signals.booking_rescheduled,
        {
            "previous_starts_at": datetime(2026, 11, 30, 4, 30, tzinfo=UTC),
            "starts_at": datetime(2026, 12, 1, 4, 30, tzinfo=UTC),
            "reason": "away",
            "amount": Decimal(700),
            "notification": NotificationKind.RESCHEDULE,
        },
        {
            "previousStartsAt": "2026-11-30T04:30:00.000Z",
            "startsAt": "2026-12-01T04:30:00.000Z",
            "amount": 700,
        },
    ),
    "booking.assigned": (
        signals.booking_assigned,
        {"provider_id": ObjectId("a" * 24), "notification": NotificationKind.ASSIGNMENT},
        {"providerId": "a" * 24, "status": "REQUESTED"},
    ),
    "booking.confirmed": (signals.booking_confirmed, {"notification": None}, {"status": "REQUESTED"}),
    "booking.completed": (signals.booking_completed, {"notification": None}, {"status": "REQUESTED"}),
    "booking.no_show": (
        signals.booking_no_show,
        {"absent_party": "PROVIDER", "notification": None},
        {"absentParty": "PROVIDER", "status": "REQUESTED"},
    ),
    "booking.refund_requested": (
        signals.booking_refund_requested,
        {"amount": Decimal("339.25"), "reason": "CANCELLED", "notification": None},
        {"amount": 339.25, "reason": "CANCELLED"},
    ),
}


def send(signal, **sent):
    with atomic():
        signal.send(sender=None, booking=BOOKING, version=7, **sent)


def rows(lane):
    return list(OutboxEvent.objects.mongo_find({"lane": lane}))


def test_every_published_event_has_a_signal_and_every_signal_a_case_here():
    published = {receiver.publishes for receiver in RECEIVERS.values()} - {None}
    assert published == {contract.name for contract in PUBLISHED} == {*SENT, "patient.registered"}


@pytest.mark.parametrize("name", SENT)
def test_a_signal_leaves_one_event_that_keeps_its_contract(name):
    signal, sent, data = SENT[name]
    bind_request_id("the-request")
    send(signal, **sent)
    (row,) = rows("BROKER")
    contract = PUBLISHED_BY_NAME[name]
    body = json.loads(row["body"])
    assert contract.violation(body) is None
    ids = {"bookingId": str(BOOKING["_id"]), "patientId": str(BOOKING["patient"])}
    assert body["data"] == {**ids, **data}
    assert (body["event"], body["service"]) == (name, "patient-booking-service")
    assert (row["exchange"], row["routingKey"], row["correlationId"]) == (contract.exchange, name, "the-request")
    assert (row["aggregateId"], row["aggregateVersion"]) == (str(BOOKING["_id"]), 7)
    assert b"secret" not in row["body"]


@pytest.mark.parametrize(("version", "kept"), [(2.0, 2), (float("nan"), 0), (2.5, 0), (None, 0), ("2", 0)])
def test_a_version_that_an_old_document_keeps_oddly_is_a_whole_number_in_the_row(version, kept):
    with atomic():
        signals.booking_confirmed.send(sender=None, booking=BOOKING, version=version, notification=None)
    (row,) = rows("BROKER")
    assert (row["aggregateVersion"], type(row["aggregateVersion"])) == (kept, int)


def test_moving_an_old_booking_whose_time_nobody_can_read_keeps_the_contract():
    service_made("WOUND_DRESSING")
    patient = patient_made()
    booking = booking_made(patient)
    unreadable = {"$set": {"scheduledTime": "when convenient"}, "$unset": {"startsAt": 1, "endsAt": 1}}
    stored: Any = connection
    stored.database["nursebookings"].update_one({"_id": booking["_id"]}, unreadable)

    moving.booking_reschedule(actor=patient, booking_id=booking["_id"], starts_at=tomorrow(10, days=4))

    (row,) = [row for row in rows("BROKER") if row["type"] == "booking.rescheduled"]
    body = json.loads(row["body"])
    assert PUBLISHED_BY_NAME["booking.rescheduled"].violation(body) is None
    assert body["data"]["previousStartsAt"] is None


def test_a_registered_patient_leaves_the_platforms_event():
    with atomic():
        patient_registered.send(sender=None, patient={**PATIENT, "referralCode": "ASHA1"})
    (row,) = rows("BROKER")
    assert row["aggregateId"] == PATIENT["patientId"]
    body = json.loads(row["body"])
    assert PUBLISHED_BY_NAME["patient.registered"].violation(body) is None
    assert body["data"] == {**PATIENT, "referralCode": "ASHA1"}


def test_a_notification_leaves_a_row_for_the_partner():
    send(signals.booking_created, notification=NotificationKind.CONFIRMATION)
    (row,) = rows("PARTNER")
    assert row["type"] == "notification.send"
    assert json.loads(row["body"]) == {
        "bookingId": str(BOOKING["_id"]),
        "patientId": str(BOOKING["patient"]),
        "kind": "CONFIRMATION",
        "serviceType": "WOUND_DRESSING",
        "startsAt": "2026-12-01T04:30:00.000Z",
    }


def test_no_notification_leaves_none():
    send(signals.booking_confirmed, notification=None)
    assert rows("PARTNER") == []


def test_a_reminder_is_told_to_the_partner_and_to_nobody_else():
    send(signals.booking_notification_requested, notification=NotificationKind.REMINDER_2H)
    assert [row["type"] for row in rows("PARTNER")] == ["notification.send"]
    assert rows("BROKER") == []


def test_a_refund_leaves_a_request_with_the_transaction_it_undoes():
    send(signals.booking_refund_requested, amount=Decimal("339.25"), reason="CANCELLED", notification=None)
    (row,) = rows("PARTNER")
    facts = json.loads(row["body"])
    assert (row["type"], facts["transactionId"], facts["amount"]) == ("refund.request", "t-1", 339.25)


def test_outside_a_transaction_the_signal_raises_and_leaves_nothing():
    with pytest.raises(OutsideTransactionError):
        signals.booking_confirmed.send(sender=None, booking=BOOKING, version=1, notification=None)
    assert OutboxEvent.objects.mongo_count_documents({}) == 0


def test_events_of_one_transaction_keep_their_order():
    with atomic():
        signals.booking_cancelled.send(
            sender=None, booking=BOOKING, version=3, cancelled_by="ADMIN", reason="", refund_amount=0, notification=None
        )
        signals.booking_refund_requested.send(
            sender=None, booking=BOOKING, version=3, amount=Decimal(1), reason="x", notification=None
        )
    order = OutboxEvent.objects.mongo_find({"lane": "BROKER"}).sort("position", 1)
    assert [row["type"] for row in order] == ["booking.cancelled", "booking.refund_requested"]


@pytest.mark.parametrize(("name", "camel"), [("reason", "reason"), ("previous_starts_at", "previousStartsAt")])
def test_arguments_become_camel_case(name, camel):
    assert camel_case(name) == camel
