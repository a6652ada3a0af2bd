"""catalog.rules: what makes a catalog document sound."""

from typing import Any

import pytest

from catalog.rules import faults


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "WOUND_DRESSING",
        "slug": "wound-dressing",
        "category": "NURSING",
        "displayName": "Wound dressing",
        "pricing": {"basePrice": 499, "currency": "INR"},
        "serviceDetails": {"duration": 30, "skillLevel": "BASIC"},
        "availability": {"isActive": True, "availableHours": {"start": "06:00", "end": "22:00"}},
        "requirements": {"advanceBookingHours": 2},
        **changes,
    }


def surge(**changes: Any) -> dict[str, Any]:
    windows = [{"start": "18:00", "end": "22:00"}]
    return {
        "pricing": {
            "basePrice": 1,
            "surgePricing": {"enabled": True, "surgeMultiplier": 1.5, "surgeHours": windows, **changes},
        }
    }


def package(**changes: Any) -> dict[str, Any]:
    details = {"sessions": 10, "duration": 21, "totalPrice": 6999, **changes}
    return {"category": "PACKAGE", "pricing": {"basePrice": 699, "packageDetails": details}}


def available(**changes: Any) -> dict[str, Any]:
    return {"availability": {"availableHours": {"start": "06:00", "end": "22:00"}, **changes}}


@pytest.mark.parametrize(
    "sound",
    [
        {},
        surge(),
        surge(surgeHours=[{"start": "22:00", "end": "06:00"}]),
        surge(enabled=False, surgeHours=[]),
        package(),
        available(availableDays=["MONDAY", "sunday"], availableCities=["Pune", "Mumbai"], capacityPerSlot=1),
        available(availableHours={"start": "06:00", "end": "24:00"}),
        available(availableHours={"start": "00:00", "end": "00:00"}),
        {"requirements": {"minAge": 60, "maxAge": 60}},
        {"faqs": [{"question": "Why?", "answer": "So."}]},
    ],
)
def test_it_finds_nothing_wrong_with_a_sound_document(sound: dict[str, Any]) -> None:
    assert faults(document(**sound)) == []


@pytest.mark.parametrize(
    ("broken", "field", "code"),
    [
        ({"name": ""}, "name", "INVALID"),
        ({"name": "wound"}, "name", "INVALID"),
        ({"name": "A B"}, "name", "INVALID"),
        ({"slug": "-a"}, "slug", "INVALID"),
        ({"slug": "a" * 101}, "slug", "INVALID"),
        ({"category": "DENTAL"}, "category", "UNKNOWN_CATEGORY"),
        ({"displayName": " "}, "displayName", "REQUIRED"),
        ({"pricing": {"basePrice": 0}}, "pricing.basePrice", "NOT_POSITIVE"),
        ({"pricing": {"basePrice": -1}}, "pricing.basePrice", "NOT_POSITIVE"),
        ({"pricing": {"basePrice": 1_000_000.01}}, "pricing.basePrice", "OUT_OF_RANGE"),
        ({"pricing": {}}, "pricing.basePrice", "NOT_POSITIVE"),
        ({"category": "PACKAGE"}, "pricing.packageDetails.sessions", "PACKAGE_WITHOUT_SESSIONS"),
        (package(sessions=0), "pricing.packageDetails.sessions", "PACKAGE_WITHOUT_SESSIONS"),
        (package(duration=0), "pricing.packageDetails.duration", "REQUIRED"),
        (package(totalPrice=0), "pricing.packageDetails.totalPrice", "NOT_POSITIVE"),
        (package(totalPrice=1_000_001), "pricing.packageDetails.totalPrice", "OUT_OF_RANGE"),
        (package() | {"category": "NURSING"}, "pricing.packageDetails.sessions", "NOT_A_PACKAGE"),
        (surge(surgeMultiplier=0.9), "pricing.surgePricing.surgeMultiplier", "OUT_OF_RANGE"),
        (surge(surgeMultiplier=5.1), "pricing.surgePricing.surgeMultiplier", "OUT_OF_RANGE"),
        (surge(surgeHours=[]), "pricing.surgePricing.enabled", "NO_WINDOWS"),
        (surge(surgeHours=[{"start": "18:00"}]), "pricing.surgePricing.surgeHours.0.end", "INVALID_TIME"),
        (surge(surgeHours=[{"end": "18:00"}]), "pricing.surgePricing.surgeHours.0.start", "INVALID_TIME"),
        (surge(surgeHours=[{"start": "1", "end": "25:00"}]), "pricing.surgePricing.surgeHours.0.end", "INVALID_TIME"),
        (
            surge(surgeHours=[{"start": "18:00", "end": "18:00"}]),
            "pricing.surgePricing.surgeHours.0.end",
            "EMPTY_WINDOW",
        ),
        ({"serviceDetails": {"duration": 4, "skillLevel": "BASIC"}}, "serviceDetails.duration", "OUT_OF_RANGE"),
        (
            {"serviceDetails": {"duration": 30, "skillLevel": "GURU"}},
            "serviceDetails.skillLevel",
            "UNKNOWN_SKILL_LEVEL",
        ),
        (available(availableDays=["MONDAY", "FUNDAY"]), "availability.availableDays.1", "UNKNOWN_WEEKDAY"),
        (available(availableCities=["Pune", " PUNE "]), "availability.availableCities.1", "DUPLICATE"),
        (available(availableHours={"start": "06:00"}), "availability.availableHours.end", "INVALID_TIME"),
        (available(capacityPerSlot=0), "availability.capacityPerSlot", "OUT_OF_RANGE"),
        (available(capacityPerSlot=101), "availability.capacityPerSlot", "OUT_OF_RANGE"),
        ({"requirements": {"advanceBookingHours": -1}}, "requirements.advanceBookingHours", "OUT_OF_RANGE"),
        ({"requirements": {"minAge": 121}}, "requirements.minAge", "OUT_OF_RANGE"),
        ({"requirements": {"minAge": 61, "maxAge": 60}}, "requirements.maxAge", "OUT_OF_RANGE"),
        ({"faqs": [{"question": "Why?", "answer": " "}]}, "faqs.0.answer", "REQUIRED"),
    ],
)
def test_it_names_what_is_wrong_and_where(broken: dict[str, Any], field: str, code: str) -> None:
    assert (field, code) in [(fault.field, fault.code) for fault in faults(document(**broken))]


def test_it_finds_everything_at_once() -> None:
    found = faults({})
    assert {fault.field for fault in found} >= {"name", "slug", "category", "displayName", "pricing.basePrice"}
