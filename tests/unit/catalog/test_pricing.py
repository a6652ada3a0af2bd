"""catalog.pricing: the one place that computes a price."""

from dataclasses import replace
from datetime import datetime, time
from decimal import ROUND_HALF_UP, Decimal

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from catalog.pricing import quote
from catalog.terms import CatalogService, Package, Surge, SurgeWindow

NOON = datetime(2026, 11, 25, 12, 0)
IV_DRIP = CatalogService(
    id=ObjectId(),
    name="IV_DRIP",
    slug="iv-drip",
    category="NURSING",
    display_name="IV drip at home",
    base_price=Decimal(799),
    surge=Surge(enabled=True, multiplier=Decimal("1.5"), windows=(SurgeWindow(time(18), time(22)),)),
)

prices = st.decimals(min_value=0, max_value=1_000_000, places=2)
multipliers = st.decimals(min_value=1, max_value=5, places=2)
times = st.times().map(lambda at: at.replace(tzinfo=None))
windows = st.builds(SurgeWindow, start=times, end=times)
services = st.builds(
    replace,
    st.just(IV_DRIP),
    base_price=prices,
    package=st.none()
    | st.builds(Package, price=prices, total_sessions=st.just(10), valid_days=st.just(21), price_per_session=prices),
    surge=st.builds(
        Surge, enabled=st.booleans(), multiplier=multipliers, windows=st.lists(windows, max_size=3).map(tuple)
    ),
)
instants = st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 12, 31))


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return NOON.replace(hour=hour, minute=minute, second=second)


def test_it_quotes_line_by_line() -> None:
    price = quote(IV_DRIP, at(10))
    assert (price.base_price, price.platform_fee, price.gst) == (
        Decimal("799.00"),
        Decimal("119.85"),
        Decimal("165.39"),
    )
    assert price.total_amount == price.payable_amount == Decimal("1084.24")
    assert (price.surge_applied, price.surge_multiplier, price.currency) == (False, Decimal(1), "INR")


def test_it_rounds_half_a_paisa_up() -> None:
    price = quote(replace(IV_DRIP, base_price=Decimal("0.10")), at(10))
    assert price.platform_fee == Decimal("0.02")  # 0.015


def test_it_takes_the_surge_into_the_base() -> None:
    price = quote(IV_DRIP, at(18, 45))
    assert (price.base_price, price.platform_fee, price.gst) == (
        Decimal("1198.50"),
        Decimal("179.78"),
        Decimal("248.09"),
    )
    assert price.total_amount == Decimal("1626.37")
    assert (price.surge_applied, price.surge_multiplier) == (True, Decimal("1.5"))


@pytest.mark.parametrize(
    ("moment", "surged"),
    [(at(17, 59, 59), False), (at(18), True), (at(21, 59, 59), True), (at(22), False), (at(0), False)],
)
def test_it_counts_a_window_from_its_start_to_just_before_its_end(moment: datetime, surged: bool) -> None:
    assert quote(IV_DRIP, moment).surge_applied is surged


@pytest.mark.parametrize(
    ("moment", "surged"),
    [(at(21, 59), False), (at(22), True), (at(23, 59), True), (at(0), True), (at(5, 59), True), (at(6), False)],
)
def test_it_lets_a_window_cross_midnight(moment: datetime, surged: bool) -> None:
    night = replace(IV_DRIP, surge=replace(IV_DRIP.surge, windows=(SurgeWindow(time(22), time(6)),)))
    assert quote(night, moment).surge_applied is surged


def test_it_ignores_windows_while_surge_is_switched_off() -> None:
    off = replace(IV_DRIP, surge=replace(IV_DRIP.surge, enabled=False))
    assert quote(off, at(19)) == quote(IV_DRIP, at(10))


def test_it_charges_the_packages_total() -> None:
    package = Package(price=Decimal(6999), total_sessions=10, valid_days=21, price_per_session=Decimal("699.90"))
    price = quote(replace(IV_DRIP, base_price=Decimal(1), package=package), at(10))
    assert (price.base_price, price.total_amount) == (Decimal("6999.00"), Decimal("9497.64"))


def test_it_takes_a_discount_off_what_is_payable_only() -> None:
    price = quote(IV_DRIP, at(10), discount=Decimal("84.24"))
    assert (price.total_amount, price.discount, price.payable_amount) == (
        Decimal("1084.24"),
        Decimal("84.24"),
        Decimal("1000.00"),
    )


@pytest.mark.parametrize("discount", [Decimal("-0.01"), Decimal("1084.25")])
def test_it_refuses_a_discount_outside_the_price(discount: Decimal) -> None:
    with pytest.raises(ValueError, match="discount"):
        quote(IV_DRIP, at(10), discount=discount)


@pytest.mark.parametrize(
    "broken", [{"base_price": Decimal(-1)}, {"surge": Surge(True, Decimal(-1), IV_DRIP.surge.windows)}]
)
def test_it_refuses_negative_terms(broken: dict) -> None:
    with pytest.raises(ValueError, match="never negative"):
        quote(replace(IV_DRIP, **broken), at(19))


@given(services, instants)
def test_it_totals_its_parts_in_whole_paise(service: CatalogService, moment: datetime) -> None:
    price = quote(service, moment)
    lines = (price.base_price, price.platform_fee, price.gst, price.total_amount, price.payable_amount)
    assert price.total_amount == price.base_price + price.platform_fee + price.gst
    assert price.payable_amount == price.total_amount - price.discount
    assert all(line >= 0 and line == line.quantize(Decimal("0.01")) for line in lines)


@given(services, instants)
def test_it_stays_within_a_paisa_a_line_of_the_exact_price(service: CatalogService, moment: datetime) -> None:
    price = quote(service, moment)
    exact = (service.package.price if service.package else service.base_price) * price.surge_multiplier
    assert price.base_price == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert abs(price.total_amount - exact * Decimal("1.15") * Decimal("1.18")) <= Decimal("0.02")


@given(services, instants)
def test_it_never_costs_less_in_a_surge(service: CatalogService, moment: datetime) -> None:
    calm = replace(service, surge=replace(service.surge, enabled=False))
    assert quote(service, moment).total_amount >= quote(calm, moment).total_amount


@given(windows, times)
def test_a_window_and_its_complement_share_the_day(window: SurgeWindow, moment: time) -> None:
    rest = SurgeWindow(window.end, window.start)
    inside = [w for w in (window, rest) if w.holds(moment)]
    assert len(inside) == (0 if window.start == window.end else 1)
