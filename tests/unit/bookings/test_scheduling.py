"""When a visit can be: time input, every rule on both sides, cells, slots."""

import unicodedata
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookings import scheduling
from bookings.scheduling import EmptyReason, Visit, VisitRules

KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)  # Monday, 9:00 in Kolkata
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RULES = VisitRules(
    duration=timedelta(minutes=30),
    cities=frozenset({"bangalore", "new delhi"}),
    opens=time(6),
    closes=time(22),
    lead=2 * HOUR,
)


def local(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=KOLKATA).astimezone(UTC)  # type: ignore[misc, arg-type]


def codes(starts_at: datetime, rules: VisitRules = RULES, now: datetime = NOW, **asked: Any) -> list[str]:
    visit = Visit(starts_at, asked.pop("city", "Bangalore"), **asked)
    return [error.code for error in scheduling.violations(visit, rules, now, KOLKATA)]


# --- input -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9:05", time(9, 5)),
        ("09:05", time(9, 5)),
        ("14:30", time(14, 30)),
        ("0:00", time(0)),
        ("23:59", time(23, 59)),
        ("02:30 PM", time(14, 30)),
        ("2:30pm", time(14, 30)),
        ("10:00 AM", time(10)),
        ("12:00 AM", time(0)),
        ("12:00 PM", time(12)),
        ("12:59 am", time(0, 59)),
        (" 9:05 ", time(9, 5)),
    ],
)
def test_it_reads_the_monoliths_shapes_of_a_time(text: str, expected: time) -> None:
    assert scheduling.parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "banana",
        "",
        "9",
        "9:5",
        "24:00",
        "23:60",
        "13:00 PM",
        "0:30 AM",
        "9:05:00",
        "-9:05",
        "9:05 XM",
        "\u0669:\u0660\u0665",
        "009:05",
    ],
)
def test_it_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|hour|minute"):
        scheduling.parse_time(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01", date(2026, 12, 1)),
        ("2028-02-29", date(2028, 2, 29)),
        ("2026-12-12T00:00:00Z", date(2026, 12, 12)),
        ("2026-12-12T00:00:00.000Z", date(2026, 12, 12)),
    ],
)
def test_it_reads_a_date(text: str, expected: date) -> None:
    assert scheduling.parse_date(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "2027-13-01",
        "2026-12-1",
        "01-12-2026",
        "20261201",
        "2026-12-12T10:00:00Z",
        "0001-01-01",
        "9999-12-31",
    ],
)
def test_it_refuses_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match=r"date|day|month|year"):
        scheduling.parse_date(text)


@pytest.mark.parametrize(
    ("day", "at", "instant"),
    [
        (date(2026, 12, 1), time(10), datetime(2026, 12, 1, 4, 30, tzinfo=UTC)),
        (date(2026, 12, 1), time(5, 29), datetime(2026, 11, 30, 23, 59, tzinfo=UTC)),
        (date(2026, 12, 1), time(5, 30), datetime(2026, 12, 1, tzinfo=UTC)),
        (date(2028, 2, 29), time(0), datetime(2028, 2, 28, 18, 30, tzinfo=UTC)),
    ],
)
def test_it_means_local_time_in_kolkata(day: date, at: time, instant: datetime) -> None:
    assert scheduling.local_instant(day, at, KOLKATA) == instant


def test_it_refuses_a_time_that_the_clocks_skip() -> None:
    with pytest.raises(ValueError, match="skip"):
        scheduling.local_instant(date(2026, 3, 29), time(2, 30), BERLIN)
    assert scheduling.local_instant(date(2026, 3, 29), time(3, 30), BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_it_stores_a_local_day_as_the_monolith_does() -> None:
    assert scheduling.midnight_utc(date(2026, 12, 1)) == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("born", "day", "age"),
    [
        (date(1966, 11, 23), date(2026, 11, 22), 59),
        (date(1966, 11, 23), date(2026, 11, 23), 60),
        (date(2004, 2, 29), date(2026, 2, 28), 21),
        (date(2004, 2, 29), date(2026, 3, 1), 22),
        (date(2004, 2, 29), date(2028, 2, 29), 24),
    ],
)
def test_it_counts_years(born: date, day: date, age: int) -> None:
    assert scheduling.years_between(born, day) == age


@pytest.mark.parametrize(("one", "other"), [(" New  Delhi ", "new delhi"), ("BANGALORE", "Bangalore")])
def test_it_compares_cities_without_case_and_spaces(one: str, other: str) -> None:
    assert scheduling.city_key(one) == scheduling.city_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José Núñez", unicodedata.normalize("NFD", "José Núñez")),
        ("\u095b\u093e", "\u091c\u093c\u093e"),
        ("\uff21\uff53\uff48\uff41", "asha"),
        *((f"As{unseen}ha{unseen}", "Asha") for unseen in "\u034f\u200d\u3164\u2800\ufe0f"),
    ],
)
def test_it_compares_names_by_what_is_seen(one: str, other: str) -> None:
    assert scheduling.city_key(one) == scheduling.city_key(other)


@pytest.mark.parametrize("name", ["asha rao", "पुणे", "बेंगलुरु", "मुंबई", "சென்னை"])
def test_it_keeps_the_keys_that_claims_have(name: str) -> None:
    assert scheduling.city_key(name) == name


# --- rules -----------------------------------------------------------------------------------------------------------
def test_it_has_nothing_against_a_good_visit() -> None:
    assert codes(local(2026, 11, 24, 10)) == []


@pytest.mark.parametrize(
    ("starts_at", "expected"),
    [
        (NOW - 5 * MINUTE, ["IN_PAST"]),
        (NOW, ["LEAD_TIME"]),
        (NOW + 2 * HOUR - 5 * MINUTE, ["LEAD_TIME"]),
        (NOW + 2 * HOUR, []),
        (NOW + 90 * DAY, []),
        (NOW + 90 * DAY + 5 * MINUTE, ["TOO_FAR"]),
    ],
)
def test_it_knows_how_soon_and_how_far_ahead(starts_at: datetime, expected: list[str]) -> None:
    assert codes(starts_at) == expected


def test_it_counts_the_lead_time_to_the_second() -> None:
    start = local(2026, 11, 24, 10)

    assert codes(start, now=start - 2 * HOUR) == []
    assert codes(start, now=start - 2 * HOUR + SECOND) == ["LEAD_TIME"]
    assert codes(start, replace(RULES, lead=timedelta(0)), now=start) == []
    assert codes(start, now=start - 90 * DAY - SECOND) == ["TOO_FAR"]


@pytest.mark.parametrize(
    ("hour", "minute", "expected"),
    [
        (5, 55, ["OUTSIDE_HOURS"]),
        (6, 0, []),
        (21, 30, []),
        (21, 35, ["OUTSIDE_HOURS"]),
        (22, 0, ["OUTSIDE_HOURS"]),
        (0, 0, ["OUTSIDE_HOURS"]),
        (23, 55, ["OUTSIDE_HOURS"]),
    ],
)
def test_it_keeps_the_whole_visit_inside_the_hours(hour: int, minute: int, expected: list[str]) -> None:
    assert codes(local(2026, 11, 25, hour, minute)) == expected


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [(25, 21, []), (25, 23, []), (26, 1, []), (26, 5, ["OUTSIDE_HOURS"]), (26, 12, ["OUTSIDE_HOURS"]), (25, 20, [])],
)
def test_it_knows_hours_that_cross_midnight(day: int, hour: int, expected: list[str]) -> None:
    nights = replace(RULES, opens=time(20), closes=time(5), duration=HOUR)

    assert codes(local(2026, 11, day, hour), nights) == expected


def test_it_counts_hours_after_midnight_to_the_day_they_opened() -> None:
    nights = replace(RULES, opens=time(20), closes=time(5), weekdays=frozenset({1}))  # Tuesdays

    assert codes(local(2026, 11, 25, 1), nights) == []  # Wednesday 1:00 is still Tuesday's night
    assert codes(local(2026, 11, 24, 1), nights) == ["DAY_CLOSED"]


def test_it_closes_at_midnight_when_told_so() -> None:
    late = replace(RULES, closes=time(0))

    assert codes(local(2026, 11, 24, 23, 30), late) == []
    assert codes(local(2026, 11, 24, 23, 35), late) == ["OUTSIDE_HOURS"]


def test_it_has_no_hours_without_hours() -> None:
    always = replace(RULES, opens=None, closes=None)

    assert codes(local(2026, 11, 24, 23, 55), always) == []


def test_it_takes_the_day_from_the_local_calendar() -> None:
    tuesdays = replace(RULES, opens=None, closes=None, weekdays=frozenset({1}))

    assert codes(local(2026, 11, 24, 0, 0), tuesdays) == []  # Monday 18:30 UTC
    assert codes(local(2026, 11, 24, 23, 55), tuesdays) == []
    assert codes(local(2026, 11, 25, 0, 0), tuesdays) == ["DAY_CLOSED"]
    assert codes(local(2026, 11, 23, 23, 55), tuesdays) == ["DAY_CLOSED"]


def test_it_closes_on_the_dates_the_catalog_closes() -> None:
    holiday = replace(RULES, closed_dates=frozenset({date(2026, 12, 25)}))

    assert codes(local(2026, 12, 25, 10), holiday) == ["DAY_CLOSED"]
    assert codes(local(2026, 12, 24, 10), holiday) == []
    assert codes(local(2026, 12, 26, 10), holiday) == []


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (timedelta(0), []),
        (5 * MINUTE, []),
        (MINUTE, ["NOT_ON_GRID"]),
        (SECOND, ["NOT_ON_GRID"]),
        (timedelta(microseconds=1), ["NOT_ON_GRID"]),
    ],
)
def test_it_starts_visits_on_the_grid(offset: timedelta, expected: list[str]) -> None:
    assert codes(local(2026, 11, 24, 10) + offset) == expected


@pytest.mark.parametrize(
    ("city", "expected"),
    [("bangalore", []), (" NEW  delhi", []), ("Pune", ["CITY_NOT_SERVED"]), (".*", ["CITY_NOT_SERVED"])],
)
def test_it_serves_the_services_cities(city: str, expected: list[str]) -> None:
    assert codes(local(2026, 11, 24, 10), city=city) == expected
    assert codes(local(2026, 11, 24, 10), replace(RULES, cities=frozenset()), city=city) == []


@pytest.mark.parametrize(
    ("age", "expected"),
    [(59, ["AGE_OUT_OF_RANGE"]), (60, []), (90, []), (91, ["AGE_OUT_OF_RANGE"]), (None, ["AGE_OUT_OF_RANGE"])],
)
def test_it_holds_both_limits_of_age(age: int | None, expected: list[str]) -> None:
    assert codes(local(2026, 11, 24, 10), replace(RULES, min_age=60, max_age=90), age=age) == expected


def test_it_asks_no_age_where_there_is_no_limit() -> None:
    assert not RULES.needs_age
    assert replace(RULES, max_age=12).needs_age
    assert codes(local(2026, 11, 24, 10), replace(RULES, max_age=12), age=0) == []
    assert codes(local(2026, 11, 24, 10), replace(RULES, min_age=0), age=0) == []


def test_it_wants_the_prescription_a_service_needs() -> None:
    strict = replace(RULES, prescription_required=True)

    assert codes(local(2026, 11, 24, 10), strict) == ["PRESCRIPTION_REQUIRED"]
    assert codes(local(2026, 11, 24, 10), strict, has_prescription=True) == []


def test_it_does_not_book_what_is_not_offered() -> None:
    assert codes(local(2026, 11, 24, 10), replace(RULES, is_active=False)) == ["SERVICE_INACTIVE"]


def test_it_reports_everything_that_is_wrong_together() -> None:
    rules = replace(RULES, is_active=False, min_age=60, prescription_required=True, weekdays=frozenset({0}))

    errors = scheduling.violations(Visit(NOW - DAY - 10 * HOUR + SECOND, "Pune"), rules, NOW, KOLKATA)

    assert [(error.code, error.field) for error in errors] == [
        ("SERVICE_INACTIVE", "serviceType"),
        ("CITY_NOT_SERVED", "serviceLocation.address.city"),
        ("AGE_OUT_OF_RANGE", "patientDetails.age"),
        ("PRESCRIPTION_REQUIRED", "prescriptionUrl"),
        ("NOT_ON_GRID", "startsAt"),
        ("IN_PAST", "startsAt"),
        ("OUTSIDE_HOURS", "startsAt"),
        ("DAY_CLOSED", "startsAt"),
    ]
    assert all(error.message for error in errors)


def test_it_judges_a_move_by_its_time_alone() -> None:
    rules = replace(RULES, is_active=False, min_age=60, prescription_required=True)

    assert scheduling.moving_violations(local(2026, 11, 24, 10), rules, NOW, KOLKATA) == []
    moved = scheduling.moving_violations(local(2026, 11, 24, 23), rules, NOW, KOLKATA)
    assert [(error.field, error.code) for error in moved] == [("startsAt", "OUTSIDE_HOURS")]


# --- cells -----------------------------------------------------------------------------------------------------------
def test_it_counts_cells_from_1970() -> None:
    start = datetime(1970, 1, 1, 0, 10, tzinfo=UTC)

    assert scheduling.cells(start, start + 20 * MINUTE) == range(2, 6)
    assert scheduling.cell_start(2) == start


def test_it_covers_visits_off_the_grid_of_old_documents() -> None:
    start = datetime(1970, 1, 1, 0, 12, 1, tzinfo=UTC)

    assert scheduling.cells(start, start + 6 * MINUTE) == range(2, 4)


grid = st.integers(min_value=5_000_000, max_value=7_000_000).map(scheduling.cell_start)
length = st.integers(min_value=1, max_value=60).map(lambda cells: cells * 5 * MINUTE)


@given(one=grid, one_long=length, other=grid, other_long=length)
def test_it_shares_a_cell_exactly_when_visits_overlap(
    one: datetime, one_long: timedelta, other: datetime, other_long: timedelta
) -> None:
    overlap = one < other + other_long and other < one + one_long
    shared = set(scheduling.cells(one, one + one_long)) & set(scheduling.cells(other, other + other_long))

    assert bool(shared) is overlap


# --- slots -----------------------------------------------------------------------------------------------------------
TOMORROW = date(2026, 11, 24)


def offered(
    rules: VisitRules = RULES, days: tuple[date, ...] = (TOMORROW,), city: str | None = "Bangalore", **more: Any
) -> Any:
    return scheduling.slots(rules, days=days, city=city, now=more.pop("now", NOW), zone=KOLKATA, **more)


def test_it_offers_the_day_from_opening_to_the_last_whole_visit() -> None:
    found, reason = offered()

    assert reason is None
    assert [slot.starts_at for slot in found] == [local(2026, 11, 24, 6) + n * 30 * MINUTE for n in range(32)]
    assert found[-1].ends_at == local(2026, 11, 24, 22)
    assert all(slot.available for slot in found)


def test_it_offers_only_what_could_be_booked() -> None:
    found, _reason = offered(replace(RULES, duration=timedelta(minutes=50)), days=(date(2026, 11, 23), TOMORROW))

    assert found[0].starts_at == NOW + 2 * HOUR
    assert all(codes(slot.starts_at, replace(RULES, duration=timedelta(minutes=50))) == [] for slot in found)


def test_it_offers_no_closed_day() -> None:
    rules = replace(RULES, weekdays=frozenset({2}), closed_dates=frozenset({date(2026, 11, 25)}))

    assert offered(rules) == ([], EmptyReason.CLOSED)
    assert offered(rules, days=(date(2026, 11, 25),)) == ([], EmptyReason.CLOSED)
    assert offered(rules, days=(date(2026, 12, 2),))[1] is None


def test_it_says_that_a_service_is_not_offered_in_a_city_or_at_all() -> None:
    assert offered(city="Pune") == ([], EmptyReason.CITY_NOT_SERVED)
    assert offered(city=None)[1] is None
    assert offered(replace(RULES, is_active=False)) == ([], EmptyReason.CLOSED)
    assert offered(replace(RULES, duration=timedelta(hours=17))) == ([], EmptyReason.CLOSED)


def test_it_says_that_it_is_too_late_or_too_early_to_book() -> None:
    assert offered(days=(date(2026, 11, 22),)) == ([], EmptyReason.LEAD_TIME)
    assert offered(replace(RULES, lead=48 * HOUR)) == ([], EmptyReason.LEAD_TIME)
    assert offered(days=(date(2027, 6, 1),)) == ([], EmptyReason.CLOSED)


def test_it_marks_what_is_taken_and_says_when_everything_is() -> None:
    at_ten = scheduling.cells(local(2026, 11, 24, 10, 25), local(2026, 11, 24, 10, 30))

    found, reason = offered(full={date(2026, 11, 24): frozenset(at_ten)})
    assert reason is None
    assert [slot.starts_at for slot in found if not slot.available] == [local(2026, 11, 24, 10)]

    whole_day = scheduling.cells(local(2026, 11, 24, 6), local(2026, 11, 24, 22))
    assert offered(full={date(2026, 11, 24): frozenset(whole_day)}) == ([], EmptyReason.FULL)
    assert offered(full={date(2026, 11, 25): frozenset(whole_day)})[1] is None


def test_it_offers_the_whole_day_round_the_clock() -> None:
    found, _reason = offered(replace(RULES, opens=None, closes=None))

    assert len(found) == 48
    assert found[-1].starts_at == local(2026, 11, 24, 23, 30)
