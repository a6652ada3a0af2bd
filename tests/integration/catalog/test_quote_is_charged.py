"""A quote at an instant is what a booking at that instant is charged, to the paisa."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tests.factories import booking_made, patient_made, tomorrow
from tests.integration.catalog.documents import service_made, surge, wound_dressing

ALWAYS = {"isActive": True, "availableCities": [], "availableHours": {"start": "00:00", "end": "00:00"}}
SURGE = surge(("22:00", "02:00"), ("07:30", "09:00"), multiplier=1.35)
PACKAGE = {"sessions": 10, "duration": 21, "totalPrice": 6999}
NEAR_THE_EDGES = [
    tomorrow(hour, minute, days=3)
    for hour, minute in (
        (21, 55),
        (22, 0),
        (23, 55),
        (0, 0),
        (1, 55),
        (2, 0),
        (7, 25),
        (7, 30),
        (8, 55),
        (9, 0),
        (12, 0),
    )
]


def quoted(at: datetime) -> dict[str, Any]:
    return Client().get("/api/services/ANYTIME/pricing", {"at": at.isoformat()}).json()["data"]


@pytest.mark.parametrize("pricing", [{"basePrice": 333.33}, {"basePrice": 100, "packageDetails": PACKAGE}])
def test_it_charges_what_it_quoted(pricing: dict[str, Any]) -> None:
    category = "PACKAGE" if "packageDetails" in pricing else "NURSING"
    terms = {"pricing": {**pricing, "currency": "INR", "surgePricing": SURGE}, "category": category}
    service_made("ANYTIME", availability=ALWAYS, requirements=wound_dressing()["requirements"], **terms)

    surged = 0
    for at in NEAR_THE_EDGES:
        quote = quoted(at)
        charged = booking_made(patient_made(), serviceType="ANYTIME", startsAt=at)["pricing"]
        lines = {name: Decimal(str(charged[name])) for name in ("basePrice", "platformFee", "gst", "totalAmount")}
        assert lines == {name: Decimal(str(quote[name])) for name in lines}, at
        surged += quote["surgeApplied"]
    assert surged == 6  # 22:00, 23:55, 0:00, 1:55, 7:30 and 8:55
