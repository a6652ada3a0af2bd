"""JSON as this API writes it."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from bson import DBRef, Decimal128, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from booking_service.api.renderers import encode

INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("678.50"), "678.5"),
        (Decimal("678.00"), "678"),
        (Decimal128("206.79299999999998"), "206.79"),
        (Decimal("0.005"), "0.01"),
        (Decimal("1E+3"), "1000"),
        (ObjectId("5" * 24), f'"{"5" * 24}"'),
        (datetime(2026, 1, 1, 10, tzinfo=INDIA), '"2026-01-01T04:30:00.000Z"'),
        (datetime(2026, 1, 1, 10, 0, 0, 123999, tzinfo=UTC), '"2026-01-01T10:00:00.123Z"'),
        (datetime(2026, 1, 1, 10), '"2026-01-01T10:00:00.000Z"'),
        (date(2026, 1, 1), '"2026-01-01"'),
        (time(9, 5), '"09:05:00"'),
        ({"a": [None, True, 1.5]}, '{"a":[null,true,1.5]}'),
        ("नमस्ते", '"नमस्ते"'),
        (Decimal128("NaN"), "null"),
        (Decimal128("-Infinity"), "null"),
        (Decimal128("1E+6000"), "null"),
        (Decimal128("1E+25"), "1e+25"),
        (DatetimeMS(2**53), "null"),
        (b"x", "null"),
        ([Regex("a"), Timestamp(1, 1), MinKey(), DBRef("a", 1)], "[null,null,null,null]"),
    ],
)
def test_it_encodes(value: Any, text: str) -> None:
    assert encode(value).decode() == text


def test_it_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        encode(object())


@given(st.integers(-(10**16), 10**16), st.integers(-6, 2))  # JSON integers have 64 bits
def test_it_reads_stored_money_as_exactly_as_any_other(coefficient: int, exponent: int) -> None:
    amount = Decimal(coefficient).scaleb(exponent)

    assert encode(Decimal128(amount)) == encode(amount)
