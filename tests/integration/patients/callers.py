"""A client that speaks JSON, and patients to speak for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bson import ObjectId
from django.test import Client

from patients import services

PASSWORD = "Secret414002x"


class Api:
    """Calls of one caller; answers are parsed."""

    def __init__(self, token: str = "", **headers: str) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.headers |= headers

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer: Any = self.client.generic(
            method,
            path,
            b"" if body is None else _encoded(body),
            content_type="application/json",
            headers=self.headers | headers,
        )
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        answer.body = answer.json() if is_json and answer.content else None
        return answer


def _encoded(body: Any) -> bytes:
    from booking_service.api.renderers import encode

    return body if isinstance(body, bytes) else encode(body)


@dataclass(frozen=True, slots=True)
class Account:
    """A registered patient, signed in."""

    id: ObjectId
    email: str
    phone: str
    password: str
    token: str
    refresh_token: str

    @property
    def api(self) -> Api:
        return Api(self.token)


@pytest.fixture
def api() -> Api:
    """Nobody's calls."""
    return Api()


@pytest.fixture
def registered() -> Callable[..., Account]:
    """Registers another patient at each call."""
    count = 0

    def register(**given: str) -> Account:
        nonlocal count
        count += 1
        facts = {
            "name": f"Asha Rao {count}",
            "email": f"asha{count}@example.com",
            "phone": f"98765{count:05}",
            "password": PASSWORD,
            **given,
        }
        patient, signed_in = services.patient_register(**facts)
        return Account(
            patient["_id"], facts["email"], facts["phone"], facts["password"], signed_in.token, signed_in.refresh_token
        )

    return register


@pytest.fixture
def asha(registered: Callable[..., Account]) -> Account:
    """A patient."""
    return registered(name="Asha Rao", email="Asha.Rao@example.com", phone="9876543210")
