"""JSON as this API writes it: documents straight from MongoDB, money with two decimals, instants in UTC."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
from bson import Decimal128, ObjectId

PAISE = Decimal("0.01")

# orjson would write "+00:00" and microseconds; _encode writes "…T10:00:00.000Z" as the monolith did.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS


def instant_text(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``, as JavaScript's ``toISOString`` writes it. Naive means UTC."""
    if moment.tzinfo is not None and moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def money_number(amount: Decimal) -> int | float:
    """A JSON number with at most two decimals, rounded half-up."""
    rounded = amount.quantize(PAISE, rounding=ROUND_HALF_UP)
    whole = int(rounded)
    return whole if rounded == whole else float(rounded)


def _encode(value: Any) -> Any:
    match value:
        case ObjectId():
            return str(value)
        case datetime():
            return instant_text(value)
        case Decimal128():
            return money_number(value.to_decimal())
        case Decimal():
            return money_number(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case set() | frozenset() | tuple():
            return list(value)
    raise TypeError(f"{type(value).__name__} has no shape in this API.")


def encode(value: Any) -> bytes:
    """``value`` as JSON, in bytes."""
    return orjson.dumps(value, default=_encode, option=_OPTIONS)
