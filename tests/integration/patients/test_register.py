"""POST /api/patients/register"""

from __future__ import annotations

import threading

import orjson
import pytest
from bson import ObjectId

from events.models import OutboxEvent
from patients import services
from patients.models import Patient

URL = "/api/patients/register"
GIVEN = {"name": "Asha Rao", "email": "Asha.Rao@Example.com", "phone": "9876543210", "password": "Secret414002x"}


def stored(patient_id: str) -> dict:
    return Patient.objects.mongo_find_one({"_id": ObjectId(patient_id)})


def test_it_makes_an_account_and_signs_in(api):
    answer = api("POST", URL, GIVEN)

    assert answer.status_code == 201, answer.body
    data = answer.body["data"]
    assert data.keys() == {"patient", "token", "refreshToken"}
    assert (data["patient"]["name"], data["patient"]["email"]) == ("Asha Rao", "Asha.Rao@Example.com")
    assert data["patient"]["referralCode"].startswith("PAT")
    me = api("GET", "/api/patients/me", Authorization=f"Bearer {data['token']}")
    assert me.body["data"]["_id"] == data["patient"]["_id"]


def test_it_keeps_the_password_as_a_hash_and_shows_neither(api):
    answer = api("POST", URL, GIVEN)

    document = stored(answer.body["data"]["patient"]["_id"])
    assert document["password"].startswith("argon2$argon2id$")
    for secret in (GIVEN["password"], document["password"], "emailLower", "sessions", "refreshId"):
        assert secret not in answer.content.decode()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"phone": "9876543211", "email": "asha.rao@EXAMPLE.com"}, "EMAIL_TAKEN"),
        ({"email": "b@example.com"}, "PHONE_TAKEN"),
    ],
)
def test_an_email_address_and_a_phone_number_are_one_account_each(api, changed, code):
    api("POST", URL, GIVEN)
    events = OutboxEvent.objects.count()

    answer = api("POST", URL, GIVEN | changed)

    assert (answer.status_code, answer.body["code"]) == (409, code)
    assert Patient.objects.mongo_count_documents({}) == 1
    assert OutboxEvent.objects.count() == events


@pytest.mark.parametrize(
    "email",
    [
        "\u212airan@example.com",
        "a\u017fha@example.com",
        "\u0430sha@example.com",
        "\uff41sha@example.com",
        "asha@\uff45xample.com",
        "asha@\u0435xample.com",
        "asha@ex\u202eample.com",
        "asha@ex\u200bample.com",
        "asha@example.com.",
    ],
)
def test_letters_that_only_look_like_others_make_no_second_account(api, email):
    answer = api("POST", URL, GIVEN | {"email": email})

    assert (answer.status_code, answer.body["errors"][0]["field"]) == (400, "email")
    assert Patient.objects.mongo_count_documents({}) == 0


def test_of_many_at_once_one_gets_the_email_address(api):
    start, answers = threading.Barrier(8), []

    def register(number: int) -> None:
        start.wait()
        answers.append(api("POST", URL, GIVEN | {"phone": f"987654321{number}"}))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.body.get("code") for answer in answers} == {None, "EMAIL_TAKEN"}
    assert Patient.objects.mongo_count_documents({}) == 1


def test_it_draws_another_referral_code_when_one_is_taken(api, asha, monkeypatch):
    taken = stored(str(asha.id))["referralCode"]
    codes = iter([taken, taken, "PATFRESH1"])
    monkeypatch.setattr(services, "referral_code", lambda: next(codes))

    answer = api("POST", URL, GIVEN | {"email": "b@example.com", "phone": "9876543211"})

    assert answer.status_code == 201
    assert answer.body["data"]["patient"]["referralCode"] == "PATFRESH1"
    assert OutboxEvent.objects.count() == 2  # Asha's and this one's: a draw that failed left none


def test_it_tells_the_platform_in_the_same_transaction(api):
    answer = api("POST", URL, GIVEN)

    patient = answer.body["data"]["patient"]
    (event,) = OutboxEvent.objects.mongo_find({})
    body = orjson.loads(event["body"])
    assert body["event"] == "patient.registered"
    assert body["data"] == {
        "patientId": patient["_id"],
        "name": "Asha Rao",
        "email": "Asha.Rao@Example.com",
        "phone": "9876543210",
        "referralCode": patient["referralCode"],
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "A"),
        ("name", "A" * 101),
        ("name", None),
        ("email", "not an address"),
        ("email", "a@b"),
        ("email", {"$gt": ""}),
        ("email", ["a@example.com"]),
        ("phone", "5876543210"),
        ("phone", "98765432101"),
        ("phone", 9876543210),
        ("password", "Short1"),
        ("password", "nouppercase1"),
        ("password", "NOLOWERCASE1"),
        ("password", "NoDigitsHere"),
        ("password", "Aa1" + "x" * 126),
        ("password", {"$ne": None}),
    ],
)
def test_it_refuses_input_that_is_not_right(api, field, value):
    answer = api("POST", URL, GIVEN | {field: value})

    assert (answer.status_code, answer.body["code"]) == (400, "INVALID_INPUT")
    assert {error["field"] for error in answer.body["errors"]} == {field}
    assert Patient.objects.mongo_count_documents({}) == 0


@pytest.mark.parametrize(
    "key", ["isVerified", "_id", "totalSpent", "referralCode", "role", "password2", "$where", "a.b"]
)
def test_it_assigns_nothing_that_it_did_not_ask_for(api, key):
    answer = api("POST", URL, GIVEN | {key: "x"})

    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.body["errors"]] == [(key, "UNKNOWN_KEY")]
    assert Patient.objects.mongo_count_documents({}) == 0


def test_a_password_may_have_spaces_and_128_characters(api):
    password = " Aa1" + "é" * 123 + " "
    assert api("POST", URL, GIVEN | {"password": password}).status_code == 201
    login = {"email": GIVEN["email"], "password": password}
    assert api("POST", "/api/patients/login", login).status_code == 200
    assert api("POST", "/api/patients/login", login | {"password": password.strip()}).status_code == 401
