"""JSON as this API writes it: documents straight from MongoDB, money with two decimals, instants in UTC."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import orjson
from bson import DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

PAISE = Decimal("0.01")
# The upper half of a Decimal128 (BID) that is positive, has two decimals and a coefficient that fits the lower half.
TWO_DECIMALS = (6176 - 2) << 49
EXACT_FLOAT = 2**53
LARGEST_WHOLE = 2**63

# orjson would write "+00:00" and microseconds; _encode writes "…T10:00:00.000Z" as the monolith did.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME


def instant_text(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``, as JavaScript's ``toISOString`` writes it. Naive means UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat("T", "milliseconds") + "Z"


def money_number(amount: Decimal) -> int | float | None:
    """A JSON number with at most two decimals, rounded half-up; None for infinity, and for what is no number."""
    try:
        rounded = amount.quantize(PAISE, rounding=ROUND_HALF_UP)
        whole = int(rounded)
    except (InvalidOperation, ValueError):
        return None
    return whole if rounded == whole and abs(whole) < LARGEST_WHOLE else float(rounded)


def stored_money_number(amount: Decimal128) -> int | float | None:
    """``money_number`` of money as MongoDB keeps it. Amounts of two decimals, nearly all, are read off the encoding:
    ``to_decimal`` costs ten times as much."""
    high, paise = amount.__getstate__()
    if high != TWO_DECIMALS or paise > EXACT_FLOAT:
        return money_number(amount.to_decimal())
    return paise / 100 if paise % 100 else paise // 100


def _encode(value: Any) -> Any:
    # The types that documents are full of, found by one look, the most frequent first: a page has hundreds of them.
    kind = type(value)
    if kind is datetime:
        return instant_text(value)
    if kind is Decimal128:
        return stored_money_number(value)
    if kind is ObjectId:
        return value.binary.hex()
    return _encode_rare(value)


def _encode_rare(value: Any) -> Any:
    match value:
        case Decimal():
            return money_number(value)
        case datetime():
            return instant_text(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case set() | frozenset() | tuple():
            return list(value)
        case bytes() | DatetimeMS() | DBRef() | MaxKey() | MinKey() | Regex() | Timestamp():
            return None  # MongoDB knows it, JSON does not, and no document of ours has it
    raise TypeError(f"{type(value).__name__} has no shape in this API.")


def encode(value: Any) -> bytes:
    """``value`` as JSON, in bytes."""
    return orjson.dumps(value, default=_encode, option=_OPTIONS)
