"""What a visit costs. Pure: no Django, no clock, no database; quotes and bookings are computed here and nowhere else.

base (a package's total for packages) x surge when the visit starts inside a surge window, then 15 % platform fee, then
18 % GST on both. Every line is rounded half-up to paise before the next one is computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Protocol

from .terms import Package, Surge

PAISA = Decimal("0.01")
PLATFORM_FEE_RATE = Decimal("0.15")
GST_RATE = Decimal("0.18")
NOTHING = Decimal(0)


class ServiceTerms(Protocol):
    """What a price depends on; a `CatalogService` has it."""

    @property
    def base_price(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...
    @property
    def package(self) -> Package | None: ...
    @property
    def surge(self) -> Surge: ...


@dataclass(frozen=True, slots=True)
class Quote:
    """A price in lines: `base_price` has the surge in it; base + fee + GST = total; total - discount = payable."""

    base_price: Decimal
    surge_multiplier: Decimal
    platform_fee: Decimal
    gst: Decimal
    total_amount: Decimal
    discount: Decimal
    payable_amount: Decimal
    currency: str
    surge_applied: bool


def quote(terms: ServiceTerms, starts_at_local: datetime, discount: Decimal = NOTHING) -> Quote:
    """The price of a visit that starts at `starts_at_local`, a time on the wall clock of the service's zone.

    Raises:
        ValueError: a negative price, a surge below nothing, or a discount that is not within 0 and the total.
    """
    surged = terms.surge.applies(starts_at_local.time())
    multiplier = terms.surge.multiplier if surged else Decimal(1)
    base, fee, gst, total = price_lines(list_price(terms), multiplier)
    if not NOTHING <= discount <= total:
        raise ValueError("a discount lies between nothing and the total")
    return Quote(
        base_price=base,
        surge_multiplier=multiplier,
        platform_fee=fee,
        gst=gst,
        total_amount=total,
        discount=discount,
        payable_amount=total - discount,
        currency=terms.currency,
        surge_applied=surged,
    )


def list_price(terms: ServiceTerms) -> Decimal:
    """The price before surge, fee and tax: the package's total where the service is a package."""
    return terms.package.price if terms.package else terms.base_price


@lru_cache(maxsize=4096)  # a month of slots has two prices, not a thousand
def price_lines(price: Decimal, multiplier: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """(base, platform fee, GST, total) in paise."""
    if price < 0 or multiplier < 0:
        raise ValueError("a price is never negative")
    base = to_paise(price * multiplier)
    fee = to_paise(base * PLATFORM_FEE_RATE)
    gst = to_paise((base + fee) * GST_RATE)
    return base, fee, gst, base + fee + gst


def to_paise(amount: Decimal) -> Decimal:
    """The amount rounded half-up to two decimals."""
    return amount.quantize(PAISA, rounding=ROUND_HALF_UP)
