"""A booking of the monolith."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128, ObjectId

from monolith.bookings import converted_booking, is_to_come, local_day, timeline
from monolith.conversion import Quarantine

KOLKATA = ZoneInfo("Asia/Kolkata")
PATIENT = ObjectId()


def booking(**changes):
    document = {
        "_id": ObjectId(),
        "patient": PATIENT,
        "serviceType": "INJECTION",
        "scheduledDate": datetime(2026, 12, 6, tzinfo=UTC),
        "scheduledTime": "14:30",
        "estimatedDuration": 60,
        "pricing": {"basePrice": 500, "platformFee": 75, "gst": 103.5, "totalAmount": 678.5, "payableAmount": 678.5},
        "payment": {"status": "PENDING"},
        "status": "REQUESTED",
        "statusTimestamps": {"requestedAt": datetime(2026, 12, 1, tzinfo=UTC)},
        "messages": [{"from": "PATIENT", "message": "hello"}],
        "createdAt": datetime(2026, 12, 1, tzinfo=UTC),
        "updatedAt": datetime(2026, 12, 2, tzinfo=UTC),
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def price(service_type, starts_at):
    return {"payableAmount": Decimal128("677.14")} if service_type == "INJECTION" else None


def converted(document):
    return converted_booking(document, zone=KOLKATA, price=price, knows=lambda name: name == "INJECTION")


def reasons(result):
    return [finding.reason for finding in result.findings]


def refused(document):
    with pytest.raises(Quarantine) as quarantine:
        converted(document)
    return quarantine.value.finding.reason


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("14:30", datetime(2026, 12, 6, 9, 0, tzinfo=UTC)),
        ("02:30 PM", datetime(2026, 12, 6, 9, 0, tzinfo=UTC)),
        ("9:05", datetime(2026, 12, 6, 3, 35, tzinfo=UTC)),
        ("10:00 AM", datetime(2026, 12, 6, 4, 30, tzinfo=UTC)),
        ("12:00 AM", datetime(2026, 12, 5, 18, 30, tzinfo=UTC)),
        ("12:15 PM", datetime(2026, 12, 6, 6, 45, tzinfo=UTC)),
        ("00:10", datetime(2026, 12, 5, 18, 40, tzinfo=UTC)),
    ],
)
def test_it_makes_an_instant_of_every_time_format(text, utc):
    document = converted(booking(scheduledTime=text)).document

    assert document["startsAt"] == utc
    assert (document["endsAt"] - utc).total_seconds() == 3600
    assert document["scheduledTime"] == text


def test_it_takes_midnight_utc_for_the_local_day_and_other_moments_for_the_day_they_lie_in():
    assert local_day(datetime(2026, 12, 6, tzinfo=UTC), KOLKATA) == date(2026, 12, 6)
    assert local_day(datetime(2026, 12, 5, 18, 30, tzinfo=UTC), KOLKATA) == date(2026, 12, 6)
    assert local_day("2026-12-06T00:00:00Z", KOLKATA) == date(2026, 12, 6)
    assert local_day(None, KOLKATA) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduledTime": "banana"},
        {"scheduledTime": ...},
        {"scheduledDate": ...},
        {"scheduledDate": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)},
        {"scheduledDate": datetime(9999, 12, 31, tzinfo=UTC)},
        {"scheduledDate": datetime(1, 1, 1, tzinfo=UTC)},
    ],
)
def test_it_takes_a_visit_without_a_readable_time_without_an_instant(changes):
    result = converted(booking(**changes))

    assert "startsAt" not in result.document
    assert reasons(result) == ["TIME_UNREADABLE"]


@pytest.mark.parametrize("minutes", [0, 0.5, -5, "an hour", 100_000, True])
def test_it_takes_an_unreadable_duration_as_the_monoliths_default(minutes):
    result = converted(booking(estimatedDuration=minutes))

    assert result.document["estimatedDuration"] == 60
    assert result.original["estimatedDuration"] == minutes
    assert reasons(result) == ["DURATION_UNREADABLE"]


@pytest.mark.parametrize("amount", [-0.01, 10_000_000.01, 1e11])
def test_it_takes_no_amount_that_nobody_can_be_asked_for_or_pay(amount):
    result = converted(booking(pricing={"totalAmount": 678.5, "payableAmount": amount}, payment={"paidAmount": amount}))

    assert (result.original["pricing.payableAmount"], result.original["payment.paidAmount"]) == (amount, amount)
    assert result.document["pricing"]["payableAmount"] == Decimal128("678.50")
    assert "paidAmount" not in result.document["payment"]
    assert reasons(result).count("MONEY_UNREADABLE") == 2


@pytest.mark.parametrize("currency", ["USD", "IN\nR", 5, None])
def test_all_prices_are_in_rupees(currency):
    result = converted(booking(pricing={"payableAmount": 678.5, "currency": currency}))

    assert (result.document["pricing"]["currency"], result.original["pricing.currency"]) == ("INR", currency)
    assert reasons(result) == ["PART_UNREADABLE"]


def test_it_keeps_what_it_does_not_change():
    source = booking(recurringDates=[1, 2], actualService={"serviceReport": {"photos": ["a"]}}, odd={"x": [None]})

    document = converted(source).document

    for name in (
        "_id",
        "patient",
        "messages",
        "recurringDates",
        "actualService",
        "odd",
        "statusTimestamps",
        "createdAt",
    ):
        assert document[name] == source[name]


def test_it_leaves_the_source_as_it_was():
    source = booking(pricing={"gst": 165.393, "payableAmount": 1084.243}, cancellation={"refundAmount": 5.5})

    converted(source)

    assert source["pricing"] == {"gst": 165.393, "payableAmount": 1084.243}
    assert source["cancellation"] == {"refundAmount": 5.5}
    assert source["payment"] == {"status": "PENDING"}


def test_it_stores_money_in_paise():
    pricing = converted(booking()).document["pricing"]

    assert pricing["gst"] == Decimal128("103.50")
    assert pricing["payableAmount"] == Decimal128("678.50")
    assert pricing["currency"] == "INR"


@pytest.mark.parametrize("pricing", [..., None, {}, {"basePrice": 500}])
def test_it_prices_a_booking_without_a_price_as_the_catalog_does(pricing):
    result = converted(booking(pricing=pricing))

    assert result.document["pricing"] == {"payableAmount": Decimal128("677.14")}
    assert reasons(result) == ["NO_PRICE"]


def test_it_quarantines_what_has_no_price_and_no_service():
    assert refused(booking(pricing=..., serviceType="AURA_READING")) == "NO_PRICE"


def test_it_takes_an_unknown_service_type_as_it_is():
    result = converted(booking(serviceType="AURA_READING"))

    assert result.document["serviceType"] == "AURA_READING"
    assert reasons(result) == ["UNKNOWN_SERVICE_TYPE"]


@pytest.mark.parametrize("status", ["DONE", "requested", "", None, 5, []])
def test_it_quarantines_an_unknown_status(status):
    assert refused(booking(status=status)) == "UNKNOWN_STATUS"


def test_it_quarantines_nobodys_booking():
    assert refused(booking(patient=...)) == "NO_PATIENT"
    assert refused(booking(patient="me")) == "NO_PATIENT"
    assert refused(booking(serviceType="")) == "NO_SERVICE_TYPE"


def test_it_notes_what_was_paid():
    paid = converted(booking(payment={"status": "PAID", "method": "ONLINE", "transactionId": "pay_1"}))

    assert paid.document["payment"]["paidAmount"] == Decimal128("678.50")
    assert "paidAmount" not in converted(booking()).document["payment"]


def test_it_takes_back_a_refund_of_what_nobody_paid():
    cancellation = {"cancelledBy": "PATIENT", "refundEligible": True, "refundAmount": 678.5, "cancellationFee": 0}

    result = converted(booking(status="CANCELLED", cancellation=cancellation))

    assert result.document["cancellation"]["refundAmount"] == Decimal128("0.00")
    assert result.document["cancellation"]["refundEligible"] is False
    assert result.original == {"cancellation.refundAmount": 678.5}
    assert reasons(result) == ["REFUND_WITHOUT_PAYMENT"]


def test_it_makes_a_refund_that_was_promised_and_never_asked_for_a_case_for_staff():
    cancellation = {"cancelledBy": "PATIENT", "refundEligible": True, "refundAmount": 678.5}

    result = converted(booking(status="CANCELLED", cancellation=cancellation, payment={"status": "PAID"}))

    assert result.document["refund"]["status"] == "NEEDS_STAFF"
    assert result.document["refund"]["amount"] == Decimal128("678.50")
    assert reasons(result) == ["REFUND_OPEN"]


def test_it_tells_the_history_in_the_order_of_a_visits_life():
    stamps = {
        "completedAt": datetime(2026, 8, 7, tzinfo=UTC),
        "requestedAt": datetime(2026, 11, 22, tzinfo=UTC),  # the monolith stamped it when the export was made
        "assignedAt": None,
    }
    entries = timeline(booking(status="COMPLETED", statusTimestamps=stamps))

    assert [(entry["from"], entry["to"]) for entry in entries] == [(None, "REQUESTED"), ("REQUESTED", "COMPLETED")]
    assert entries[0]["actor"] == PATIENT


def test_it_ends_the_history_in_the_current_status_even_when_nothing_was_stamped():
    entries = timeline(booking(status="ASSIGNED", statusTimestamps=...))

    assert [entry["to"] for entry in entries] == ["ASSIGNED"]
    assert entries[0]["at"] == datetime(2026, 12, 2, tzinfo=UTC)


def test_it_knows_which_visits_still_need_their_time():
    document = converted(booking()).document
    before, after = datetime(2026, 12, 6, 9, 59, tzinfo=UTC), datetime(2026, 12, 6, 10, 0, tzinfo=UTC)

    assert is_to_come(document, before)
    assert not is_to_come(document, after)
    assert not is_to_come({**document, "status": "CANCELLED"}, before)
    assert not is_to_come(converted(booking(scheduledTime="banana")).document, before)
