"""What each consumed event does: one function of its data, called inside the transaction that holds its inbox row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import ObjectId

from booking_service.api.errors import ServiceError
from bookings import notifications, payments
from bookings.exceptions import PaymentAmountMismatch

from .exceptions import BrokenMessageError
from .repositories import transaction_claim

Facts = Mapping[str, Any]

FIRST_YEAR, LAST_YEAR = 2000, 2100  # in any zone other code can compute with these
PAISA = Decimal("0.01")


def payment_completed(facts: Facts) -> None:
    """Raises PaymentAmountMismatch also when the inbox knows of another booking that the transaction paid. It does not
    when an import brought that one, nor when that is longer ago than it keeps its rows, or was before it noted this."""
    booking_id = ObjectId(facts["bookingId"])
    if transaction_claim(facts["transactionId"], booking_id) != booking_id:
        raise PaymentAmountMismatch("The transaction paid another booking.")
    payments.payment_completed(
        booking_id=booking_id,
        transaction_id=facts["transactionId"],
        amount=rupees(facts["amount"]),
        method=facts.get("method"),
        paid_at=instant(facts.get("paidAt")),
    )


def payment_refused(facts: Facts, refusal: ServiceError) -> None:
    """What pays another amount, or another booking's transaction, is not marked, but flagged for staff."""
    if isinstance(refusal, PaymentAmountMismatch):
        payments.payment_discrepancy_record(
            booking_id=ObjectId(facts["bookingId"]),
            transaction_id=facts["transactionId"],
            amount=Decimal(facts["amount"]),
        )


def payment_failed(facts: Facts) -> None:
    order_id = facts.get("orderId")
    payments.payment_failed(
        booking_id=ObjectId(facts["bookingId"]),
        transaction_id=facts.get("transactionId") or "",
        order_id=order_id if isinstance(order_id, str) else "",
        reason=facts.get("reason") or "",
    )


def payment_refunded(facts: Facts) -> None:
    payments.payment_refunded(
        booking_id=ObjectId(facts["bookingId"]),
        amount=rupees(facts["amount"]),
        transaction_id=facts.get("transactionId") or "",
        refunded_at=instant(facts.get("refundedAt")),
    )


def notification_sent(facts: Facts) -> None:
    _notification_recorded(facts, delivered=True)


def notification_failed(facts: Facts) -> None:
    _notification_recorded(facts, delivered=False)


def _notification_recorded(facts: Facts, *, delivered: bool) -> None:
    notifications.notification_recorded(
        booking_id=ObjectId(facts["bookingId"]),
        kind=facts["kind"],
        channel=facts["channel"],
        delivered=delivered,
        sent_at=instant(facts.get("sentAt")),
    )


def instant(text: str | None) -> datetime | None:
    """The instant that `text` names, in UTC; the contract has checked its shape.

    Raises:
        BrokenMessageError: no such day or time, or one that no visit is paid at.
    """
    if text is None:
        return None
    try:
        named = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BrokenMessageError("no such instant") from error
    if not FIRST_YEAR <= named.year <= LAST_YEAR:
        raise BrokenMessageError("no such instant")
    return named


def rupees(amount: Decimal | int) -> Decimal:
    """`amount`, which the contract has checked to be a number, as money.

    Raises:
        BrokenMessageError: it has a fraction of a paisa, which rounding would hide.
    """
    exact = Decimal(amount)
    if exact != exact.quantize(PAISA):
        raise BrokenMessageError("amount of more than two decimals")
    return exact


HANDLERS: dict[str, Callable[[Facts], None]] = {
    "payment.completed": payment_completed,
    "payment.failed": payment_failed,
    "payment.refunded": payment_refunded,
    "notification.sent": notification_sent,
    "notification.failed": notification_failed,
}

# Called when our rules refuse an event, after its transaction was undone.
REFUSED: dict[str, Callable[[Facts, ServiceError], None]] = {"payment.completed": payment_refused}
