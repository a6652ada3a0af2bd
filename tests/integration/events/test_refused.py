"""What our rules refuse, over RabbitMQ and with the handlers that run: dead at once, and the next message is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from django.db import connection as django_connection

from booking_service.operations.metrics import EVENTS_CONSUMED
from events.models import InboxMessage
from events.topology import topology
from tests.factories import booking_made, patient_made, service_made
from tests.integration.events.rabbit import a_payment, dead_letter, message_count, send

pytestmark = pytest.mark.broker
connection: Any = django_connection  # what MongoDB adds to it has no types


@pytest.fixture
def booking() -> dict[str, Any]:
    """A booking to pay."""
    service_made("WOUND_DRESSING")
    return booking_made(patient_made())


@pytest.fixture
def pay(rabbit: str, booking: dict[str, Any]) -> Callable[..., None]:
    """Sends a payment for the booking: what is payable, unless told otherwise."""
    payable = float(booking["pricing"]["payableAmount"].to_decimal())

    def send_payment(message_id: str, *, transaction: str = "t-1", more: float = 0) -> None:
        data = a_payment(bookingId=str(booking["_id"]), transactionId=transaction, amount=round(payable + more, 2))
        send(rabbit, data, message_id=message_id)

    return send_payment


@pytest.fixture
def payment(booking: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The booking's payment as it is stored now."""

    def stored() -> dict[str, Any]:
        found: dict[str, Any] = connection.database["nursebookings"].find_one({"_id": booking["_id"]})["payment"]
        return found

    return stored


def inbox() -> set[str]:
    return {row["_id"].removeprefix("payment.completed:") for row in InboxMessage.objects.mongo_find({})}


def buried(rabbit: str) -> bool:
    return message_count(rabbit, topology().dead_queue) == 1


def test_an_amount_that_differs_is_dead_flags_the_booking_and_lets_the_next_through(
    rabbit: str, consume: Any, pay: Any, payment: Any, increase: Any
) -> None:
    pay("wrong", more=1)
    pay("right", transaction="t-2")

    consume(lambda: inbox() and buried(rabbit))

    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"]) == ("wrong", "PAYMENT_AMOUNT_MISMATCH")
    assert letter.headers["x-attempt"] == 1
    assert inbox() == {"right"}
    assert increase(EVENTS_CONSUMED) == {("payment.completed", "dead"): 1, ("payment.completed", "done"): 1}
    after = payment()
    assert (after["status"], after["transactionId"], after["needsStaff"]) == ("PAID", "t-2", True)
    assert [flag["transactionId"] for flag in after["discrepancies"]] == ["t-1"]


def test_a_second_payment_is_dead_and_flags_the_booking(rabbit: str, consume: Any, pay: Any, payment: Any) -> None:
    pay("first")
    pay("second", transaction="t-2")

    consume(lambda: inbox() and buried(rabbit))

    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"]) == ("second", "PAYMENT_AMOUNT_MISMATCH")
    assert inbox() == {"first"}
    after = payment()
    assert (after["status"], after["transactionId"], after["needsStaff"]) == ("PAID", "t-1", True)


NOBODYS = str(ObjectId())
ABOUT_NO_BOOKING = {
    "payment.completed": a_payment(bookingId=NOBODYS),
    "payment.failed": {"bookingId": NOBODYS},
    "payment.refunded": {"bookingId": NOBODYS, "amount": 1},
    "notification.sent": {"bookingId": NOBODYS, "kind": "CONFIRMATION", "channel": "SMS"},
    "notification.failed": {"bookingId": NOBODYS, "kind": "CONFIRMATION", "channel": "SMS"},
}


@pytest.mark.parametrize("type", ABOUT_NO_BOOKING)
def test_an_unknown_booking_is_dead_at_once_and_lets_the_next_through(
    rabbit: str, consume: Any, pay: Any, payment: Any, type: str
) -> None:
    send(rabbit, ABOUT_NO_BOOKING[type], type=type, message_id="unknown")
    pay("right")

    consume(lambda: inbox() and buried(rabbit))

    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"]) == ("unknown", "NOT_FOUND")
    assert letter.headers["x-attempt"] == 1
    assert inbox() == {"right"}
    assert payment()["status"] == "PAID"


def test_a_notification_that_was_never_sent_is_dead_at_once(rabbit: str, consume: Any, booking: Any) -> None:
    data = {"bookingId": str(booking["_id"]), "kind": "GREETING", "channel": "SMS"}
    send(rabbit, data, type="notification.sent")

    consume(lambda: buried(rabbit))

    assert dead_letter(rabbit).headers["x-reason"] == "UNKNOWN_NOTIFICATION"
    assert inbox() == set()
