"""What tests begin with. Factories build through services, so nothing exists that the service could not make."""

# ruff: noqa: N815 - documents carry the names that clients send

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from bson import ObjectId
from factory.base import DictFactory
from factory.declarations import LazyFunction, Sequence

from booking_service.api.callers import Caller, Role
from bookings import services as bookings
from catalog import services as catalog
from patients import services as patients
from patients import tokens

STAFF = Caller(Role.STAFF, name="staff")
PASSWORD = "Secret414002x"
_numbers = count(1)


def tomorrow(hour: int = 10, minute: int = 0, days: int = 1) -> datetime:
    """A time of day in Kolkata, `days` from now, as an instant."""
    kolkata = timedelta(hours=5, minutes=30)
    local = datetime.now(UTC) + kolkata + timedelta(days=days)
    return local.replace(hour=hour, minute=minute, second=0, microsecond=0) - kolkata


class AddressInput(DictFactory):
    street = Sequence(lambda n: f"{n} Lake Road")
    city = "Bangalore"
    state = "Karnataka"
    pincode = "560001"


class VisitInput(DictFactory):
    serviceType = "WOUND_DRESSING"
    startsAt = LazyFunction(lambda: tomorrow().isoformat())
    serviceLocation = LazyFunction(
        lambda: {"type": "HOME", "address": AddressInput(), "contactPerson": "Family", "contactPhone": "9876543210"}
    )


def visit_input(**changes: Any) -> dict[str, Any]:
    """The body of `POST /api/bookings`."""
    return cast(dict[str, Any], VisitInput(**changes))


def service_document(name: str = "WOUND_DRESSING", **changes: Any) -> dict[str, Any]:
    """A catalog document as staff would fill it in; `changes` are dotted paths."""
    document: dict[str, Any] = {
        "name": name,
        "slug": name.lower().replace("_", "-"),
        "category": "NURSING",
        "displayName": name.replace("_", " ").title(),
        "shortDescription": "Done at home by trained staff",
        "longDescription": "Sterile material included",
        "pricing": {"basePrice": 499, "currency": "INR"},
        "serviceDetails": {"duration": 30, "skillLevel": "INTERMEDIATE"},
        "availability": {
            "isActive": True,
            "availableCities": ["Bangalore", "Mumbai"],
            "availableHours": {"start": "06:00", "end": "22:00"},
            "availableDays": [],
        },
        "requirements": {"prescriptionRequired": False, "advanceBookingHours": 2},
        "faqs": [],
        "seo": {"keywords": []},
        "isFeatured": False,
        "isPopular": False,
        "sortOrder": 1,
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return document


def service_made(name: str = "WOUND_DRESSING", **changes: Any) -> ObjectId:
    """A service in the catalog. `availability__capacityPerSlot=1` and the like change its document."""
    return catalog.service_create(actor=STAFF, document=service_document(name, **changes))


def patient_made(**given: str) -> Caller:
    """A registered patient, as a caller."""
    number = next(_numbers)
    facts = {"name": f"Asha {number}", "email": f"asha{number}@example.com", "phone": f"9{number:09}", **given}
    patient, _signed_in = patients.patient_register(**facts, password=PASSWORD)
    return Caller(Role.PATIENT, patient["_id"])


def booking_made(actor: Caller, **wanted: Any) -> dict[str, Any]:
    """A booking of the patient `actor`. `startsAt` is an instant; the default is tomorrow at ten."""
    visit = {**visit_input(), "startsAt": tomorrow(), **wanted}
    return bookings.booking_create(actor=actor, wanted=visit)


def token_of(caller: Caller) -> str:
    """A token with which a patient calls the API."""
    assert caller.id is not None
    return tokens.access_token_for(caller.id)
