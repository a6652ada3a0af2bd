"""The seed: every row sound, and the rows that the monolith's catalog had as they were."""

from decimal import Decimal
from typing import Any

import pytest

from catalog.rules import faults
from catalog.seeding import seed_documents
from catalog.terms import service_of

SEED = {document["name"]: document for document in seed_documents()}

# name: price, minutes, skill, lead hours, closes, prescription, featured, popular
ROWS = """
INJECTION_IM          299 20  BASIC        2  22 prescription featured popular
IV_DRIP               799 60  INTERMEDIATE 4  22 prescription featured popular
WOUND_DRESSING        499 30  INTERMEDIATE 2  22 featured popular
CATHETER_CARE         899 45  ADVANCED     4  22 prescription
POST_SURGERY_CARE    1499 120 ADVANCED     12 22 prescription featured
ELDERLY_CARE_DAILY    999 90  INTERMEDIATE 6  22 popular
PHYSIO_SESSION        799 45  INTERMEDIATE 4  21 featured popular
BACK_PAIN_PHYSIO      899 50  ADVANCED     2  21 popular
KNEE_PAIN_PHYSIO      899 50  ADVANCED     2  21 popular
POST_SURGERY_REHAB   1299 60  ADVANCED     12 22 prescription featured
STROKE_REHAB         1499 60  SPECIALIST   24 22 prescription
PHYSIO_PACKAGE_10    6999 45  INTERMEDIATE 2  22 featured popular
ELDERLY_CARE_MONTHLY 24999 90 INTERMEDIATE 24 22 featured
POST_SURGERY_14DAY   18999 120 ADVANCED    24 22 prescription featured
"""
OTHERS = """BED_SORE_CARE BABY_CARE NEBULIZATION BLOOD_PRESSURE_CHECK BLOOD_SUGAR_CHECK GENERAL_NURSING SPORTS_INJURY
GERIATRIC_PHYSIO PEDIATRIC_PHYSIO NEUROLOGICAL_REHAB PHYSIO_PACKAGE_5 PHYSIO_PACKAGE_15 HOME_NURSING_MONTHLY
NEWBORN_CARE_PACKAGE"""


@pytest.mark.parametrize("row", ROWS.strip().splitlines(), ids=lambda row: row.split()[0])
def test_it_seeds_what_the_monolith_sold(row: str) -> None:
    name, price, minutes, skill, lead, closes, *flags = row.split()
    document = SEED[name]
    service = service_of({**document, "_id": None})
    assert (service.base_price, service.duration_minutes, service.skill_level) == (Decimal(price), int(minutes), skill)
    assert (service.lead_hours, service.opens.hour, service.closes.hour) == (int(lead), 6, int(closes))
    assert service.prescription_required is ("prescription" in flags)
    assert (document["isFeatured"], document["isPopular"]) == ("featured" in flags, "popular" in flags)


@pytest.mark.parametrize(
    ("name", "sessions", "days"),
    [("PHYSIO_PACKAGE_10", 10, 21), ("ELDERLY_CARE_MONTHLY", 30, 30), ("POST_SURGERY_14DAY", 14, 14)],
)
def test_it_seeds_packages_with_their_sessions(name: str, sessions: int, days: int) -> None:
    package = service_of({**SEED[name], "_id": None}).package
    assert package is not None
    assert (package.total_sessions, package.valid_days, package.price) == (
        sessions,
        days,
        SEED[name]["pricing"]["basePrice"],
    )


def test_it_seeds_every_type_that_could_never_be_booked() -> None:
    assert set(OTHERS.split()) < SEED.keys()
    assert len(SEED) == len(ROWS.strip().splitlines()) + len(OTHERS.split())


def test_it_seeds_ages_and_cities() -> None:
    assert {name for name in SEED if SEED[name]["requirements"].get("minAge") == 60} == {
        "ELDERLY_CARE_DAILY",
        "ELDERLY_CARE_MONTHLY",
        "GERIATRIC_PHYSIO",
    }
    assert {name for name in SEED if "Pune" not in SEED[name]["availability"]["availableCities"]} == {
        "ELDERLY_CARE_MONTHLY"
    }


@pytest.mark.parametrize("document", SEED.values(), ids=SEED.keys())
def test_it_seeds_sound_and_well_described_services(document: dict[str, Any]) -> None:
    assert faults(document) == []
    assert all(document[name] for name in ("included", "notIncluded", "faqs", "shortDescription"))
    assert len(document["longDescription"]) > 60
