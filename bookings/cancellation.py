"""What a cancellation gives back. Pure: no Django, no clock.

The notice is counted to the visit, the refund on what was actually paid.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

FULL_REFUND_NOTICE = timedelta(hours=24)
HALF_REFUND_NOTICE = timedelta(hours=4)

FULL, HALF, NONE = Decimal(1), Decimal("0.5"), Decimal(0)
_PAISE = Decimal("0.01")


class CancelledBy(StrEnum):
    """The side that called a visit off."""

    PATIENT = "PATIENT"
    PROVIDER = "PROVIDER"
    ADMIN = "ADMIN"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True, slots=True)
class Refund:
    """What goes back to the patient and what is kept, in rupees; both are 0 when nothing was paid."""

    refund_amount: Decimal
    cancellation_fee: Decimal

    @property
    def refund_eligible(self) -> bool:
        return self.refund_amount > 0


def refund_share(*, cancelled_by: CancelledBy, starts_at: datetime, now: datetime) -> Decimal:
    """The share of the paid amount that goes back: all with over 24 h notice, half with over 4 h, else nothing.

    Whoever cancels but the patient gives everything back, whenever it is.
    """
    if cancelled_by is not CancelledBy.PATIENT:
        return FULL
    notice = starts_at - now
    if notice > FULL_REFUND_NOTICE:
        return FULL
    return HALF if notice > HALF_REFUND_NOTICE else NONE


def refund_of(paid: Decimal, share: Decimal) -> Refund:
    """`share` of `paid`, rounded half-up to paise; the rest is the fee."""
    amount = (paid * share).quantize(_PAISE, rounding=ROUND_HALF_UP)
    return Refund(refund_amount=amount, cancellation_fee=paid - amount)
