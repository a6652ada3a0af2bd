"""The limit of one client address, and the one of wrong passwords, on the service as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django_redis import get_redis_connection
from redis.connection import AbstractConnection

from booking_service.api.bulkhead import PASSWORD_HASHES
from tests.integration.patients.callers import PASSWORD, Api
from tests.integration.patients.round_trips import counted
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


REGISTRATION = {"name": "Meera Nair", "email": "meera@example.com", "phone": "9876500000", "password": PASSWORD}


@contextmanager
def every_place_taken() -> Iterator[None]:
    """As many hash passwords as may."""
    with ExitStack() as places:
        for _ in range(django_settings.PASSWORD_HASHES_AT_ONCE):
            places.enter_context(PASSWORD_HASHES.place())
        yield


def attempts_counted() -> list[bytes]:
    return list(get_redis_connection("default").scan_iter("patient-booking:limit:*-a*"))  # by account and address


@pytest.mark.parametrize("what", ["a registration", "a sign-in", "a guess", "a change of password"])
def test_while_every_place_to_hash_is_taken_nothing_is_looked_at_or_counted(asha, what):
    known = {"email": asha.email, "password": asha.password}
    method, path, body = {
        "a registration": ("POST", "/api/patients/register", REGISTRATION),
        "a sign-in": ("POST", "/api/patients/login", known),
        "a guess": ("POST", "/api/patients/login", known | {"password": "Wrong414002x"}),
        "a change of password": (
            "PUT",
            "/api/patients/password",
            {"currentPassword": asha.password, "newPassword": "Another414002x"},
        ),
    }[what]
    assert asha.api("GET", "/api/patients/profile").status_code == 200  # now it is known whose token it is

    with every_place_taken():
        with counted() as calls:
            answers = [asha.api(method, path, body) for _ in range(6)]
        assert asha.api("GET", "/api/bookings").status_code == 200

    for answer in answers:
        assert (answer.status_code, answer.body["code"], answer.headers["Retry-After"]) == (503, "BUSY", "1")
    assert calls == []
    assert attempts_counted() == []
    assert asha.api(method, path, body).status_code in {200, 201, 401}


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/password_change/"])
def test_while_every_place_to_hash_is_taken_staff_see_the_form_again(path):
    root, client = User.objects.create_superuser("root", password=PASSWORD), Client()
    if path != "/admin/login/":
        client.force_login(root)
    form = {"username": "root", "password": PASSWORD, "old_password": PASSWORD, "next": "/admin/"}
    form |= {"new_password1": "Another-Password-9", "new_password2": "Another-Password-9"}

    with every_place_taken():
        pages = [client.post(path, form) for _ in range(6)]

    assert all(page.status_code == 200 and "Try again in a second" in page.content.decode() for page in pages)
    assert attempts_counted() == []
    assert client.post(path, form).status_code == 302
