"""The money of a booking: an order to pay, what the payment service reports of it, and what goes back.

`payment` is {method, status, attempt, order, transactionId, paidAmount, paidAt, balance}: PENDING, FAILED (can be tried
again), PAID, REFUNDED. `refund` is {status, amount, reason, requestedAt ...}: REQUESTED, REFUNDED, or NEEDS_STAFF.
`payment.discrepancies` are transactions that are not the booking's payment: `amount`, `at` of one that paid what was
not payable, `refundedAmount`, `refundedAt` once it was given back; of one whose refund was told first, these alone.

Reports come in any order and any number of times. Each is one conditional update, in the transaction that also holds
the message's inbox row; a report that changes nothing sends no signal.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

from booking_service.api.callers import SYSTEM, Caller
from booking_service.djongo.transaction import run, transactional
from booking_service.partners import payments as payment_service
from bookings import changing, repositories, services
from bookings.changing import booking_of, deciding_on_what_is, moment
from bookings.exceptions import AlreadyPaid, BookingNotFound, NotPayable, PaymentAmountMismatch
from bookings.lifecycle import FREEING, Status
from bookings.reading import Document, decimal, payable_amount
from patients import services as patients

PAID, FAILED, PENDING, REFUNDED = "PAID", "FAILED", "PENDING", "REFUNDED"
SETTLED = (PAID, REFUNDED)


# --- the order -------------------------------------------------------------------------------------------------------
@deciding_on_what_is
def payment_open(*, actor: Caller, booking_id: ObjectId) -> tuple[Document, bool]:
    """The order with which the patient can pay, and whether it is new. A still open order of the same amount is
    returned again; a failed payment or another amount makes a new one.

    Raises:
        BookingNotFound, AlreadyPaid, NotPayable; PaymentServiceDown (503) when no order could be had.
    """
    booking = booking_of(actor, booking_id)
    _check_payable(booking)
    if order := _open_order(booking):
        return _shown(booking, order), False
    # No transaction is open here. The key says which order is meant, so parallel calls get the same one.
    opened = payment_service.order_open(
        booking_id=booking["_id"],
        patient_id=booking["patient"],
        amount=payable_amount(booking),
        currency=_currency(booking),
        idempotency_key=_order_key(booking),
    )
    return _keep_order(booking, _order(opened)), True


def payment_get(*, actor: Caller, booking_id: ObjectId) -> Document:
    """How the booking's payment stands. Raises BookingNotFound."""
    booking = booking_of(actor, booking_id)
    return _shown(booking, _open_order(booking))


def _check_payable(booking: Mapping[str, Any]) -> None:
    payment = booking.get("payment") or {}
    if payment.get("status") in SETTLED:
        raise AlreadyPaid
    if booking["status"] in FREEING or payment.get("method") in ("CASH", "INSURANCE") or not payable_amount(booking):
        raise NotPayable


def _open_order(booking: Mapping[str, Any]) -> Document | None:
    """The order that can still be paid: it has not failed or run out, and its amount is still right."""
    payment = booking.get("payment") or {}
    order = payment.get("order")
    if not order or payment.get("status") != PENDING or decimal(order["amount"]) != payable_amount(booking):
        return None
    expires_at = order.get("expiresAt")
    return None if expires_at is not None and expires_at <= moment() else dict(order)


def _order_key(booking: Mapping[str, Any]) -> str:
    """The same for the same attempt at the same amount; an order that ran out is followed by another."""
    payment = booking.get("payment") or {}
    expired = (payment.get("order") or {}).get("orderId", "")
    return f"{booking['_id']}:{payment.get('attempt', 1)}:{payable_amount(booking)}:{expired}"


def _order(opened: payment_service.PaymentOrder) -> Document:
    order: Document = {
        "orderId": opened.id,
        "amount": Decimal128(opened.amount),
        "currency": opened.currency,
        "checkoutUrl": opened.checkout_url,
        "openedAt": moment(),
    }
    return {**order, "expiresAt": opened.expires_at} if opened.expires_at else order


def _keep_order(booking: Document, order: Document) -> Document:
    """Note the order. Raises Outdated when the booking was paid, cancelled or re-priced while the partner worked."""
    now = moment()
    fields: Document = {"payment.order": order, "payment.status": PENDING}
    if not (booking.get("payment") or {}).get("method"):
        fields["payment.method"] = "ONLINE"
    return _shown(changing.change(booking, fields=fields, now=now), order)


def _shown(booking: Mapping[str, Any], order: Document | None) -> Document:
    payment = booking.get("payment") or {}
    shown: Document = {
        "bookingId": booking["_id"],
        "status": payment.get("status", PENDING),
        "method": payment.get("method"),
        "amount": payable_amount(booking),
        "currency": _currency(booking),
    }
    shown |= {name: payment[name] for name in ("transactionId", "paidAmount", "paidAt", "balance") if name in payment}
    if order:
        shown |= {name: order[name] for name in ("orderId", "checkoutUrl", "openedAt", "expiresAt") if name in order}
    if refund := booking.get("refund"):
        shown["refund"] = refund
    return shown


def _currency(booking: Mapping[str, Any]) -> str:
    return str((booking.get("pricing") or {}).get("currency") or "INR")


# --- reports of the payment service ----------------------------------------------------------------------------------
@transactional
def payment_completed(
    *,
    booking_id: ObjectId,
    transaction_id: str,
    amount: Decimal,
    method: str | None = None,
    paid_at: datetime | None = None,
) -> Document:
    """The patient paid: marks it, once; REQUESTED becomes SEARCHING. Joins the caller's transaction; the booking.

    A visit that will not take place any more is paid back in full, once.

    Raises:
        BookingNotFound.
        PaymentAmountMismatch: the amount is not what is payable, it was paid by another transaction before, or this one
            was flagged and given back. Nothing is marked; `payment_discrepancy_record` flags it for staff, after this
            transaction.
    """
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    if transaction_id == payment.get("transactionId"):
        return booking
    if payment.get("status") in SETTLED and payment.get("transactionId"):
        raise PaymentAmountMismatch("The booking was paid by another transaction.")
    if decimal(amount) != payable_amount(booking):
        raise PaymentAmountMismatch
    flag = _discrepancy(payment, transaction_id)
    if "refundedAt" in flag:
        booking = _refund_told_before(booking, flag)
    return _marked_paid(booking, transaction_id, decimal(amount), method, paid_at or moment())


def _refund_told_before(booking: Document, flag: Document) -> Document:
    """Of the refund that was told before its payment is only now known that it is this booking's."""
    if "at" in flag:
        raise PaymentAmountMismatch("It was flagged, and the money is back with the patient.")
    others = [other for other in booking["payment"]["discrepancies"] if other is not flag]
    return _marked_refunded(
        booking, decimal(flag["refundedAmount"]), flag["refundedAt"], {"payment.discrepancies": others}
    )


def _marked_paid(
    booking: Document, transaction_id: str, amount: Decimal, method: str | None, paid_at: datetime
) -> Document:
    now = moment()
    already_refunded = (booking.get("payment") or {}).get("status") == REFUNDED
    fields: Document = {
        "payment.status": REFUNDED if already_refunded else PAID,
        "payment.transactionId": transaction_id,
        "payment.paidAmount": Decimal128(amount),
        "payment.paidAt": paid_at,
    }
    if method:
        fields["payment.method"] = method
    patients.patient_counters_add(patient_id=booking["patient"], spent=amount)
    if booking["status"] in FREEING and not booking.get("refund"):
        return _paid_too_late(booking, fields, amount, now)
    if booking["status"] == Status.REQUESTED:
        return changing.transition(booking, Status.SEARCHING, actor=SYSTEM, now=now, reason="PAID", fields=fields)
    return changing.change(booking, fields=fields, now=now)


def _paid_too_late(booking: Document, fields: Document, amount: Decimal, now: datetime) -> Document:
    """Nobody will come: the money goes back. `refund` being there is what makes this happen once."""
    cause = f"PAID_AFTER_{booking['status']}"
    changed = changing.change(booking, fields={**fields, **services.refund_fields(amount, cause, now)}, now=now)
    services.announce_refund(changed, amount, cause)
    return changed


@deciding_on_what_is
def payment_discrepancy_record(*, booking_id: ObjectId, transaction_id: str, amount: Decimal) -> Document:
    """Flag for staff that a transaction paid what was not payable; once for each. Raises BookingNotFound."""
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    if "at" in _discrepancy(payment, transaction_id):
        return booking
    now = moment()
    flags = _discrepancies(payment, transaction_id, amount=Decimal128(decimal(amount)), at=now)
    fields = {"payment.discrepancies": flags, "payment.needsStaff": True}
    return run(changing.change, booking, fields=fields, now=now)


def _discrepancy(payment: Mapping[str, Any], transaction_id: str) -> Document:
    """What is noted of a transaction that is not the booking's payment; empty when nothing is."""
    flags = payment.get("discrepancies") or []
    return next((flag for flag in flags if flag["transactionId"] == transaction_id), {})


def _discrepancies(payment: Mapping[str, Any], transaction_id: str, **facts: Any) -> list[Document]:
    """All discrepancies, with `facts` noted on that of `transaction_id`."""
    flag = _discrepancy(payment, transaction_id)
    others = [other for other in payment.get("discrepancies") or [] if other is not flag]
    return [*others, {"transactionId": transaction_id, **flag, **facts}]


@transactional
def payment_failed(*, booking_id: ObjectId, transaction_id: str = "", reason: str = "") -> Document:
    """A payment did not go through: the next order is a new attempt. Never takes back that it was paid.

    Raises:
        BookingNotFound.
    """
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    if payment.get("status") in (*SETTLED, FAILED):
        return booking
    fields = {"payment.status": FAILED, "payment.attempt": payment.get("attempt", 1) + 1}
    if transaction_id:
        fields["payment.failedTransactionId"] = transaction_id
    return changing.change(booking, fields=fields, removed=("payment.order",), now=moment())


@transactional
def payment_refunded(
    *, booking_id: ObjectId, amount: Decimal, transaction_id: str = "", refunded_at: datetime | None = None
) -> Document:
    """The money is back with the patient: payment and refund end REFUNDED, once. Joins the caller's transaction.

    Of a transaction that is not the booking's payment it is only noted that it went back: the payment service gave back
    what was paid twice, or of another amount, and what the booking was paid with stays paid.

    Raises:
        BookingNotFound.
    """
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    transaction_id = transaction_id or _flagged_with(booking, decimal(amount))
    if transaction_id and not _is_payment(payment, transaction_id):
        return _returned(booking, transaction_id, decimal(amount), refunded_at or moment())
    if payment.get("status") == REFUNDED:
        return booking
    return _marked_refunded(booking, decimal(amount), refunded_at or moment())


def _flagged_with(booking: Mapping[str, Any], amount: Decimal) -> str:
    """The transaction that a refund without a name can only mean: nobody asked for one, and this one waits for it."""
    flags = (booking.get("payment") or {}).get("discrepancies") or []
    waiting = [flag for flag in flags if "refundedAt" not in flag and decimal(flag["amount"]) == amount]
    return "" if booking.get("refund") or not waiting else str(waiting[0]["transactionId"])


def _is_payment(payment: Mapping[str, Any], transaction_id: str) -> bool:
    """Whether the booking was paid by this transaction. The monolith marked payments without saying by which."""
    if paid_by := payment.get("transactionId"):
        return bool(paid_by == transaction_id)
    return payment.get("status") in SETTLED and not _discrepancy(payment, transaction_id)


def _returned(booking: Document, transaction_id: str, amount: Decimal, at: datetime) -> Document:
    payment = booking.get("payment") or {}
    if "refundedAt" in _discrepancy(payment, transaction_id):
        return booking
    flags = _discrepancies(payment, transaction_id, refundedAmount=Decimal128(amount), refundedAt=at)
    return changing.change(booking, fields={"payment.discrepancies": flags}, now=moment())


def _marked_refunded(
    booking: Document, amount: Decimal, at: datetime, more: Mapping[str, Any] | None = None
) -> Document:
    fields: Document = {
        **(more or {}),
        "payment.status": REFUNDED,
        "refund.status": REFUNDED,
        "refund.amount": Decimal128(amount),
        "refund.refundedAt": at,
    }
    changed = changing.change(booking, fields=fields, now=moment())
    patients.patient_counters_add(patient_id=booking["patient"], spent=-amount)
    return changed


@transactional
def refund_needs_staff(*, booking_id: ObjectId, reason: str = "") -> Document:
    """The payment service would not take the refund, for good: a case for staff. Raises BookingNotFound."""
    booking = _load(booking_id)
    if (booking.get("refund") or {}).get("status") != "REQUESTED":
        return booking
    fields = {"refund.status": "NEEDS_STAFF", "refund.problem": reason}
    return changing.change(booking, fields=fields, now=moment())


def _load(booking_id: ObjectId) -> Document:
    booking = repositories.booking_load(booking_id, {})
    if booking is None:
        raise BookingNotFound
    return booking
