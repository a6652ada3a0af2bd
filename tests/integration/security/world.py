"""One of each kind of caller, and what they act on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import jwt
from bson import ObjectId
from django.conf import settings
from django.db import connection

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.main_api import Provider, SkillLevel
from bookings.models import Booking
from patients import services as patients
from patients.models import Patient
from tests.factories import booking_made, tomorrow
from tests.integration.patients.callers import Account, Api

CALLERS = ("anonymous", "patient A", "patient B", "provider", "other provider", "admin", "service", "monolith token")
# What a sign-in or a read may leave behind in `patients`; everything else that a refusal changes is a fault.
TRACES = {"lastActive": False, "sessions": False}


@dataclass
class World:
    """Patient A has a booking that `provider` is assigned to; `apis` are the callers by name."""

    asha: Account
    bela: Account
    apis: dict[str, Api]
    provider_id: ObjectId
    days: Any = field(default_factory=lambda: count(2))

    def account(self, who: str) -> Account:
        """Whose account a caller acts on, where a request must name one."""
        return self.bela if who == "patient B" else self.asha

    def booking(self, status: str = "REQUESTED", **fields: Any) -> ObjectId:
        """A booking of patient A in some state, on a day of its own, assigned to the provider."""
        number = next(self.days)
        actor = Caller(Role.PATIENT, self.asha.id)
        wanted = {"startsAt": tomorrow(8 + number // 60, days=number % 60 + 2), "paymentMethod": "ONLINE"}
        booking_id = booking_made(actor, **wanted)["_id"]
        change = {"status": status, **fields} if status != "REQUESTED" else fields
        if status not in {"REQUESTED", "SEARCHING"}:
            change |= {"serviceProvider": self.provider_id}
        if change:
            Booking.objects.mongo_update_one({"_id": booking_id}, {"$set": change})
        return booking_id

    def address(self) -> ObjectId:
        """A new address of patient A."""
        actor = Caller(Role.PATIENT, self.asha.id)
        given = {"street": "1 MG Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
        if len(patients.address_list(actor=actor)) > 5:
            Patient.objects.mongo_update_one({"_id": self.asha.id}, {"$set": {"savedAddresses": []}})
        return patients.address_add(actor=actor, address=given)["_id"]


def everything() -> dict[str, list[dict[str, Any]]]:
    """All that a refused request must leave as it was: every document of every collection."""
    database = connection.database  # type: ignore[attr-defined]  # the engine's, unknown to Django
    names = sorted(name for name in database.list_collection_names() if not name.startswith("system."))
    return {
        name: list(database[name].find({}, TRACES if name == "patients" else None).sort("_id", 1)) for name in names
    }


def platform_token(identity: ObjectId) -> str:
    """As the monolith issues it."""
    return jwt.encode({"id": str(identity), "iat": int(time.time())}, settings.JWT_SECRET, algorithm="HS256")


def service_token() -> str:
    claims = {"type": "service", "serviceName": "payments", "exp": int(time.time()) + 600}
    return jwt.encode(claims, settings.SERVICE_SECRET, algorithm="HS256")


def world_made(registered: Any, monkeypatch: Any) -> World:
    """Everybody."""
    people: dict[ObjectId, Provider] = {}
    monkeypatch.setattr(main_api, "_ask", people.get)

    def person(role: Role) -> ObjectId:
        provider = Provider(ObjectId(), role, "Meera", frozenset(), SkillLevel.SPECIALIST, True)
        people[provider.id] = provider
        return provider.id

    asha, bela, nurse = registered(), registered(), person(Role.NURSE)
    apis = {
        "anonymous": Api(),
        "patient A": asha.api,
        "patient B": bela.api,
        "provider": Api(platform_token(nurse)),
        "other provider": Api(platform_token(person(Role.NURSE))),
        "admin": Api(platform_token(person(Role.ADMIN))),
        "service": Api(**{"X-Service-Token": service_token()}),
        "monolith token": Api(platform_token(asha.id)),
    }
    assert tuple(apis) == CALLERS
    return World(asha, bela, apis, nurse)
