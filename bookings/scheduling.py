"""When a visit can be. Pure: no Django, no clock, no database; instants are aware datetimes, rules are plain values.

Local time is the service's zone; what is compared or stored is UTC.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from booking_service.api.errors import FieldError
from booking_service.api.unseen import as_seen

CELL = timedelta(minutes=5)
CELL_SECONDS = 300
FARTHEST = timedelta(days=90)
LONGEST_SLOT_RANGE_DAYS = 31
SLOT_STEP = timedelta(minutes=30)
DAY = timedelta(days=1)
city_key = as_seen
NO_CELLS: frozenset[int] = frozenset()

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?:\s*([AaPp][Mm]))?")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T00:00:00(?:\.000)?Z)?")


class Violation(StrEnum):
    """The rules a visit can be against."""

    IN_PAST = "IN_PAST"
    LEAD_TIME = "LEAD_TIME"
    TOO_FAR = "TOO_FAR"
    OUTSIDE_HOURS = "OUTSIDE_HOURS"
    DAY_CLOSED = "DAY_CLOSED"
    NOT_ON_GRID = "NOT_ON_GRID"
    CITY_NOT_SERVED = "CITY_NOT_SERVED"
    AGE_OUT_OF_RANGE = "AGE_OUT_OF_RANGE"
    PRESCRIPTION_REQUIRED = "PRESCRIPTION_REQUIRED"
    SERVICE_INACTIVE = "SERVICE_INACTIVE"


class EmptyReason(StrEnum):
    """Why there is no slot to offer."""

    CITY_NOT_SERVED = "CITY_NOT_SERVED"
    CLOSED = "CLOSED"
    LEAD_TIME = "LEAD_TIME"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class VisitRules:
    """What a service of the catalog demands of its visits.

    `opens`/`closes` are local; the same or an earlier `closes` means the next day, None means round the clock.
    `weekdays` (Monday is 0) empty means every day; `cities` are casefolded, empty means everywhere.
    """

    duration: timedelta
    is_active: bool = True
    cities: frozenset[str] = frozenset()
    opens: time | None = None
    closes: time | None = None
    weekdays: frozenset[int] = frozenset()
    closed_dates: frozenset[date] = frozenset()
    lead: timedelta = timedelta(0)
    min_age: int | None = None
    max_age: int | None = None
    prescription_required: bool = False

    @property
    def needs_age(self) -> bool:
        return self.min_age is not None or self.max_age is not None

    @property
    def round_the_clock(self) -> bool:
        return self.opens is None and self.closes is None


@dataclass(frozen=True, slots=True)
class Visit:
    """What is asked for: `age` is that of the person cared for, None when nobody told."""

    starts_at: datetime
    city: str
    age: int | None = None
    has_prescription: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A time that could be booked; `available` says whether a place is left."""

    starts_at: datetime
    ends_at: datetime
    available: bool


def is_plausible(day: date) -> bool:
    """Whether a day is of the years that calculating with cannot leave the calendar (years 1 to 9999)."""
    return 2000 <= day.year <= 2999


def parse_date(text: str) -> date:
    """`YYYY-MM-DD`, or the midnight UTC that the monolith wrote for it. Raises ValueError."""
    match = _DATE.fullmatch(text)
    if not match:
        raise ValueError("not a date")
    day = date.fromisoformat(match[1])
    if not is_plausible(day):
        raise ValueError("not a date of this service's time")
    return day


def parse_time(text: str) -> time:
    """`9:05`, `14:30` or `02:30 PM`. Raises ValueError for anything else."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise ValueError("not a time")
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no such hour on a 12-hour clock")
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    return time(hour, minute)


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local day and time. Raises ValueError for a time that the zone's clocks skip."""
    instant = datetime.combine(day, at, zone).astimezone(UTC)
    if instant.astimezone(zone).time() != at:
        raise ValueError("the clocks skip that time")
    return instant


def midnight_utc(day: date) -> datetime:
    """How the monolith stores a local day: its midnight in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def years_between(born: date, day: date) -> int:
    """A person's age on `day`; who was born on 29 February has birthday on 1 March in other years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def is_on_grid(instant: datetime) -> bool:
    """Whether it is a whole multiple of five minutes."""
    return instant.timestamp() % CELL_SECONDS == 0


def cells(starts_at: datetime, ends_at: datetime) -> range:
    """The numbers of the 5-minute cells that `[starts_at, ends_at)` touches, counted from 1970."""
    return range(int(starts_at.timestamp() // CELL_SECONDS), int(-(-ends_at.timestamp() // CELL_SECONDS)))


def cell_start(cell: int) -> datetime:
    """When a cell begins (UTC)."""
    return datetime.fromtimestamp(cell * CELL_SECONDS, UTC)


def violations(visit: Visit, rules: VisitRules, now: datetime, zone: ZoneInfo) -> list[FieldError]:
    """Everything that is wrong with `visit`, in a fixed order; [] when it may be booked at `now`."""
    return [
        FieldError(_FIELDS[violation], _MESSAGES[violation], violation.value)
        for violation in (*_person_violations(visit, rules), *time_violations(visit.starts_at, rules, now, zone))
    ]


def moving_violations(starts_at: datetime, rules: VisitRules, now: datetime, zone: ZoneInfo) -> list[FieldError]:
    """What is wrong with moving a visit to `starts_at`: only what the time decides."""
    return [FieldError("startsAt", _MESSAGES[v], v.value) for v in time_violations(starts_at, rules, now, zone)]


def _person_violations(visit: Visit, rules: VisitRules) -> Iterator[Violation]:
    if not rules.is_active:
        yield Violation.SERVICE_INACTIVE
    if rules.cities and city_key(visit.city) not in rules.cities:
        yield Violation.CITY_NOT_SERVED
    if rules.needs_age and not _is_of_age(visit.age, rules):
        yield Violation.AGE_OUT_OF_RANGE
    if rules.prescription_required and not visit.has_prescription:
        yield Violation.PRESCRIPTION_REQUIRED


def _is_of_age(age: int | None, rules: VisitRules) -> bool:
    """An age nobody told cannot satisfy a limit."""
    if age is None:
        return False
    return (rules.min_age is None or age >= rules.min_age) and (rules.max_age is None or age <= rules.max_age)


def time_violations(starts_at: datetime, rules: VisitRules, now: datetime, zone: ZoneInfo) -> Iterator[Violation]:
    """What is wrong with the time alone. A visit in the past has no lead time either; that is one mistake, not two."""
    if not is_on_grid(starts_at):
        yield Violation.NOT_ON_GRID
    if starts_at < now:
        yield Violation.IN_PAST
    elif starts_at < now + rules.lead:
        yield Violation.LEAD_TIME
    elif starts_at > now + FARTHEST:
        yield Violation.TOO_FAR
    day, fits = _opening_day(starts_at, rules, zone)
    if not fits:
        yield Violation.OUTSIDE_HOURS
    if not _is_open_on(day, rules):
        yield Violation.DAY_CLOSED


def _is_open_on(day: date, rules: VisitRules) -> bool:
    return (not rules.weekdays or day.weekday() in rules.weekdays) and day not in rules.closed_dates


def opening(day: date, rules: VisitRules, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When the service opens and closes on a local day (instants in UTC); round the clock without hours."""
    opens, closes = rules.opens or time(0), rules.closes or time(0)
    closing_day = day if closes > opens else day + DAY
    return datetime.combine(day, opens, zone).astimezone(UTC), datetime.combine(closing_day, closes, zone).astimezone(
        UTC
    )


def _opening_day(starts_at: datetime, rules: VisitRules, zone: ZoneInfo) -> tuple[date, bool]:
    """The day whose opening hours the start belongs to, and whether the whole visit lies in those hours."""
    local_day = starts_at.astimezone(zone).date()
    if rules.round_the_clock:
        return local_day, True
    for day in (local_day, local_day - DAY):
        opens_at, closes_at = opening(day, rules, zone)
        if opens_at <= starts_at < closes_at:
            return day, starts_at + rules.duration <= closes_at
    return local_day, False


def slots(
    rules: VisitRules,
    *,
    days: Collection[date],
    city: str | None,
    now: datetime,
    zone: ZoneInfo,
    full: Mapping[date, frozenset[int]] | None = None,
) -> tuple[list[Slot], EmptyReason | None]:
    """What can be booked on the local `days`: a start every SLOT_STEP from opening on, the visit inside the hours.

    Args:
        city: where; None for a caller who has not said.
        full: the 5-minute cells of a day in which no place is left; absent days have places everywhere.

    Returns:
        The slots, those without a place left marked; or, when none has one, [] and the reason nearest to a slot.
    """
    if city is not None and rules.cities and city_key(city) not in rules.cities:
        return [], EmptyReason.CITY_NOT_SERVED
    full = full or {}
    every = [slot for day in sorted(days) for slot in slots_of_day(day, rules, zone, full.get(day, NO_CELLS))]
    if not rules.is_active or not every:
        return [], EmptyReason.CLOSED
    soonest, farthest = now + rules.lead, now + FARTHEST
    found = [slot for slot in every if soonest <= slot.starts_at <= farthest]
    if not found:
        return [], EmptyReason.CLOSED if every[0].starts_at > farthest else EmptyReason.LEAD_TIME
    return (found, None) if any(slot.available for slot in found) else ([], EmptyReason.FULL)


@lru_cache(maxsize=1024)  # a month of an open service has a thousand slots, and they are asked for again and again
def slots_of_day(day: date, rules: VisitRules, zone: ZoneInfo, full: frozenset[int] = NO_CELLS) -> tuple[Slot, ...]:
    """Every slot of a local day; those that touch one of the `full` cells are not available."""
    times = [(start, start + rules.duration) for start in _starts(day, rules, zone)]
    return tuple(Slot(start, end, available=full.isdisjoint(cells(start, end))) for start, end in times)


def _starts(day: date, rules: VisitRules, zone: ZoneInfo) -> Iterator[datetime]:
    if not _is_open_on(day, rules):
        return
    start, closes_at = opening(day, rules, zone)
    while start < closes_at and (rules.round_the_clock or start + rules.duration <= closes_at):
        yield start
        start += SLOT_STEP


_FIELDS: Mapping[Violation, str] = {
    Violation.SERVICE_INACTIVE: "serviceType",
    Violation.CITY_NOT_SERVED: "serviceLocation.address.city",
    Violation.AGE_OUT_OF_RANGE: "patientDetails.age",
    Violation.PRESCRIPTION_REQUIRED: "prescriptionUrl",
    **dict.fromkeys(
        (
            Violation.IN_PAST,
            Violation.LEAD_TIME,
            Violation.TOO_FAR,
            Violation.OUTSIDE_HOURS,
            Violation.DAY_CLOSED,
            Violation.NOT_ON_GRID,
        ),
        "startsAt",
    ),
}

_MESSAGES: Mapping[Violation, str] = {
    Violation.IN_PAST: "The visit would begin in the past.",
    Violation.LEAD_TIME: "The service has to be booked earlier before the visit.",
    Violation.TOO_FAR: "Visits can be booked up to 90 days ahead.",
    Violation.OUTSIDE_HOURS: "The visit would not lie within the service's hours.",
    Violation.DAY_CLOSED: "The service is closed on that day.",
    Violation.NOT_ON_GRID: "Visits begin at a multiple of five minutes.",
    Violation.CITY_NOT_SERVED: "The service is not offered in that city.",
    Violation.AGE_OUT_OF_RANGE: "The service is not for that age, or the age was not given.",
    Violation.PRESCRIPTION_REQUIRED: "The service needs a prescription: give prescriptionUrl.",
    Violation.SERVICE_INACTIVE: "The service is not offered at present.",
}
