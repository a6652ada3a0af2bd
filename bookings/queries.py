"""What a list's query string asks for. Outside of what there is, it is a refusal, not a guess."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar

from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from booking_service.api.errors import FieldError, InvalidInput
from bookings import scheduling, terms
from bookings.exceptions import RangeTooLarge
from bookings.lifecycle import Status

NEWEST_FIRST = "-createdAt"
ORDERS = (NEWEST_FIRST, "startsAt", "-startsAt")
DAYS_BY_DEFAULT = 7
_LONGEST = 60
T = TypeVar("T")
LONGEST_CITY = 100
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters and order of a list; `starts_from` is included, `starts_before` is not."""

    statuses: tuple[str, ...] = ()
    service_type: str | None = None
    starts_from: datetime | None = None
    starts_before: datetime | None = None
    order: str = NEWEST_FIRST


EVERYTHING = ListQuery()


def list_query(query: QueryDict) -> ListQuery:
    """`status` (repeatable), `serviceType`, `from`, `to`, `sort`. Raises InvalidInput with every one that is wrong."""
    if not query:
        return EVERYTHING
    errors: list[FieldError] = []
    statuses = tuple(name for given in query.getlist("status") for name in given.upper().split(",") if name)
    if not Status.__members__.keys() >= set(statuses):
        errors.append(FieldError("status", f"Give one of {', '.join(Status)}.", "INVALID_CHOICE"))
    order = query.get("sort", NEWEST_FIRST)
    if order not in ORDERS:
        errors.append(FieldError("sort", f"Sort by one of {', '.join(ORDERS)}.", "INVALID_CHOICE"))
    service_type = query.get("serviceType")
    if service_type is not None and not 1 <= len(service_type) <= _LONGEST:
        errors.append(FieldError("serviceType", "Give the name of a service.", "INVALID"))
    starts_from = _read(query, "from", _beginning, errors)
    starts_before = _read(query, "to", _end, errors)
    if errors:
        raise InvalidInput(errors=errors)
    return ListQuery(statuses, service_type, starts_from, starts_before, order)


def slot_days(query: QueryDict, today: date) -> list[date]:
    """The local days that `from` and `to` name, both included; a week from today on by default.

    Raises:
        InvalidInput for what is no day, or an end before the beginning; RangeTooLarge for more than 31 days.
    """
    errors: list[FieldError] = []
    first = _read(query, "from", _day, errors) or today
    last = _read(query, "to", _day, errors) or first + (DAYS_BY_DEFAULT - 1) * _DAY
    if not errors and last < first:
        errors.append(FieldError("to", "The end is before the beginning.", "INVALID"))
    if errors:
        raise InvalidInput(errors=errors)
    if (last - first).days >= scheduling.LONGEST_SLOT_RANGE_DAYS:
        raise RangeTooLarge
    return [first + n * _DAY for n in range((last - first).days + 1)]


def slot_city(query: QueryDict) -> str | None:
    """The city, None if none is asked for. Raises InvalidInput when it is longer than any name of one."""
    city = query.get("city") or None
    if city is not None and len(city) > LONGEST_CITY:
        raise InvalidInput(errors=[FieldError("city", f"At most {LONGEST_CITY} characters.", "MAX_LENGTH")])
    return city


def _read(query: QueryDict, name: str, read: Callable[[str], T], errors: list[FieldError]) -> T | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        return read(text)
    except ValueError:
        errors.append(FieldError(name, "Give a date as YYYY-MM-DD, or an instant with an offset.", "INVALID"))
        return None


def _day(text: str) -> date:
    """A local day, or the local day of an instant."""
    return scheduling.parse_date(text) if len(text) == 10 else _instant(text).astimezone(terms.zone()).date()


def _beginning(text: str) -> datetime:
    return _midnight(scheduling.parse_date(text)) if len(text) == 10 else _instant(text)


def _end(text: str) -> datetime:
    """A day counts to its end; an instant is itself included."""
    if len(text) == 10:
        return _midnight(scheduling.parse_date(text) + _DAY)
    return _instant(text) + timedelta(milliseconds=1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), terms.zone()).astimezone(UTC)


def _instant(text: str) -> datetime:
    # A "+" of an offset that nobody encoded arrives as a space.
    moment = parse_datetime(text.replace(" ", "+")) if len(text) <= _LONGEST else None
    if moment is None or moment.tzinfo is None or not scheduling.is_plausible(moment.date()):
        raise ValueError("not an instant")
    return moment.astimezone(UTC)
