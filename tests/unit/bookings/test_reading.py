"""How stored bookings are read, old ones too."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128

from bookings import reading

KOLKATA = ZoneInfo("Asia/Kolkata")
DAY = datetime(2026, 10, 18, tzinfo=UTC)
GONE_BACK = {"transactionId": "t", "refundedAmount": Decimal128("100.00")}
TEN = datetime(2026, 10, 18, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("booking", "expected"),
    [
        ({"startsAt": TEN, "endsAt": DAY}, (TEN, DAY)),
        ({"scheduledDate": DAY, "scheduledTime": "10:00 AM"}, (TEN, datetime(2026, 10, 18, 5, 30, tzinfo=UTC))),
        (
            {"scheduledDate": DAY, "scheduledTime": "10:00", "estimatedDuration": 20},
            (TEN, datetime(2026, 10, 18, 4, 50, tzinfo=UTC)),
        ),
        ({"scheduledDate": DAY, "scheduledTime": "banana"}, (None, None)),
        ({"scheduledDate": DAY}, (None, None)),
        ({"scheduledTime": "10:00"}, (None, None)),
        ({"scheduledDate": None, "scheduledTime": None}, (None, None)),
    ],
)
def test_it_knows_when_an_old_visit_is(booking: dict[str, Any], expected: Any) -> None:
    assert reading.visit_times(booking, KOLKATA) == expected


@pytest.mark.parametrize(
    ("booking", "expected"),
    [
        ({"startsAt": TEN}, TEN),
        ({"scheduledDate": DAY, "scheduledTime": "banana"}, datetime(2026, 10, 17, 18, 30, tzinfo=UTC)),
        ({"createdAt": DAY}, datetime(2026, 10, 17, 18, 30, tzinfo=UTC)),
    ],
)
def test_it_counts_notice_to_the_visit_or_to_the_beginning_of_its_day(booking: dict[str, Any], expected: Any) -> None:
    assert reading.notice_counts_to(booking, KOLKATA) == expected


@pytest.mark.parametrize(
    ("payment", "paid"),
    [
        ({"status": "PAID", "paidAmount": Decimal128("500.00")}, "500.00"),
        ({"status": "PAID"}, "1355.64"),
        ({"status": "PENDING", "paidAmount": Decimal128("500.00")}, "0"),
        ({"status": "REFUNDED", "paidAmount": Decimal128("500.00")}, "0"),
        ({"status": "PAID", "transactionId": "t", "discrepancies": [GONE_BACK]}, "1255.64"),
        ({"status": "PAID", "discrepancies": [{**GONE_BACK, "transactionId": ""}]}, "1255.64"),
        ({"status": "PAID", "transactionId": "another", "discrepancies": [GONE_BACK]}, "1355.64"),
        ({"status": "PAID", "transactionId": "t", "paidAmount": 99, "discrepancies": [GONE_BACK]}, "0"),
        (None, "0"),
    ],
)
def test_it_counts_what_was_actually_paid(payment: Any, paid: str) -> None:
    booking = {"payment": payment, "pricing": {"payableAmount": 1355.6429999999998}}

    assert reading.paid_amount(booking) == Decimal(paid)


@pytest.mark.parametrize(
    ("pricing", "payable"),
    [
        ({"payableAmount": Decimal128("678.50"), "totalAmount": 1}, "678.50"),
        ({"totalAmount": 678.5}, "678.50"),
        (None, "0"),
    ],
)
def test_it_counts_what_is_payable(pricing: Any, payable: str) -> None:
    assert reading.payable_amount({"pricing": pricing}) == Decimal(payable)


def test_it_orders_an_old_documents_time_stamps() -> None:
    stamps = {"completedAt": datetime(2026, 10, 19, tzinfo=UTC), "requestedAt": DAY, "odd": DAY, "cancelledAt": None}

    entries = reading.timeline_of({"statusTimestamps": stamps})

    assert [(entry["from"], entry["to"]) for entry in entries] == [(None, "REQUESTED"), ("REQUESTED", "COMPLETED")]


def test_it_shows_no_bookkeeping_and_exact_money() -> None:
    stored = {
        "claims": [],
        "timeline": [],
        "__v": 3,
        "reminders": {},
        "startsAt": TEN,
        "version": 2,
        "pricing": {"gst": 206.79299999999998, "payableAmount": Decimal128("1.00"), "currency": "INR"},
        "cancellation": None,
    }

    assert reading.shown(stored, KOLKATA) == {
        "startsAt": TEN,
        "version": 2,
        "pricing": {"gst": Decimal("206.79"), "payableAmount": Decimal128("1.00"), "currency": "INR"},
        "cancellation": None,
    }


def test_it_takes_every_clinical_field_away_and_every_one_that_nobody_foresaw() -> None:
    booking = {**dict.fromkeys(reading.CLINICAL_FIELDS, "secret"), "nurseNotes": "secret", "status": "ASSIGNED"}

    assert reading.clinical_fields_of(booking) == [*reading.CLINICAL_FIELDS, "nurseNotes"]
    assert reading.without_clinical(booking) == {"status": "ASSIGNED"}


@pytest.mark.parametrize(
    ("value", "says"), [(False, True), (0, True), (0.0, True), ("", False), (None, False), ([], False)]
)
def test_no_and_nothing_say_something_where_nobody_foresaw_them(value: Any, says: bool) -> None:
    booking = {"pregnant": value, "rating": {"stars": 5, "painScore": value}, "cancellation": value}
    assert reading.clinical_fields_of(booking) == (["pregnant"] if says else [])
    assert reading.words_of(booking) == (["cancellation", "rating.painScore"] if says else [])
