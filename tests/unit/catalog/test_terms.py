"""catalog.terms: documents, ours and the monolith's, as plain values."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, ObjectId, json_util

from catalog.terms import CLOSES, OPENS, SurgeWindow, clock_time, decimal_of, service_of, weekday_numbers


def terms(**parts: Any) -> Any:
    return service_of({"_id": ObjectId(), "name": "X", "category": "NURSING", **parts})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("06:00", time(6)),
        ("6:05", time(6, 5)),
        ("23:59", time(23, 59)),
        ("24:00", time(0)),
        (time(7, 30), time(7, 30)),
        ("24:01", None),
        ("25:00", None),
        ("12:60", None),
        ("12", None),
        ("9pm", None),
        ("12:5", None),
        ("", None),
        (None, None),
        (540, None),
        ("²:00", None),
    ],
)
def test_it_reads_clock_times(text: Any, expected: time | None) -> None:
    assert clock_time(text) == expected


@pytest.mark.parametrize("value", [206.79, "206.79", Decimal("206.79"), Decimal128("206.79")])
def test_it_reads_money_of_any_kind(value: Any) -> None:
    assert decimal_of(value) == Decimal("206.79")


def test_it_reads_nothing_as_no_money() -> None:
    assert decimal_of(None) == decimal_of(0) == 0


def test_it_knows_weekdays_in_any_case_and_no_others() -> None:
    assert weekday_numbers(["MONDAY", "sunday", "Funday", ""]) == {0, 6}


def test_it_fills_in_what_a_document_does_not_say() -> None:
    service = terms()
    assert (service.base_price, service.package, service.surge.enabled) == (0, None, False)
    assert (service.opens, service.closes, service.days, service.cities) == (OPENS, CLOSES, frozenset(), ())
    assert (service.is_active, service.lead_hours, service.capacity_per_slot) == (True, 0, None)


def test_it_knows_no_more_places_than_can_be_counted() -> None:
    capacities = [terms(availability={"capacityPerSlot": places}).capacity_per_slot for places in (1, 100, 200_000)]
    assert capacities == [1, 100, 100]


def test_it_leaves_out_surge_windows_without_an_end() -> None:
    hours = [{"start": "18:00"}, {"start": "22:00", "end": "06:00"}]
    service = terms(pricing={"surgePricing": {"enabled": True, "surgeMultiplier": 1.5, "surgeHours": hours}})
    assert service.surge.windows == (SurgeWindow(time(22), time(6)),)


def test_it_reads_closed_days_however_they_are_stored() -> None:
    days = [datetime(2026, 12, 25, tzinfo=UTC), "2026-12-26"]
    assert terms(availability={"closedDates": days}).closed_dates == {date(2026, 12, 25), date(2026, 12, 26)}


def test_it_works_out_the_price_of_a_session() -> None:
    details = {"sessions": 3, "duration": 7, "totalPrice": 1000}
    package = terms(pricing={"packageDetails": details}).package
    assert (package.price, package.price_per_session) == (1000, Decimal("333.33"))


def test_it_knows_no_package_without_sessions() -> None:
    assert terms(pricing={"packageDetails": {"totalPrice": 1000}}).package is None


MONOLITH_DOCUMENT = """
{"_id": {"$oid": "6b02ee6211a9b27b1f6387f7"}, "name": "IV_DRIP", "slug": "iv-drip-infusion", "category": "NURSING",
 "pricing": {"basePrice": 799, "surgePricing": {"enabled": true, "surgeMultiplier": 1.5, "surgeHours":
   [{"_id": {"$oid": "6b02ee6211a9b27b1f6387f6"}, "start": "18:00", "end": "22:00"}]}},
 "availability": {"isActive": true, "availableCities": ["Pune"], "availableHours": {"start": "06:00", "end": "22:00"},
   "availableDays": []}, "requirements": {"prescriptionRequired": true, "advanceBookingHours": 4}}
"""


def test_it_reads_a_document_of_the_monolith() -> None:
    service = service_of(json_util.loads(MONOLITH_DOCUMENT))
    assert (service.name, service.base_price, service.cities) == ("IV_DRIP", Decimal(799), ("Pune",))
    assert service.surge.applies(time(18, 45))
    assert (service.prescription_required, service.lead_hours) == (True, 4)
