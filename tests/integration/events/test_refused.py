"""What our rules refuse, over RabbitMQ and with the handlers that run: dead at once, and the next message is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from django.db import connection as django_connection

from booking_service.operations.metrics import EVENTS_CONSUMED
from booking_service.partners.answers import LONGEST_TEXT
from events.models import InboxMessage
from events.repositories import TRANSACTION
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
    rows = InboxMessage.objects.mongo_find({"type": {"$ne": TRANSACTION}})
    return {row["_id"].removeprefix("payment.completed:") for row in rows}


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


def test_a_transaction_that_paid_another_booking_is_dead_and_flags_this_one(
    rabbit: str, consume: Any, pay: Any, payment: Any
) -> None:
    other = booking_made(patient_made())
    amount = float(other["pricing"]["payableAmount"].to_decimal())
    send(rabbit, a_payment(bookingId=str(other["_id"]), amount=amount), message_id="first")
    consume(lambda: inbox() == {"first"})
    pay("second")
    consume(lambda: buried(rabbit))

    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"]) == ("second", "PAYMENT_AMOUNT_MISMATCH")
    assert inbox() == {"first"}
    after = payment()
    assert (after["status"], after["needsStaff"]) == ("PENDING", True)
    assert [flag["transactionId"] for flag in after["discrepancies"]] == ["t-1"]
    pay("third", transaction="t-2")
    consume(lambda: inbox() == {"first", "third"})
    assert (payment()["status"], payment()["transactionId"]) == ("PAID", "t-2")


def test_a_transaction_told_at_once_of_many_bookings_pays_one_of_them(rabbit: str, consume: Any) -> None:
    service_made("WOUND_DRESSING")
    for number in range(8):
        booking = booking_made(patient_made())
        amount = float(booking["pricing"]["payableAmount"].to_decimal())
        send(rabbit, a_payment(bookingId=str(booking["_id"]), amount=amount), message_id=f"m-{number}")

    consume(lambda: message_count(rabbit, topology().dead_queue) == 7)

    statuses = [row["payment"]["status"] for row in connection.database["nursebookings"].find({})]
    assert sorted(statuses) == ["PAID", *["PENDING"] * 7]
    assert len(inbox()) == 1


def test_a_payment_that_was_refused_leaves_its_transaction_to_the_booking_that_it_fits(
    rabbit: str, consume: Any, pay: Any, payment: Any
) -> None:
    other = str(booking_made(patient_made())["_id"])
    send(rabbit, a_payment(bookingId=other, amount=1), message_id="wrong")
    consume(lambda: buried(rabbit))

    pay("right")
    pay("again")
    consume(lambda: inbox() == {"right", "again"})

    assert payment()["status"] == "PAID"


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ("order-1", "PENDING"),
        ("1" * LONGEST_TEXT, "PENDING"),
        ("order-2", "FAILED"),
        (None, "FAILED"),
        ("", "FAILED"),
        (2, "FAILED"),
        ({"id": "order-1"}, "FAILED"),
    ],
)
def test_a_failure_that_names_an_older_order_leaves_the_open_one(
    rabbit: str, consume: Any, booking: Any, payment: Any, named: object, status: str
) -> None:
    order = {"orderId": "order-2", "amount": booking["pricing"]["payableAmount"]}
    connection.database["nursebookings"].update_one({"_id": booking["_id"]}, {"$set": {"payment.order": order}})
    data = {"bookingId": str(booking["_id"]), "transactionId": "t-1", "orderId": named}

    send(rabbit, data, type="payment.failed")
    consume(inbox)

    assert payment()["status"] == status


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
