"""A catalog document of the monolith."""

import copy
import functools

import pytest
from bson import Decimal128
from bson.datetime_ms import DatetimeMS

from monolith.catalog import NOTHING_COUNTED, converted_service
from monolith.conversion import Quarantine
from tests.benchmarks.population import services


def service(**changes):
    return {**next(services(1)), **changes}


def test_it_takes_prices_in_paise_and_counters_as_nothing():
    document = converted_service(service(pricing={"basePrice": 299.994, "currency": "INR"})).document

    assert document["pricing"]["basePrice"] == Decimal128("299.99")
    assert (document["stats"]["totalBookings"], document["stats"]["completionRate"]) == (0, 100)


def test_it_makes_a_service_with_sessions_a_package():
    packages = {"sessions": 10, "duration": 21, "pricePerSession": 699, "totalPrice": 6999}

    converted = converted_service(service(pricing={"basePrice": 6999, "packageDetails": packages}))

    assert converted.document["category"] == "PACKAGE"
    assert converted.document["pricing"]["packageDetails"]["totalPrice"] == Decimal128("6999.00")
    assert [finding.reason for finding in converted.findings] == ["CATEGORY_CHANGED"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"pricing": {"basePrice": 0}},
        {"category": "MAGIC"},
        {"name": None},
        {"name": 5},
        {"availability": {"closedDates": ["2026-12-25"]}},
        {"availability": {"closedDates": ["Christmas"]}},
        {"availability": {"closedDates": [DatetimeMS(577_014_796_800_000)]}},
        {"requirements": {"minAge": "old"}},
    ],
)
def test_it_quarantines_what_breaks_a_rule_of_the_catalog(changes):
    with pytest.raises(Quarantine) as refused:
        converted_service(service(**changes))
    assert refused.value.finding.reason == "RULE_BROKEN"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("requirements.prescriptionRequired", "yes", ""),
        ("serviceDetails.equipmentRequired", "Gloves", ""),
        ("seo.keywords", ["covid", 19], ".1"),
        ("availability.isActive", "yes", ""),
        ("availability.availableDays", "", ""),
        ("availability.availableCities", [None], ".0"),
        ("shortDescription", 5, ""),
        ("isFeatured", 1, ""),
        ("sortOrder", [3], ""),
        ("__v", float("inf"), ""),
    ],
)
def test_it_quarantines_what_the_catalog_could_not_read(path, value, told):
    document = copy.deepcopy(service())
    *parts, name = path.split(".")
    functools.reduce(lambda part, inner: part.setdefault(inner, {}), parts, document)[name] = value

    with pytest.raises(Quarantine) as refused:
        converted_service(document)

    assert refused.value.finding.reason == "RULE_BROKEN"
    assert refused.value.finding.done.endswith(f"of another kind than the catalog's: {path}{told}")


def test_it_takes_a_service_without_what_is_nothing_or_no_number_in_its_figures():
    hours = service()["availability"] | {"availableCities": None, "isActive": None}

    converted = converted_service(service(availability=hours, stats={"avgRating": float("nan"), "completionRate": ""}))

    assert not {"availableCities", "isActive"} & converted.document["availability"].keys()
    assert converted.document["stats"] == NOTHING_COUNTED
    assert converted.original == {"stats.completionRate": ""}
    assert [finding.reason for finding in converted.findings] == ["PART_UNREADABLE"]
