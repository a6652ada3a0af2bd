"""The money of a booking: an order to pay, what the payment service reports of it, and what goes back.

`payment` is {method, status, attempt, order, transactionId, paidAmount, paidAt, balance, dueSince}: PENDING, FAILED
(can be tried again), PAID, REFUNDED; `dueSince` is when a booking that was not to be paid online became one. `refund`
is {status, amount, reason, requestedAt ...}: REQUESTED, REFUNDED, or NEEDS_STAFF.
`payment.discrepancies` are what does not fit: `amount`, `at` of a transaction that paid what was not payable,
`refundedAmount`, `refundedAt` once it was given back; these alone of one whose refund was told first, and of the
booking's payment when another amount went back than was asked for or paid. KEPT of them are kept, those beyond are
counted in `payment.moreDiscrepancies`.

Reports come in any order and any number of times. Each is one conditional update, in the transaction that also holds
the message's inbox row; a report that changes nothing sends no signal.
"""

import hashlib
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
from bookings.exceptions import AlreadyPaid, BookingNotFound, ChangedMeanwhile, NotPayable, PaymentAmountMismatch
from bookings.lifecycle import FREEING, Status
from bookings.reading import Document, decimal, payable_amount
from patients import services as patients

PAID, FAILED, PENDING, REFUNDED = "PAID", "FAILED", "PENDING", "REFUNDED"
SETTLED = (PAID, REFUNDED)
KEPT = 50  # discrepancies, and failed transactions, that a booking keeps: it is read whole, by everybody


# --- the order -------------------------------------------------------------------------------------------------------
def payment_open(*, actor: Caller, booking_id: ObjectId) -> tuple[Document, bool]:
    """The order with which the patient can pay, and whether it is new. A still open order of the same amount is
    returned again; a failed payment or another amount makes a new one.

    Raises:
        BookingNotFound, AlreadyPaid, NotPayable; PaymentServiceDown (503) when no order could be had; ChangedMeanwhile
        when the order is not the right one any more.
    """
    booking = booking_of(actor, booking_id)
    _check_payable(booking)
    if order := _open_order(booking):
        return _shown(booking, order), False
    # No transaction is open here. The key says which order is meant, so parallel calls get the same one. It is asked
    # for once, however often the booking is changed meanwhile.
    key = _order_key(booking)
    opened = payment_service.order_open(
        booking_id=booking["_id"],
        patient_id=booking["patient"],
        amount=payable_amount(booking),
        currency=_currency(booking),
        idempotency_key=key,
    )
    return _keep_order(actor=actor, booking_id=booking_id, key=key, order=_order(opened))


def payment_get(*, actor: Caller, booking_id: ObjectId) -> Document:
    """How the booking's payment stands. Raises BookingNotFound."""
    booking = booking_of(actor, booking_id)
    return _shown(booking, _open_order(booking))


def _check_payable(booking: Mapping[str, Any]) -> None:
    payment = booking.get("payment") or {}
    if payment.get("status") in SETTLED:
        raise AlreadyPaid
    if booking["status"] in FREEING or payment.get("method") in ("CASH", "INSURANCE") or payable_amount(booking) <= 0:
        raise NotPayable


def _open_order(booking: Mapping[str, Any]) -> Document | None:
    """The order that can still be paid: it has not failed or run out, and its amount is still right."""
    payment = booking.get("payment") or {}
    order = payment.get("order")
    if not order or payment.get("status") != PENDING or decimal(order.get("amount")) != payable_amount(booking):
        return None
    expires_at = order.get("expiresAt")
    return None if expires_at is not None and expires_at <= moment() else dict(order)


def _order_key(booking: Mapping[str, Any]) -> str:
    """The same for the same attempt at the same amount; an order that ran out is followed by another.

    It becomes a header: of an id that the payment service made there is a digest in it, whatever characters that has.
    """
    payment = booking.get("payment") or {}
    expired = (payment.get("order") or {}).get("orderId", "")
    after = expired and hashlib.sha256(expired.encode()).hexdigest()[:16]
    return f"{booking['_id']}:{payment.get('attempt', 1)}:{payable_amount(booking)}:{after}"


def _order(opened: payment_service.PaymentOrder) -> Document:
    order: Document = {
        "orderId": opened.id,
        "amount": Decimal128(opened.amount),
        "currency": opened.currency,
        "checkoutUrl": opened.checkout_url,
        "openedAt": moment(),
    }
    return {**order, "expiresAt": opened.expires_at} if opened.expires_at else order


@deciding_on_what_is
def _keep_order(*, actor: Caller, booking_id: ObjectId, key: str, order: Document) -> tuple[Document, bool]:
    """Note the order that was asked for with `key`, unless somebody was faster; what is shown, and whether it is new.

    Raises what `payment_open` does when the booking was paid, cancelled or re-priced while the partner worked.
    """
    booking = booking_of(actor, booking_id)
    _check_payable(booking)
    if known := _open_order(booking):
        return _shown(booking, known), False
    if _order_key(booking) != key:
        raise ChangedMeanwhile
    now = moment()
    fields: Document = {"payment.order": order, "payment.status": PENDING}
    if not (booking.get("payment") or {}).get("method"):
        fields |= {"payment.method": "ONLINE", "payment.dueSince": now}
    return _shown(changing.change(booking, fields=fields, now=now), order), True


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
    if payment.get("status") in SETTLED:
        return _paid_before(booking, transaction_id, decimal(amount))
    if decimal(amount) != payable_amount(booking):
        raise PaymentAmountMismatch
    flag = _discrepancy(payment, transaction_id) or _discrepancy(payment, "")
    if "refundedAt" in flag:
        booking = _refund_told_before(booking, flag, decimal(amount))
    return _marked_paid(booking, transaction_id, decimal(amount), method, paid_at or moment())


def _paid_before(booking: Document, transaction_id: str, amount: Decimal) -> Document:
    """The payment told again. The monolith marked payments without saying by which transaction: now that is known."""
    paid_by = booking["payment"].get("transactionId")
    if paid_by == transaction_id:
        return booking
    if paid_by or amount != _whole_amount(booking):
        raise PaymentAmountMismatch("The booking was paid by another transaction.")
    return changing.change(booking, fields={"payment.transactionId": transaction_id}, now=moment())


def _whole_amount(booking: Mapping[str, Any]) -> Decimal:
    """What a paid booking was paid with, whatever went back since; the monolith noted only that it was paid."""
    return decimal((booking.get("payment") or {}).get("paidAmount")) or payable_amount(booking)


def _refund_told_before(booking: Document, flag: Document, amount: Decimal) -> Document:
    """Of the refund that was told before its payment is only now known that it is this booking's."""
    if "at" in flag:
        raise PaymentAmountMismatch("It was flagged, and the money is back with the patient.")
    if decimal(flag["refundedAmount"]) != amount:
        return booking
    return _marked_refunded(booking, amount, flag["refundedAt"], _explained(booking["payment"], flag))


def _explained(payment: Mapping[str, Any], flag: Document) -> Document:
    """What to set when a discrepancy turned out to be none."""
    others = [other for other in payment["discrepancies"] if other is not flag]
    return {
        "payment.discrepancies": others,
        "payment.needsStaff": bool(others or payment.get("moreDiscrepancies")),
    }


def _marked_paid(
    booking: Document, transaction_id: str, amount: Decimal, method: str | None, paid_at: datetime
) -> Document:
    now = moment()
    before = booking.get("payment") or {}
    flag = _discrepancy(before, transaction_id)
    fields: Document = {
        **(_explained(before, flag) if "at" in flag else {}),
        "payment.status": REFUNDED if before.get("status") == REFUNDED else PAID,
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
    facts = {"amount": Decimal128(decimal(amount)), "at": moment()}
    return run(_noted, booking, transaction_id, facts)


def discrepancies_held(payment: Mapping[str, Any]) -> bool:
    """Whether a transaction that is not the booking's payment brought money that has not gone back."""
    flags = payment.get("discrepancies") or []
    held = [flag for flag in flags if decimal(flag.get("refundedAmount")) < decimal(flag.get("amount"))]
    return bool(held or payment.get("moreDiscrepancies"))


def _discrepancy(payment: Mapping[str, Any], transaction_id: str) -> Document:
    """What is noted of a transaction ("" for a refund that named none); empty when nothing is."""
    flags = payment.get("discrepancies") or []
    return next((flag for flag in flags if flag.get("transactionId") == transaction_id), {})


def _noted(booking: Document, transaction_id: str, facts: Document) -> Document:
    """The booking with `facts` noted, for staff, on the discrepancy of `transaction_id`; only counted beyond KEPT."""
    payment = booking.get("payment") or {}
    flag = _discrepancy(payment, transaction_id)
    others = [other for other in payment.get("discrepancies") or [] if other is not flag]
    fields: Document = {"payment.needsStaff": True}
    if not flag and len(others) >= KEPT:
        return changing.change(booking, fields=fields, added={"payment.moreDiscrepancies": 1}, now=moment())
    fields["payment.discrepancies"] = [*others, {"transactionId": transaction_id, **flag, **facts}]
    return changing.change(booking, fields=fields, now=moment())


@transactional
def payment_failed(*, booking_id: ObjectId, transaction_id: str = "", order_id: str = "", reason: str = "") -> Document:
    """A payment did not go through: the next order is a new attempt. Never takes back that it was paid, and neither
    what is told again of a transaction nor what names another order touches the order that is open.

    Raises:
        BookingNotFound.
    """
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    failed = payment.get("failedTransactions") or []
    if payment.get("status") in SETTLED or transaction_id in failed or _is_of_another_order(booking, order_id):
        return booking
    fields: Document = {}
    if transaction_id:
        fields["payment.failedTransactions"] = [*failed, transaction_id][-KEPT:]
    if payment.get("status") != FAILED:
        fields |= {"payment.status": FAILED, "payment.attempt": payment.get("attempt", 1) + 1}
    if not fields:
        return booking
    return changing.change(booking, fields=fields, removed=("payment.order",), now=moment())


def _is_of_another_order(booking: Mapping[str, Any], order_id: str) -> bool:
    """Where no order is open, the one that is named may be opening just now; one that an import brought without an id
    may be the one that is named."""
    open_id = (_open_order(booking) or {}).get("orderId")
    return bool(order_id and open_id and open_id != order_id)


@transactional
def payment_refunded(
    *, booking_id: ObjectId, amount: Decimal, transaction_id: str = "", refunded_at: datetime | None = None
) -> Document:
    """The money is back with the patient: payment and refund end REFUNDED, once. Joins the caller's transaction.

    That needs the amount that was asked for, or the whole payment. Another amount is for staff to see, and changes
    neither status nor totals.

    Of a transaction that is not the booking's payment it is only noted that it went back: the payment service gave back
    what was paid twice, or of another amount, and what the booking was paid with stays paid. So is a refund that is
    told before its payment.

    Raises:
        BookingNotFound.
    """
    booking = _load(booking_id)
    payment = booking.get("payment") or {}
    amount, at = decimal(amount), refunded_at or moment()
    transaction_id = transaction_id or _flagged_with(booking, amount) or payment.get("transactionId") or ""
    if not _is_payment(payment, transaction_id) or amount not in _refundable(booking):
        return _returned(booking, transaction_id, amount, at)
    return booking if payment["status"] == REFUNDED else _marked_refunded(booking, amount, at)


def _refundable(booking: Mapping[str, Any]) -> set[Decimal]:
    """The amounts that can go back of what was paid: all of it, or what was asked for."""
    paid, asked = _whole_amount(booking), decimal((booking.get("refund") or {}).get("amount"))
    return {amount for amount in (paid, asked) if 0 < amount <= paid}


def _flagged_with(booking: Mapping[str, Any], amount: Decimal) -> str:
    """The transaction that a refund without a name can only mean: nobody asked for one, and this one waits for it."""
    flags = (booking.get("payment") or {}).get("discrepancies") or []
    waiting = [flag for flag in flags if "refundedAt" not in flag and decimal(flag["amount"]) == amount]
    return "" if booking.get("refund") or not waiting else str(waiting[0]["transactionId"])


def _is_payment(payment: Mapping[str, Any], transaction_id: str) -> bool:
    """Whether the booking was paid by this transaction. The monolith marked payments without saying by which."""
    if payment.get("status") not in SETTLED:
        return False
    if paid_by := payment.get("transactionId"):
        return bool(paid_by == transaction_id)
    return "amount" not in _discrepancy(payment, transaction_id)


def _returned(booking: Document, transaction_id: str, amount: Decimal, at: datetime) -> Document:
    """The booking with what went back noted for staff; the most that was told of it."""
    flag = _discrepancy(booking.get("payment") or {}, transaction_id)
    if "refundedAt" in flag and decimal(flag["refundedAmount"]) >= amount:
        return booking
    facts = {"refundedAmount": Decimal128(amount), "refundedAt": at}
    return _noted(booking, transaction_id, facts)


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
