"""POST and GET /api/bookings/:id/payment, and what the payment service reports."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from bson import Decimal128, ObjectId

from booking_service.api.callers import SYSTEM
from booking_service.djongo.transaction import atomic, in_transaction
from booking_service.partners import payments as partner
from booking_service.partners.exceptions import PaymentServiceDown
from booking_service.partners.payments import OrderStatus, PaymentOrder
from bookings import moving, payments, services, visits
from bookings.exceptions import AlreadyPaid, BookingNotFound, NotPayable, PaymentAmountMismatch
from tests.factories import booking_made, service_made, tomorrow
from tests.integration.bookings.parallel import in_parallel

PRICE = Decimal("677.14")


class PaymentService:
    """The payment service, in place of its HTTP client: one order for each key."""

    def __init__(self) -> None:
        self.orders: dict[str, PaymentOrder] = {}
        self.calls = 0
        self.is_down = False
        self.while_working = lambda: None
        self.expires_at = None
        self.order_id = "order-{}"

    def order_open(self, *, booking_id, patient_id, amount, currency, idempotency_key):
        assert not in_transaction(), "a transaction is held open while another service works"
        if self.is_down:
            raise PaymentServiceDown
        self.calls += 1
        self.while_working()
        number = len(self.orders) + 1
        order = PaymentOrder(
            self.order_id.format(number),
            booking_id,
            amount,
            currency,
            OrderStatus.OPEN,
            "https://pay.example.com",
            self.expires_at,
        )
        return self.orders.setdefault(idempotency_key, order)


@pytest.fixture
def payment_service(monkeypatch):
    service = PaymentService()
    monkeypatch.setattr(partner, "order_open", service.order_open)
    return service


@pytest.fixture
def booking(asha):
    return booking_made(asha, startsAt=tomorrow(days=3))


@pytest.fixture
def kept(documents, booking):
    """The stored booking, as it is now."""
    return lambda: documents("nursebookings").find_one({"_id": booking["_id"]})


@pytest.fixture
def post(api, asha, booking):
    return lambda **headers: api(asha)("POST", f"/bookings/{booking['_id']}/payment", **headers)


def completed(booking, transaction="txn-1", amount=PRICE, **more):
    return payments.payment_completed(
        booking_id=booking["_id"], transaction_id=transaction, amount=Decimal(amount), **more
    )


# --- the order -------------------------------------------------------------------------------------------------------
def test_it_opens_an_order_and_returns_it_again(api, asha, booking, post, payment_service, kept):
    first, second = post(), post()

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.body["data"]["orderId"] == second.body["data"]["orderId"] == "order-1"
    assert first.body["data"]["amount"] == 677.14
    assert first.body["data"]["checkoutUrl"] == "https://pay.example.com"
    assert len(payment_service.orders) == 1
    assert kept()["payment"]["order"]["orderId"] == "order-1"
    read = api(asha)("GET", f"/bookings/{booking['_id']}/payment").body["data"]
    assert (read["status"], read["orderId"], read["method"]) == ("PENDING", "order-1", "ONLINE")


def test_a_failed_payment_is_followed_by_a_new_order(booking, post, payment_service, kept):
    post()
    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-0")
    assert kept()["payment"]["status"] == "FAILED"

    again = post()

    assert (again.status_code, again.body["data"]["orderId"]) == (201, "order-2")
    assert completed(booking)["payment"]["status"] == "PAID"


def test_another_amount_is_another_order(asha, post, booking, payment_service):
    service_made(
        "IV_DRIP",
        pricing={
            "basePrice": 499,
            "currency": "INR",
            "surgePricing": {"enabled": True, "surgeMultiplier": 2, "surgeHours": [{"start": "18:00", "end": "22:00"}]},
        },
    )
    other = booking_made(asha, serviceType="IV_DRIP")
    first, _ = payments.payment_open(actor=asha, booking_id=other["_id"])
    moving.booking_reschedule(actor=asha, booking_id=other["_id"], starts_at=tomorrow(18))

    second, is_new = payments.payment_open(actor=asha, booking_id=other["_id"])

    assert is_new
    assert first["orderId"] != second["orderId"]
    assert second["amount"] == Decimal("1354.29")


def test_an_order_that_ran_out_is_followed_by_a_new_one(post, payment_service, at):
    payment_service.expires_at = datetime.now(UTC) + timedelta(minutes=15)
    assert post().body["data"]["orderId"] == "order-1"
    assert post().body["data"]["orderId"] == "order-1"

    at(datetime.now(UTC) + timedelta(minutes=16))

    assert post().body["data"]["orderId"] == "order-2"


def test_an_order_that_ran_out_is_followed_by_a_new_one_whatever_its_id(post, payment_service, at):
    payment_service.expires_at = datetime.now(UTC) + timedelta(minutes=15)
    payment_service.order_id = "注文\r\n" * 90 + "{}"
    post()
    at(datetime.now(UTC) + timedelta(minutes=16))

    assert post().status_code == 201

    first, second = payment_service.orders
    assert first != second
    assert second.isascii()
    assert second.isprintable()
    assert len(second) < 100


def test_parallel_calls_open_one_order(asha, booking, payment_service):
    results = in_parallel([lambda: payments.payment_open(actor=asha, booking_id=booking["_id"])] * 10)

    assert {order["orderId"] for order, _is_new in results} == {"order-1"}
    assert len(payment_service.orders) == 1


def test_the_payment_service_down_is_said_and_changes_nothing(post, payment_service, kept):
    before = kept()
    payment_service.is_down = True

    answer = post(Idempotency_Key="k-1")

    assert (answer.status_code, answer.body["code"]) == (503, "PAYMENT_SERVICE_DOWN")
    assert answer["Retry-After"]
    assert kept() == before
    payment_service.is_down = False
    assert post(Idempotency_Key="k-1").status_code == 201


def test_a_paid_booking_is_not_paid_again(booking, post, payment_service):
    completed(booking)

    assert (post().status_code, post().body["code"]) == (409, "ALREADY_PAID")
    payments.payment_refunded(booking_id=booking["_id"], amount=PRICE)
    assert post().body["code"] == "ALREADY_PAID"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "CANCELLED"},
        {"status": "FAILED"},
        {"status": "NO_SHOW"},
        {"payment": {"status": "PENDING", "method": "CASH"}},
        {"payment": {"status": "PENDING", "method": "INSURANCE"}},
        {"pricing": None},
    ],
)
def test_what_cannot_be_paid_online_is_refused(booking, post, payment_service, documents, changes):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": changes})

    answer = post()

    assert (answer.status_code, answer.body["code"]) == (409, "NOT_PAYABLE")
    assert payment_service.orders == {}


def test_an_old_booking_without_a_method_becomes_online(booking, post, payment_service, documents, kept):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"payment": None}})

    assert post().status_code == 201
    assert kept()["payment"]["method"] == "ONLINE"


@pytest.mark.parametrize(
    ("meanwhile", "refusal"),
    [
        (lambda actor, booking_id: services.booking_cancel(actor=actor, booking_id=booking_id), NotPayable),
        (
            lambda _actor, booking_id: payments.payment_completed(
                booking_id=booking_id, transaction_id="txn-1", amount=PRICE
            ),
            AlreadyPaid,
        ),
    ],
)
def test_what_happened_while_the_order_was_opened_counts(asha, booking, payment_service, meanwhile, refusal, kept):
    payment_service.while_working = lambda: meanwhile(asha, booking["_id"])

    with pytest.raises(refusal):
        payments.payment_open(actor=asha, booking_id=booking["_id"])

    assert "order" not in kept()["payment"]


def test_a_booking_that_is_changed_while_the_order_is_opened_gets_it_all_the_same(
    booking, post, payment_service, kept, monkeypatch
):
    read, words = payments.booking_of, iter("abc")

    def changed_after_the_read(actor, booking_id):
        found = read(actor, booking_id)
        if payment_service.calls and (word := next(words, None)):
            moving.booking_update(actor=actor, booking_id=booking_id, changes={"specialRequirements": word})
        return found

    monkeypatch.setattr(payments, "booking_of", changed_after_the_read)

    assert post().status_code == 201

    assert payment_service.calls == 1
    assert kept()["payment"]["order"]["orderId"] == "order-1"
    assert kept()["specialRequirements"] == "c"


def test_an_order_that_is_not_the_right_one_any_more_is_asked_for_again_with_the_same_key(
    booking, post, payment_service, kept
):
    payment_service.while_working = lambda: payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-0")
    refused = post(Idempotency_Key="pay")
    payment_service.while_working = lambda: None

    opened = post(Idempotency_Key="pay")

    assert (refused.status_code, refused.body["code"], payment_service.calls) == (409, "CHANGED_MEANWHILE", 2)
    assert (opened.status_code, opened.body["data"]["orderId"]) == (201, "order-2")
    assert kept()["payment"]["order"]["orderId"] == "order-2"


# --- completed -------------------------------------------------------------------------------------------------------
def test_a_payment_is_marked_once_and_the_search_begins(booking, kept, documents, asha):
    paid_at = datetime(2026, 11, 22, 10, tzinfo=UTC)
    for _ in range(3):
        completed(booking, method="UPI", paid_at=paid_at)

    after = kept()
    assert after["status"] == "SEARCHING"
    assert after["payment"]["status"] == "PAID"
    assert after["payment"]["method"] == "UPI"
    assert after["payment"]["paidAmount"].to_decimal() == PRICE
    assert after["payment"]["paidAt"].replace(tzinfo=UTC) == paid_at
    assert after["version"] == 2
    assert [entry["to"] for entry in after["timeline"]] == ["REQUESTED", "SEARCHING"]
    spent = documents("patients").find_one({"_id": asha.id})["totalSpent"]
    assert Decimal(str(spent)) == PRICE


def test_twenty_parallel_deliveries_count_once(booking, kept, documents, asha):
    results = in_parallel([lambda: completed(booking)] * 20)

    assert not [result for result in results if isinstance(result, Exception)]
    assert kept()["version"] == 2
    assert Decimal(str(documents("patients").find_one({"_id": asha.id})["totalSpent"])) == PRICE


@pytest.mark.parametrize("status", ["SEARCHING", "ASSIGNED", "CONFIRMED", "EN_ROUTE", "IN_PROGRESS", "COMPLETED"])
def test_a_payment_later_in_life_leaves_the_status(booking, kept, documents, outbox, status):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})

    completed(booking)

    assert (kept()["status"], kept()["payment"]["status"]) == (status, "PAID")
    assert outbox.types("PARTNER").count("refund.request") == 0


@pytest.mark.parametrize("status", ["CANCELLED", "FAILED", "NO_SHOW"])
def test_a_payment_that_comes_too_late_goes_back_once(booking, kept, documents, outbox, status):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})

    for _ in range(3):
        completed(booking)

    after = kept()
    assert (after["status"], after["payment"]["status"]) == (status, "PAID")
    assert (after["refund"]["status"], after["refund"]["amount"].to_decimal()) == ("REQUESTED", PRICE)
    assert after["refund"]["reason"] == f"PAID_AFTER_{status}"
    assert outbox.types().count("booking.refund_requested") == 1
    assert outbox.types("PARTNER").count("refund.request") == 1


@pytest.mark.parametrize("amount", ["677.13", "677.15", "0", "1354.28"])
def test_another_amount_is_not_marked_but_flagged(booking, kept, documents, amount, asha):
    for _ in range(2):
        with pytest.raises(PaymentAmountMismatch), atomic():
            completed(booking, amount=amount)
        payments.payment_discrepancy_record(booking_id=booking["_id"], transaction_id="txn-1", amount=Decimal(amount))

    after = kept()
    assert (after["status"], after["payment"]["status"]) == ("REQUESTED", "PENDING")
    assert after["payment"]["needsStaff"] is True
    [flag] = after["payment"]["discrepancies"]
    assert (flag["transactionId"], flag["amount"].to_decimal()) == ("txn-1", Decimal(amount))
    assert Decimal(str(documents("patients").find_one({"_id": asha.id})["totalSpent"])) == 0
    assert completed(booking, transaction="txn-2")["payment"]["status"] == "PAID"


def test_a_second_transaction_for_a_paid_booking_is_for_staff(booking, kept):
    completed(booking)

    with pytest.raises(PaymentAmountMismatch):
        completed(booking, transaction="txn-2")

    assert kept()["payment"]["transactionId"] == "txn-1"


def test_a_payment_for_no_booking_is_refused():
    with pytest.raises(BookingNotFound):
        completed({"_id": ObjectId()})
    with pytest.raises(BookingNotFound):
        payments.payment_failed(booking_id=ObjectId())


# --- order of events -------------------------------------------------------------------------------------------------
def test_a_late_failure_takes_nothing_back(booking, kept):
    completed(booking)
    before = kept()

    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-0")

    assert kept() == before


def test_a_failure_counts_once_and_needs_no_transaction(booking, kept):
    for _ in range(3):
        payments.payment_failed(booking_id=booking["_id"])

    assert kept()["payment"]["status"] == "FAILED"
    assert kept()["payment"]["attempt"] == 2
    assert "failedTransactionId" not in kept()["payment"]


def test_a_failure_told_again_does_not_touch_the_order_that_followed_it(booking, post, payment_service, kept):
    for transaction in ("txn-1", "txn-2"):
        post()
        payments.payment_failed(booking_id=booking["_id"], transaction_id=transaction)
    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-3")
    post()
    before = kept()
    assert (before["payment"]["attempt"], before["payment"]["order"]["orderId"]) == (3, "order-3")

    for transaction in ("txn-1", "txn-2", "txn-3"):
        payments.payment_failed(booking_id=booking["_id"], transaction_id=transaction)

    assert kept() == before


def test_a_late_failure_of_an_older_order_does_not_touch_the_one_that_is_open(booking, post, payment_service, kept, at):
    payment_service.expires_at = datetime.now(UTC) + timedelta(minutes=15)
    post()
    at(datetime.now(UTC) + timedelta(minutes=16))
    payment_service.expires_at = datetime.now(UTC) + timedelta(minutes=31)
    post()
    before = kept()
    assert before["payment"]["order"]["orderId"] == "order-2"

    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-1", order_id="order-1")

    assert kept() == before
    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-2", order_id="order-2")
    assert (kept()["payment"]["status"], kept()["payment"]["attempt"]) == ("FAILED", 2)


def test_a_failure_that_names_an_order_fails_one_that_came_without_an_id(
    booking, post, payment_service, kept, documents
):
    post()
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$unset": {"payment.order.orderId": 1}})

    payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-1", order_id="order-1")

    assert (kept()["payment"]["status"], kept()["payment"]["attempt"]) == ("FAILED", 2)
    assert post().body["data"]["orderId"] == "order-2"


def test_an_order_that_fails_while_it_is_opened_is_not_kept(booking, post, payment_service, kept):
    payment_service.while_working = lambda: payments.payment_failed(
        booking_id=booking["_id"], transaction_id="txn-1", order_id="order-1"
    )

    assert (post().status_code, kept()["payment"]["status"]) == (409, "FAILED")


def reports(booking, **named):
    return {
        "completed": lambda: completed(booking),
        "failed": lambda: payments.payment_failed(booking_id=booking["_id"], transaction_id="txn-0"),
        "refunded": lambda: payments.payment_refunded(booking_id=booking["_id"], amount=PRICE, **named),
    }


@pytest.mark.parametrize("named", [{}, {"transaction_id": "txn-1"}], ids=["unnamed", "named"])
@pytest.mark.parametrize(
    "order", list(itertools.permutations(["completed", "completed", "failed", "refunded", "refunded"]))[::7]
)
def test_whatever_the_order_of_deliveries_it_ends_refunded(booking, kept, order, named, documents, asha):
    for name in order:
        reports(booking, **named)[name]()

    after = kept()
    assert after["payment"]["status"] == "REFUNDED"
    assert after["refund"]["status"] == "REFUNDED"
    assert after["payment"]["transactionId"] == "txn-1"
    assert Decimal(str(documents("patients").find_one({"_id": asha.id})["totalSpent"])) == 0


def flagged(booking, transaction, amount):
    """What the consumer does with a payment that our rules refuse."""
    with pytest.raises(PaymentAmountMismatch), atomic():
        completed(booking, transaction=transaction, amount=amount)
    payments.payment_discrepancy_record(booking_id=booking["_id"], transaction_id=transaction, amount=Decimal(amount))


def given_back(booking, transaction, amount=PRICE):
    payments.payment_refunded(
        booking_id=booking["_id"],
        transaction_id=transaction,
        amount=Decimal(amount),
        refunded_at=datetime(2026, 11, 22, 10, tzinfo=UTC),
    )


def spent(documents, patient):
    return Decimal(str(documents("patients").find_one({"_id": patient.id})["totalSpent"]))


def assert_noted(after, transaction, amount):
    """That the transaction is for staff to see, and that its money is back."""
    [flag] = after["payment"]["discrepancies"]
    assert after["payment"]["needsStaff"] is True
    assert (flag["transactionId"], flag["amount"].to_decimal()) == (transaction, Decimal(amount))
    assert flag["refundedAmount"].to_decimal() == Decimal(amount)
    assert flag["refundedAt"].replace(tzinfo=UTC) == datetime(2026, 11, 22, 10, tzinfo=UTC)


DOUBLE_PAYMENT = {
    "paid": lambda booking: completed(booking),
    "paid again": lambda booking: flagged(booking, "txn-2", PRICE),
    "the second given back": lambda booking: given_back(booking, "txn-2"),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("order", [order for order in itertools.permutations(DOUBLE_PAYMENT) if order[0] == "paid"])
def test_a_double_payment_given_back_leaves_the_booking_paid(asha, booking, kept, documents, outbox, order, times):
    for name in order:
        for _ in range(times):
            DOUBLE_PAYMENT[name](booking)

    after = kept()
    assert (after["payment"]["status"], after["payment"]["transactionId"]) == ("PAID", "txn-1")
    assert_noted(after, "txn-2", PRICE)
    assert "refund" not in after
    assert spent(documents, asha) == PRICE
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    assert kept()["refund"]["amount"].to_decimal() == PRICE
    assert outbox.types("PARTNER").count("refund.request") == 1


def test_a_double_payment_whose_refund_is_told_before_everything_leaves_the_booking_paid(
    asha, booking, kept, documents
):
    given_back(booking, "txn-2")
    assert kept()["payment"]["status"] == "PENDING"
    completed(booking)
    flagged(booking, "txn-2", PRICE)

    assert kept()["payment"]["status"] == "PAID"
    assert_noted(kept(), "txn-2", PRICE)
    assert spent(documents, asha) == PRICE


WRONG_AMOUNT = {
    "wrong": lambda booking: flagged(booking, "txn-1", 600),
    "given back": lambda booking: given_back(booking, "txn-1", 600),
    "right": lambda booking: completed(booking, transaction="txn-2"),
}


@pytest.mark.parametrize("order", list(itertools.permutations(WRONG_AMOUNT)))
def test_a_wrong_amount_given_back_leaves_the_right_payment(asha, booking, kept, documents, order):
    for name in order:
        WRONG_AMOUNT[name](booking)

    after = kept()
    assert (after["payment"]["status"], after["payment"]["transactionId"]) == ("PAID", "txn-2")
    assert_noted(after, "txn-1", 600)
    assert spent(documents, asha) == PRICE
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    assert kept()["refund"]["amount"].to_decimal() == PRICE


@pytest.mark.parametrize("amount", [PRICE, 600])
def test_a_refund_without_a_name_is_of_the_transaction_that_waits_for_one(asha, booking, kept, documents, amount):
    completed(booking)
    flagged(booking, "txn-2", amount)

    given_back(booking, "", amount)

    assert kept()["payment"]["status"] == "PAID"
    assert_noted(kept(), "txn-2", amount)
    assert spent(documents, asha) == PRICE


def test_a_refund_without_a_name_is_of_the_payment_when_that_was_asked_for(asha, booking, kept):
    completed(booking)
    flagged(booking, "txn-2", PRICE)
    services.booking_cancel(actor=asha, booking_id=booking["_id"])

    given_back(booking, "")

    after = kept()
    assert (after["payment"]["status"], after["refund"]["status"]) == ("REFUNDED", "REFUNDED")
    assert "refundedAt" not in after["payment"]["discrepancies"][0]


def test_a_wrong_amount_given_back_can_still_be_paid(booking, post, payment_service):
    flagged(booking, "txn-1", 600)
    given_back(booking, "txn-1", 600)

    assert post().status_code == 201


def test_money_that_is_back_does_not_pay_when_its_amount_becomes_right(booking, kept, documents):
    """A price that changes and a dead message that is put back."""
    flagged(booking, "txn-1", 600)
    given_back(booking, "txn-1", 600)
    price = documents("nursebookings").find_one({"_id": booking["_id"]})["pricing"]
    documents("nursebookings").update_one(
        {"_id": booking["_id"]}, {"$set": {"pricing": {**price, "payableAmount": Decimal128("600")}}}
    )

    flagged(booking, "txn-1", 600)

    assert kept()["payment"]["status"] == "PENDING"


def test_a_flagged_payment_that_fits_by_now_is_no_case_for_staff_any_more(asha, booking, kept, documents):
    """A price that changes, and a dead message that is put back."""
    flagged(booking, "txn-1", 600)
    flagged(booking, "txn-2", 500)
    documents("nursebookings").update_one(
        {"_id": booking["_id"]}, {"$set": {"pricing.payableAmount": Decimal128("600")}}
    )

    completed(booking, "txn-1", 600)

    assert [flag["transactionId"] for flag in kept()["payment"]["discrepancies"]] == ["txn-2"]
    assert kept()["payment"]["needsStaff"]
    given_back(booking, "txn-2", 500)
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    given_back(booking, "txn-1", 600)
    assert (kept()["payment"]["status"], kept()["refund"]["status"]) == ("REFUNDED", "REFUNDED")
    assert_noted(kept(), "txn-2", 500)


def test_the_only_flagged_payment_leaves_nothing_to_staff_once_it_fits(booking, kept, documents):
    flagged(booking, "txn-1", 600)
    documents("nursebookings").update_one(
        {"_id": booking["_id"]}, {"$set": {"pricing.payableAmount": Decimal128("600")}}
    )

    completed(booking, "txn-1", 600)

    assert (kept()["payment"]["discrepancies"], kept()["payment"]["needsStaff"]) == ([], False)


@pytest.mark.parametrize("status", ["REQUESTED", "CANCELLED"])
def test_a_refund_told_before_its_payment_ends_refunded_and_is_not_asked_for(
    asha, booking, kept, documents, outbox, status
):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})
    given_back(booking, "txn-1")
    completed(booking)

    after = kept()
    assert (after["payment"]["status"], after["refund"]["status"]) == ("REFUNDED", "REFUNDED")
    assert (after["payment"]["transactionId"], after["payment"]["discrepancies"]) == ("txn-1", [])
    assert after["refund"]["amount"].to_decimal() == PRICE
    assert spent(documents, asha) == 0
    assert outbox.types("PARTNER").count("refund.request") == 0


def test_a_payment_that_the_monolith_marked_is_refunded_whatever_its_transaction(booking, kept, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"payment": {"status": "PAID"}}})

    given_back(booking, "txn-1")

    assert (kept()["payment"]["status"], kept()["refund"]["status"]) == ("REFUNDED", "REFUNDED")


PAID_BY_THE_MONOLITH = {"payment": {"status": "PAID", "method": "ONLINE", "paidAmount": 677.14}}


@pytest.mark.parametrize("status", ["CONFIRMED", "CANCELLED"])
def test_a_payment_that_the_monolith_marked_gets_its_transaction_and_counts_once(
    asha, booking, kept, documents, outbox, status
):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status, **PAID_BY_THE_MONOLITH}})

    for _ in range(2):
        completed(booking)

    after = kept()
    assert after["payment"] == {**PAID_BY_THE_MONOLITH["payment"], "transactionId": "txn-1"}
    assert after["version"] == 2
    assert "refund" not in after
    assert spent(documents, asha) == 0
    assert outbox.types("PARTNER").count("refund.request") == 0


def test_another_amount_than_the_monolith_marked_is_for_staff(booking, kept, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": PAID_BY_THE_MONOLITH})

    flagged(booking, "txn-1", 600)

    assert "transactionId" not in kept()["payment"]


def test_a_transaction_that_the_monolith_noted_before_it_was_paid_pays(booking, kept, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"payment.transactionId": "txn-1"}})

    assert completed(booking)["payment"]["status"] == "PAID"


def test_of_very_many_payments_the_first_are_kept_and_all_are_counted(booking, kept, documents, monkeypatch):
    monkeypatch.setattr(payments, "KEPT", 3)
    for number in range(5):
        flagged(booking, f"txn-{number}", 600)
    given_back(booking, "txn-9", 600)
    given_back(booking, "txn-2", 600)

    payment = kept()["payment"]
    assert [flag["transactionId"] for flag in payment["discrepancies"]] == ["txn-0", "txn-1", "txn-2"]
    assert "refundedAt" in payment["discrepancies"][-1]
    assert (payment["moreDiscrepancies"], payment["needsStaff"]) == (3, True)


# --- refunds of another amount ---------------------------------------------------------------------------------------
def refund_noted(after):
    """What was told of money that went back, and settles nothing."""
    assert after["payment"]["needsStaff"] is True
    return [flag["refundedAmount"].to_decimal() for flag in after["payment"]["discrepancies"]]


@pytest.mark.parametrize("transaction", ["", "txn-1"])
@pytest.mark.parametrize("amount", ["0", "1.00", "677.13", "6771.40"])
def test_a_refund_of_another_amount_is_for_staff_and_settles_nothing(
    asha, booking, kept, documents, amount, transaction
):
    completed(booking)

    for _ in range(2):
        given_back(booking, transaction, amount)

    assert kept()["payment"]["status"] == "PAID"
    assert refund_noted(kept()) == [Decimal(amount)]
    assert spent(documents, asha) == PRICE
    _, refund = services.booking_cancel(actor=asha, booking_id=booking["_id"])
    assert refund.refund_amount == max(PRICE - Decimal(amount), 0)  # what is back is not asked for again
    given_back(booking, transaction, amount)
    assert kept()["payment"]["status"] == "PAID"
    given_back(booking, transaction)
    assert (kept()["payment"]["status"], kept()["refund"]["status"]) == ("REFUNDED", "REFUNDED")
    assert spent(documents, asha) == 0


@pytest.mark.parametrize("back", ["338.57", "677.14"])
def test_what_was_asked_for_or_all_that_was_paid_settles_a_refund(asha, booking, kept, documents, at, back):
    completed(booking)
    at(tomorrow(days=3) - timedelta(hours=5))
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    assert kept()["refund"]["amount"].to_decimal() == Decimal("338.57")

    given_back(booking, "txn-1", 300)
    assert kept()["refund"]["status"] == "REQUESTED"
    given_back(booking, "txn-1", back)

    assert (kept()["payment"]["status"], kept()["refund"]["status"]) == ("REFUNDED", "REFUNDED")
    assert kept()["refund"]["amount"].to_decimal() == Decimal(back)
    assert spent(documents, asha) == PRICE - Decimal(back)
    given_back(booking, "txn-1", 5000)
    assert refund_noted(kept()) == [5000]
    assert spent(documents, asha) == PRICE - Decimal(back)


@pytest.mark.parametrize("transaction", ["", "txn-1"])
def test_a_refund_of_what_nobody_paid_settles_nothing(asha, booking, kept, documents, transaction):
    given_back(booking, transaction)

    assert kept()["payment"]["status"] == "PENDING"
    assert "refund" not in kept()
    assert refund_noted(kept()) == [PRICE]
    assert spent(documents, asha) == 0


@pytest.mark.parametrize("transaction", ["", "txn-1"])
def test_a_refund_of_another_amount_told_before_its_payment_leaves_that_paid(
    asha, booking, kept, documents, transaction
):
    given_back(booking, transaction, 1)
    completed(booking)

    assert kept()["payment"]["status"] == "PAID"
    assert refund_noted(kept()) == [1]
    assert spent(documents, asha) == PRICE


def test_another_amount_back_of_what_the_monolith_marked_does_not_hide_the_right_one(booking, kept, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": PAID_BY_THE_MONOLITH})
    given_back(booking, "txn-1", 1)
    assert kept()["payment"]["status"] == "PAID"

    given_back(booking, "txn-1")

    assert kept()["payment"]["status"] == "REFUNDED"


# --- refunds ---------------------------------------------------------------------------------------------------------
def test_a_refund_ends_with_the_patient(api, asha, booking, kept):
    completed(booking)
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    read = api(asha)("GET", f"/bookings/{booking['_id']}/payment").body["data"]
    assert (read["status"], read["transactionId"], read["paidAmount"]) == ("PAID", "txn-1", 677.14)
    assert (read["refund"]["status"], read["refund"]["amount"]) == ("REQUESTED", 677.14)
    at = datetime(2026, 11, 22, 10, tzinfo=UTC)

    payments.payment_refunded(booking_id=booking["_id"], amount=PRICE, refunded_at=at)

    assert (kept()["refund"]["status"], kept()["payment"]["status"]) == ("REFUNDED", "REFUNDED")
    assert kept()["refund"]["refundedAt"].replace(tzinfo=UTC) == at


def test_a_refund_that_nobody_would_make_is_a_case_for_staff(asha, booking, kept):
    completed(booking)
    services.booking_cancel(actor=asha, booking_id=booking["_id"])

    for _ in range(2):
        payments.refund_needs_staff(booking_id=booking["_id"], reason="PAYMENT_SERVICE_DOWN")

    assert kept()["refund"]["status"] == "NEEDS_STAFF"
    assert kept()["refund"]["problem"] == "PAYMENT_SERVICE_DOWN"
    payments.payment_refunded(booking_id=booking["_id"], amount=PRICE)
    assert kept()["refund"]["status"] == "REFUNDED"
    payments.refund_needs_staff(booking_id=booking["_id"])
    assert kept()["refund"]["status"] == "REFUNDED"


def test_a_cancellation_and_a_payment_at_once_refund_once(asha, booking, kept, outbox):
    results = in_parallel(
        [
            lambda: services.booking_cancel(actor=asha, booking_id=booking["_id"]),
            lambda: completed(booking),
        ]
    )

    if kept()["status"] != "CANCELLED":  # the payment won, and the cancellation was told so
        assert isinstance(results[0], Exception)
        services.booking_cancel(actor=asha, booking_id=booking["_id"])
    after = kept()
    assert (after["status"], after["payment"]["status"], after["refund"]["status"]) == (
        "CANCELLED",
        "PAID",
        "REQUESTED",
    )
    assert outbox.types("PARTNER").count("refund.request") == 1


def test_the_refund_request_names_the_transaction(asha, booking, documents):
    completed(booking)
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="gangrene")

    row = documents("outbox").find_one({"type": "refund.request"})

    assert b"txn-1" in bytes(row["body"])
    assert b"gangrene" not in bytes(row["body"])


def test_payment_and_visit_do_not_disturb_each_other(asha, nurse, admin, booking, kept):
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    completed(booking)
    visits.booking_confirm(actor=nurse, booking_id=booking["_id"])

    assert (kept()["status"], kept()["payment"]["status"]) == ("CONFIRMED", "PAID")
    assert SYSTEM.id is None


def test_a_cancellation_asks_only_for_what_has_not_gone_back(asha, booking, kept, documents):
    completed(booking)
    given_back(booking, "txn-1", "338.57")

    _, refund = services.booking_cancel(actor=asha, booking_id=booking["_id"])

    assert refund.refund_amount == kept()["refund"]["amount"].to_decimal() == Decimal("338.57")
    given_back(booking, "txn-1", "338.57")
    assert (kept()["payment"]["status"], kept()["refund"]["status"]) == ("REFUNDED", "REFUNDED")
