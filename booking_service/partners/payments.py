"""The payment service: open an order, look at one, ask for a refund. What comes of them arrives as events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from urllib.parse import quote

from bson import ObjectId
from django.conf import settings

from booking_service.partners.answers import Answer
from booking_service.partners.client import PartnerClient
from booking_service.partners.exceptions import PaymentServiceDown

client = PartnerClient("payments", url_setting="PAYMENT_SERVICE_URL", unavailable=PaymentServiceDown)


class OrderStatus(StrEnum):
    """Where a payment order stands at the payment service."""

    OPEN = "OPEN"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class RefundStatus(StrEnum):
    """Where a refund stands; `payment.refunded` tells when it has arrived."""

    ACCEPTED = "ACCEPTED"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What a patient pays against. `checkout_url` is where (empty when the client app has its own form)."""

    id: str
    booking_id: ObjectId
    amount: Decimal
    currency: str
    status: OrderStatus
    checkout_url: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refund:
    """The payment service's word that it will pay `amount` back."""

    id: str
    booking_id: ObjectId
    amount: Decimal
    status: RefundStatus


def order_open(
    *, booking_id: ObjectId, patient_id: ObjectId, amount: Decimal, currency: str, idempotency_key: str
) -> PaymentOrder:
    """Opens an order; the same key again answers with the same order.

    Raises `PaymentServiceDown` (503; also when the answer is an order for something else) or `PartnerRefused`.
    """
    body = {
        "bookingId": str(booking_id),
        "patientId": str(patient_id),
        "amount": amount,
        "currency": currency,
    }
    return client.post(
        settings.PAYMENT_ORDERS_PATH, body, _order_of(booking_id, amount, currency), idempotency_key=idempotency_key
    )


def order_get(order_id: str) -> PaymentOrder:
    """The order as it stands now. Raises `PaymentServiceDown`, or `PartnerRefused` (404: no such order)."""
    return client.get(f"{settings.PAYMENT_ORDERS_PATH}/{quote(order_id, safe='')}", _read_order)


def refund_request(
    *, booking_id: ObjectId, transaction_id: str, amount: Decimal, currency: str = "INR", idempotency_key: str
) -> Refund:
    """Asks for `amount` of the transaction to be paid back; the same key again never pays twice.

    Raises `PaymentServiceDown` (try again later, same key) or `PartnerRefused` (a case for staff).
    """
    body = {
        "bookingId": str(booking_id),
        "transactionId": transaction_id,
        "amount": amount,
        "currency": currency,
    }
    return client.post(
        settings.PAYMENT_REFUNDS_PATH, body, _refund_of(booking_id, amount), idempotency_key=idempotency_key
    )


def _order_of(booking_id: ObjectId, amount: Decimal, currency: str) -> Callable[[Answer], PaymentOrder]:
    def read(answer: Answer) -> PaymentOrder:
        order = _read_order(answer)
        if (order.booking_id, order.amount, order.currency) != (booking_id, amount, currency):
            raise ValueError("an order for something else")
        return order

    return read


def _refund_of(booking_id: ObjectId, amount: Decimal) -> Callable[[Answer], Refund]:
    def read(answer: Answer) -> Refund:
        refund = Refund(
            id=answer.text("refundId"),
            booking_id=answer.object_id("bookingId"),
            amount=answer.money("amount"),
            status=answer.choice("status", RefundStatus),
        )
        if (refund.booking_id, refund.amount) != (booking_id, amount):
            raise ValueError("a refund of something else")
        return refund

    return read


def _read_order(answer: Answer) -> PaymentOrder:
    checkout_url = answer.optional_text("checkoutUrl")
    if checkout_url and not checkout_url.startswith(("https://", "http://")):
        raise ValueError("checkoutUrl")
    return PaymentOrder(
        id=answer.text("orderId"),
        booking_id=answer.object_id("bookingId"),
        amount=answer.money("amount"),
        currency=answer.text("currency"),
        status=answer.choice("status", OrderStatus),
        checkout_url=checkout_url,
        expires_at=answer.optional_instant("expiresAt"),
    )
