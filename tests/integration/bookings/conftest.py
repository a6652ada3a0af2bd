"""A catalog, a patient, a directory of providers, and clients that speak for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import jwt
import pytest
from bson import ObjectId
from django.conf import settings
from django.db import connection
from django.test import Client

from booking_service.api.callers import Caller, Role
from booking_service.api.renderers import encode
from booking_service.partners import main_api
from booking_service.partners.exceptions import ProviderDirectoryDown
from booking_service.partners.main_api import Provider, SkillLevel
from bookings import availability, moving, notifications, payments, services, sweeping, visits
from tests.factories import patient_made, service_made, token_of


class Api:
    """Calls of one caller; `body` of an answer is its JSON."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer: Any = self.client.generic(
            method,
            f"/api{path}",
            b"" if body is None else encode(body),
            content_type="application/json",
            headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        answer.body = answer.json() if answer.content else None
        return answer


class Directory:
    """The main API's providers, in place of the main API."""

    def __init__(self) -> None:
        self.providers: dict[ObjectId, Provider] = {}
        self.is_down = False

    def add(self, role: Role = Role.NURSE, skill: SkillLevel | None = None, *, is_active: bool = True) -> Caller:
        provider = Provider(ObjectId(), role, "Meera", frozenset(), skill, is_active)
        self.providers[provider.id] = provider
        return Caller(role, provider.id)

    def ask(self, provider_id: ObjectId) -> Provider | None:
        if self.is_down:
            raise ProviderDirectoryDown
        return self.providers.get(provider_id)


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Directory:
    """Who the main API knows."""
    directory = Directory()
    monkeypatch.setattr(main_api, "_ask", directory.ask)
    return directory


@pytest.fixture(autouse=True)
def wound_dressing(_database: None) -> ObjectId:
    """The service that tests book: 30 minutes, 06:00-22:00, 2 hours ahead, in Bangalore and Mumbai."""
    return service_made()


@pytest.fixture
def asha() -> Caller:
    """A patient."""
    return patient_made(name="Asha Rao")


@pytest.fixture
def ravi() -> Caller:
    """Another patient."""
    return patient_made(name="Ravi Iyer")


@pytest.fixture
def nurse(directory: Directory) -> Caller:
    return directory.add()


@pytest.fixture
def admin(directory: Directory) -> Caller:
    return directory.add(Role.ADMIN)


@pytest.fixture
def api(directory: Directory) -> Callable[[Caller], Api]:
    """The API as a caller uses it."""

    def speaking(caller: Caller) -> Api:
        if caller.is_patient:
            return Api(token_of(caller))
        return Api(jwt.encode({"id": str(caller.id)}, settings.JWT_SECRET, "HS256"))

    return speaking


class Outbox:
    """The rows that signals left, oldest first."""

    def __init__(self) -> None:
        self.rows = connection.database["outbox"]  # type: ignore[attr-defined]

    def types(self, lane: str = "BROKER") -> list[str]:
        return [row["type"] for row in self.rows.find({"lane": lane}).sort("_id")]


@pytest.fixture
def outbox(asha: Caller, ravi: Caller, documents: Callable[[str], Any]) -> Outbox:
    """Empty: what the patients' registration left is gone."""
    documents("outbox").delete_many({})
    return Outbox()


@pytest.fixture
def claims(documents: Callable[[str], Any]) -> Callable[[], list[str]]:
    """The ids of all claims there are."""
    return lambda: sorted(row["_id"] for row in documents("slotclaims").find())


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock of this app."""

    def set_clock(now: datetime) -> None:
        for module in (services, moving, visits, payments, sweeping, notifications, availability):
            monkeypatch.setattr(module, "moment", lambda: now)

    return set_clock


@pytest.fixture
def paid() -> Callable[[ObjectId], dict[str, Any]]:
    """Pays a booking as the payment service reports it."""

    def pay(booking_id: ObjectId, amount: str = "677.14", transaction: str = "txn-1") -> dict[str, Any]:
        return payments.payment_completed(booking_id=booking_id, transaction_id=transaction, amount=Decimal(amount))

    return pay


@pytest.fixture
def documents() -> Callable[[str], Any]:
    """A collection, past the service."""
    return lambda name: connection.database[name]  # type: ignore[attr-defined]
