"""The limit of one client address, and the one of wrong passwords, on the service as it is."""

from __future__ import annotations

import pytest
from django.test import Client
from redis.connection import AbstractConnection

from tests.integration.patients.callers import Api
from tests.integration.patients.test_login import in_parallel

ANYTHING = {
    "the API": ("GET", "/api/services"),
    "its alias": ("GET", "/api/v1/services"),
    "a method that is none": ("PATCH", "/api/services"),
    "too large a body": ("POST", "/api/bookings"),
    "the landing page": ("GET", "/"),
    "the documents": ("GET", "/api/docs"),
    "the contract": ("GET", "/api/events"),
    "a path that is none": ("GET", "/wp-login.php"),
    "the door of the admin": ("GET", "/admin/login/"),
    "the admin": ("POST", "/admin/"),
}


@pytest.mark.parametrize("what", ANYTHING)
def test_whatever_a_client_asks_for_is_counted_and_refused(client, settings, what):
    settings.RATE_LIMIT_REQUESTS = 1
    method, path = ANYTHING[what]
    body = b"x" * 20_000 if "large" in what else b""

    answers = [client.generic(method, path, body, content_type="application/json") for _ in range(2)]

    assert answers[0].status_code != 429
    assert (answers[1].status_code, answers[1].json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert client.get("/api/services").status_code == 429
    assert answers[1]["X-Request-ID"]
    assert client.get("/api/services", REMOTE_ADDR="10.0.0.9").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
def test_probes_are_neither_counted_nor_refused(client, settings, path):
    settings.RATE_LIMIT_REQUESTS = 1
    assert 429 not in {client.get(path).status_code for _ in range(3)}
    assert [client.get("/api/services").status_code for _ in range(2)] == [200, 429]
    assert client.get(path).status_code != 429


def test_a_request_asks_redis_once(asha, monkeypatch):
    sent = []
    send = AbstractConnection.send_command

    def noted(connection, *command, **options):
        sent.append(command[0])
        return send(connection, *command, **options)

    asha.api("GET", "/api/bookings")
    monkeypatch.setattr(AbstractConnection, "send_command", noted)
    assert asha.api("GET", "/api/bookings").status_code == 200
    assert sent == ["EVALSHA"]


def test_a_clinic_signs_in_behind_one_address(registered):
    """Twelve at once from one address, and nobody had a wrong password."""
    accounts = [registered() for _ in range(12)]

    def sign_in(number):
        given = {"email": accounts[number].email, "password": accounts[number].password}
        return Client().post("/api/patients/login", given, content_type="application/json")

    assert {answer.status_code for answer in in_parallel(12, sign_in)} == {200}


def test_guesses_hidden_among_a_clinics_sign_ins_are_five(registered):
    accounts = [registered() for _ in range(8)]

    def sign_in(number):
        given = {"email": accounts[number % 8].email, "password": accounts[number % 8].password}
        if number >= 8:
            given["password"] = "Wrong414002x"
        return Client().post("/api/patients/login", given, content_type="application/json")

    answers = in_parallel(24, sign_in)
    assert [answer.status_code for answer in answers].count(401) <= 5
    assert Api()("POST", "/api/patients/login", {"email": "x@example.com", "password": "x"}).status_code == 429
