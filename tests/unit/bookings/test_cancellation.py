"""The refund rules at every boundary, to the second and below."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookings.cancellation import CancelledBy, refund_of, refund_share

VISIT = datetime(2026, 12, 1, 4, 30, tzinfo=UTC)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)
DAY, FOUR_HOURS = timedelta(hours=24), timedelta(hours=4)


@pytest.mark.parametrize(
    ("notice", "share"),
    [
        (timedelta(days=30), "1"),
        (DAY + SECOND, "1"),
        (DAY + TICK, "1"),
        (DAY, "0.5"),
        (DAY - TICK, "0.5"),
        (DAY - SECOND, "0.5"),
        (FOUR_HOURS + SECOND, "0.5"),
        (FOUR_HOURS + TICK, "0.5"),
        (FOUR_HOURS, "0"),
        (FOUR_HOURS - TICK, "0"),
        (FOUR_HOURS - SECOND, "0"),
        (timedelta(0), "0"),
        (-DAY, "0"),
    ],
)
def test_it_counts_a_patients_notice_to_the_visit(notice: timedelta, share: str) -> None:
    assert refund_share(cancelled_by=CancelledBy.PATIENT, starts_at=VISIT, now=VISIT - notice) == Decimal(share)


@pytest.mark.parametrize("by", [CancelledBy.PROVIDER, CancelledBy.ADMIN, CancelledBy.SYSTEM])
@pytest.mark.parametrize("notice", [timedelta(days=3), FOUR_HOURS, timedelta(0), -DAY])
def test_it_gives_everything_back_when_the_other_side_cancels(by: CancelledBy, notice: timedelta) -> None:
    assert refund_share(cancelled_by=by, starts_at=VISIT, now=VISIT - notice) == 1


@pytest.mark.parametrize(
    ("paid", "share", "refund", "fee"),
    [
        ("678.50", "1", "678.50", "0.00"),
        ("678.50", "0.5", "339.25", "339.25"),
        ("678.51", "0.5", "339.26", "339.25"),
        ("0.01", "0.5", "0.01", "0.00"),
        ("678.50", "0", "0.00", "678.50"),
        ("0", "1", "0.00", "0.00"),
        ("0", "0.5", "0.00", "0.00"),
    ],
)
def test_it_splits_what_was_paid(paid: str, share: str, refund: str, fee: str) -> None:
    split = refund_of(Decimal(paid), Decimal(share))

    assert (split.refund_amount, split.cancellation_fee) == (Decimal(refund), Decimal(fee))
    assert split.refund_eligible is (Decimal(refund) > 0)


@given(
    paid=st.decimals(min_value=0, max_value=10**7, places=2),
    share=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1)]),
)
def test_it_neither_makes_nor_loses_money(paid: Decimal, share: Decimal) -> None:
    split = refund_of(paid, share)

    assert split.refund_amount + split.cancellation_fee == paid
    assert 0 <= split.refund_amount <= paid
