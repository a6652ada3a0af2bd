"""What the payment service is asked, and what of its answers is believed."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from bson import ObjectId

from booking_service.partners import payments
from booking_service.partners.exceptions import PartnerRefused, PaymentServiceDown
from tests.integration.partners import servers

BOOKING, PATIENT = ObjectId(), ObjectId()
ORDER = {"orderId": "o/1", "bookingId": str(BOOKING), "amount": 405.75, "currency": "INR", "status": "completed"}
REFUND = {"refundId": "refund_1", "bookingId": str(BOOKING), "amount": 202.88, "status": "ACCEPTED"}


@pytest.fixture
def payment_service(partner, settings):
    server = partner(servers.answers(ORDER))
    settings.PAYMENT_SERVICE_URL = server.url + "/"
    return server


def ask_refund(amount: str = "202.88") -> payments.Refund:
    return payments.refund_request(
        booking_id=BOOKING, transaction_id="txn_1", amount=Decimal(amount), idempotency_key="refund-1"
    )


def test_an_order_is_opened_to_the_paisa(payment_service):
    order = payments.order_open(
        booking_id=BOOKING, patient_id=PATIENT, amount=Decimal("405.75"), currency="INR", idempotency_key="k"
    )

    assert order == payments.PaymentOrder(
        id="o/1",
        booking_id=BOOKING,
        amount=Decimal("405.75"),
        currency="INR",
        status=payments.OrderStatus.COMPLETED,
        checkout_url="",
        expires_at=None,
    )
    assert b'"amount": 405.75' in payment_service.requests[0].body


def test_an_order_is_looked_at(payment_service):
    payment_service.behave(servers.answers({**ORDER, "status": "OPEN", "expiresAt": "2026-11-22T10:00:00+05:30"}))

    order = payments.order_get("o/1")

    assert order.status is payments.OrderStatus.OPEN
    assert order.expires_at == datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
    assert payment_service.requests[0].path == "/api/payments/orders/o%2F1"


def test_an_unknown_order_is_a_refusal(payment_service):
    payment_service.behave(servers.refuses("404 Not Found"))

    with pytest.raises(PartnerRefused) as refusal:
        payments.order_get("nothing")

    assert refusal.value.partner_status == 404


def test_a_refund_is_asked_for_once_whatever_the_network_does(payment_service):
    payment_service.behave(servers.resets, servers.answers(REFUND))

    refund = ask_refund()

    assert refund == payments.Refund("refund_1", BOOKING, Decimal("202.88"), payments.RefundStatus.ACCEPTED)
    assert [request.headers["idempotency-key"] for request in payment_service.requests] == ["refund-1", "refund-1"]
    assert payment_service.requests[-1].path == "/api/payments/refunds"
    assert payment_service.requests[-1].json == {
        "bookingId": str(BOOKING),
        "transactionId": "txn_1",
        "amount": 202.88,
        "currency": "INR",
    }


@pytest.mark.parametrize("change", [{"amount": 1}, {"bookingId": str(ObjectId())}, {"status": "MAYBE"}])
def test_a_refund_of_something_else_is_not_believed(payment_service, change):
    payment_service.behave(servers.answers({**REFUND, **change}))

    with pytest.raises(PaymentServiceDown):
        ask_refund()


@pytest.mark.parametrize("amount", ["0.01", "0.10", "678.50", "24999.99", "999999.95"])
def test_amounts_are_sent_exactly(payment_service, amount):
    payment_service.behave(servers.answers({**REFUND, "amount": float(amount)}))

    assert ask_refund(amount).amount == Decimal(amount)
    assert payment_service.requests[0].body.decode().count(f'"amount": {float(amount)}') == 1
