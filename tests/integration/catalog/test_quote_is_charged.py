"""A quote at an instant is what a booking at that instant is charged, to the paisa: whatever the terms, whenever."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from booking_service.api.callers import Caller
from tests.factories import booking_made, patient_made, tomorrow
from tests.integration.catalog.documents import service_made, surge, wound_dressing

ALWAYS = {"isActive": True, "availableCities": [], "availableHours": {"start": "00:00", "end": "00:00"}}
CELL = timedelta(minutes=5)
CELLS_A_DAY, FARTHEST_DAY = 288, 88
LINES = ("basePrice", "platformFee", "gst", "totalAmount")
WINDOWS = (("22:00", "02:00"), ("07:30", "09:00"))
numbers = count()

amounts = st.decimals(Decimal("0.01"), 99_999, places=2)
times = st.integers(0, CELLS_A_DAY - 1)
windows = st.lists(st.tuples(times, times).filter(lambda ends: ends[0] != ends[1]), min_size=1, max_size=3)


@st.composite
def visits(draw: st.DrawFn) -> tuple[dict[str, Any], datetime]:
    """A catalog's `pricing`, and when a visit starts: anywhere, or at an edge of a surge window or 5 minutes off it."""
    chosen = draw(windows)
    factor = draw(st.decimals(1, 5, places=2))
    hours = surge(*((clock(start), clock(end)) for start, end in chosen), multiplier=float(factor))
    pricing = {"basePrice": draw(amounts), "currency": "INR", "surgePricing": hours | {"enabled": draw(st.booleans())}}
    if draw(st.booleans()):
        pricing["packageDetails"] = {"sessions": draw(st.integers(1, 60)), "duration": 30, "totalPrice": draw(amounts)}
    edges = st.sampled_from([edge for window in chosen for edge in window])
    near = st.builds(lambda edge, off: edge + off, edges, st.sampled_from((-1, 0, 1)))
    return pricing, at_cell(draw(st.integers(2, FARTHEST_DAY)), draw(near | times))


def at_cell(day: int, cell: int) -> datetime:
    return tomorrow(0, days=day) + cell * CELL


def clock(cell: int) -> str:
    return f"{cell // 12:02}:{cell % 12 * 5:02}"


@pytest.fixture
def patient(settings: Settings) -> Caller:
    settings.RATE_LIMIT_ENABLED = False
    return patient_made()


def quoted(name: str, at: datetime) -> dict[str, Any]:
    answer: dict[str, Any] = Client().get(f"/api/services/{name}/pricing", {"at": at.isoformat()}).json()
    return answer["data"]


def quoted_and_charged(patient: Caller, pricing: dict[str, Any], at: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a service made for it; the person cared for is new, too, so that nothing overlaps."""
    number = next(numbers)
    name, category = f"ANYTIME_{number}", "PACKAGE" if "packageDetails" in pricing else "NURSING"
    terms = {"pricing": pricing, "category": category, "slug": f"anytime-{number}"}
    service_made(name, availability=ALWAYS, requirements=wound_dressing()["requirements"], **terms)
    quote = quoted(name, at)
    cared_for = {"name": f"Person {number}", "age": 40, "gender": "FEMALE"}
    charged = booking_made(patient, serviceType=name, startsAt=at, patientDetails=cared_for)["pricing"]
    return quote, charged


def exactly(lines: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(str(lines[name])) for name in LINES}


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(visit=visits())
def test_it_charges_what_it_quoted(patient: Caller, visit: tuple[dict[str, Any], datetime]) -> None:
    pricing, at = visit

    quote, charged = quoted_and_charged(patient, pricing, at)

    assert exactly(charged) == exactly(quote)
    assert Decimal(str(charged["payableAmount"])) == Decimal(str(quote["totalAmount"]))
    assert charged["surgeApplied"] == quote["surgeApplied"]


@pytest.mark.parametrize("days", [2, 3])
@pytest.mark.parametrize(
    ("time", "surged"),
    [
        ((21, 55), False),
        ((22, 0), True),
        ((23, 55), True),
        ((0, 0), True),
        ((1, 55), True),
        ((2, 0), False),
        ((7, 25), False),
        ((7, 30), True),
        ((8, 55), True),
        ((9, 0), False),
    ],
)
def test_it_surges_inside_the_windows_only(patient: Caller, days: int, time: tuple[int, int], surged: bool) -> None:
    pricing = {"basePrice": 333.33, "currency": "INR", "surgePricing": surge(*WINDOWS, multiplier=1.35)}

    quote, charged = quoted_and_charged(patient, pricing, tomorrow(*time, days=days))

    assert (quote["surgeApplied"], charged["surgeApplied"]) == (surged, surged)
    assert exactly(charged) == exactly(quote)
