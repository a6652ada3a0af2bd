"""POST /api/patients/login"""

from __future__ import annotations

import threading
import time

import bcrypt
import pytest
from django.db import OperationalError

from booking_service.api.callers import SYSTEM, Caller, Role
from patients import passwords, repositories, services
from patients.models import Patient

URL = "/api/patients/login"
ADMIN = Caller(Role.ADMIN)


def credentials(account, **changes):
    return {"email": account.email, "password": account.password, **changes}


def stored(account) -> dict:
    return Patient.objects.mongo_find_one({"_id": account.id})


def from_the_monolith(account, password: str) -> None:
    """Make the account one that the monolith left: its hash, an address in capitals."""
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(passwords.MONOLITH_ROUNDS)).decode()
    Patient.objects.mongo_update_one(
        {"_id": account.id}, {"$set": {"password": hashed, "email": account.email.upper()}}
    )


def test_it_signs_in_whatever_the_case_of_the_address(api, asha):
    answer = api("POST", URL, credentials(asha, email=asha.email.upper()))

    assert answer.status_code == 200
    assert answer.body["data"].keys() == {"patient", "token", "refreshToken"}
    assert answer.body["data"]["patient"]["_id"] == str(asha.id)
    assert "password" not in answer.body["data"]["patient"]
    me = api("GET", "/api/patients/profile", Authorization=f"Bearer {answer.body['data']['token']}")
    assert me.status_code == 200


def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(api, asha):
    wrong = api("POST", URL, credentials(asha, password="Wrong414002x"))
    unknown = api("POST", URL, credentials(asha, email="nobody@example.com"))

    assert wrong.status_code == unknown.status_code == 401
    for answer in (wrong, unknown):
        assert answer.body.pop("requestId")
    assert wrong.body == unknown.body
    assert wrong.body["code"] == "INVALID_CREDENTIALS"


def test_a_right_password_of_a_closed_account_is_told_so_and_a_wrong_one_is_not(api, asha):
    services.patient_deactivate(actor=ADMIN, patient_id=asha.id)

    assert api("POST", URL, credentials(asha, password="Wrong414002x")).body["code"] == "INVALID_CREDENTIALS"
    answer = api("POST", URL, credentials(asha))
    assert (answer.status_code, answer.body["code"]) == (403, "ACCOUNT_DEACTIVATED")


def test_a_password_of_the_monolith_signs_in_and_is_hashed_anew(api, asha):
    from_the_monolith(asha, "Old" + "x" * 60 + "1")

    assert api("POST", URL, credentials(asha, password="Wrong414002x")).status_code == 401
    assert stored(asha)["password"].startswith("$2b$10$")
    assert api("POST", URL, credentials(asha, password="Old" + "x" * 60 + "1")).status_code == 200
    assert stored(asha)["password"].startswith("argon2$")
    assert api("POST", URL, credentials(asha, password="Old" + "x" * 60 + "1")).status_code == 200


def test_a_password_of_the_monolith_with_another_tail_does_not_take_the_place_of_the_real_one(api, asha):
    beginning = "Old1" + "x" * 68
    from_the_monolith(asha, beginning + "real")

    for tail in ("other", "", "real"):
        assert api("POST", URL, credentials(asha, password=beginning + tail)).status_code == 200


def test_several_first_sign_ins_at_once_all_succeed(api, asha):
    from_the_monolith(asha, asha.password)
    answers = in_parallel(4, lambda _number: api("POST", URL, credentials(asha)))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert stored(asha)["password"].startswith("argon2$")


def test_after_five_failures_the_account_is_locked_for_every_address(api, asha):
    for number in range(5):
        assert fail(api, asha, address=f"10.0.0.{number}").status_code == 401

    answer = api("POST", URL, credentials(asha))
    assert (answer.status_code, answer.body["code"]) == (429, "TOO_MANY_ATTEMPTS")
    assert 0 < int(answer.headers["Retry-After"]) <= 900


def test_unknown_accounts_lock_too(api):
    nobody = {"email": "nobody@example.com", "password": "Wrong414002x"}
    answers = [api("POST", URL, nobody) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


def test_after_five_failures_the_address_is_locked_for_every_account(api, asha, registered):
    for number in range(5):
        api("POST", URL, {"email": f"guess{number}@example.com", "password": "Wrong414002x"})

    assert api("POST", URL, credentials(asha)).status_code == 429
    assert elsewhere(api, asha, address="10.0.0.9").status_code == 200


def test_a_forged_address_changes_nothing(api, asha):
    for number in range(5):
        api("POST", URL, credentials(asha, password="Wrong414002x"), **{"X-Forwarded-For": f"10.0.0.{number}"})

    answer = api("POST", URL, {"email": "b@example.com", "password": "x"}, **{"X-Forwarded-For": "10.0.0.9"})
    assert answer.status_code == 429


def test_successes_count_for_nothing(api, asha):
    assert [api("POST", URL, credentials(asha)).status_code for _ in range(7)] == [200] * 7


def test_parallel_guesses_do_not_slip_through(api, asha):
    answers = in_parallel(12, lambda number: fail(api, asha, address=f"10.0.1.{number}"))

    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 5


def test_without_redis_the_limit_still_holds(api, asha, settings):
    from booking_service.api import throttling

    settings.CACHES = {
        **settings.CACHES,
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    counters = throttling.Counters()
    counters._redis_failed_at = time.monotonic() + 3600
    before, throttling._shared = throttling._shared, counters
    try:
        statuses = [fail(api, asha, address=f"10.0.2.{number}").status_code for number in range(6)]
    finally:
        throttling._shared = before
    assert statuses == [401] * 5 + [429]


@pytest.mark.parametrize(
    "body",
    [
        {"email": {"$gt": ""}, "password": "Secret414002x"},
        {"email": {"$ne": None}, "password": {"$ne": None}},
        {"email": ["a@example.com"], "password": "x"},
        {"email": "a@example.com", "password": {"$gt": ""}},
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": "x" * 129},
        {"email": "a@example.com", "password": "x", "$where": "1"},
        [],
        "x",
        None,
    ],
)
def test_operators_and_wrong_shapes_are_not_credentials(api, asha, body):
    answer = api("POST", URL, body)
    assert answer.status_code == 400
    assert answer.body["success"] is False


def test_a_pattern_is_an_address_like_any_other(api, asha):
    assert api("POST", URL, credentials(asha, email=".*")).status_code == 401
    assert api("POST", URL, credentials(asha, email="Asha.Rao@example.co?")).status_code == 401


def test_the_reading_of_the_address_is_served_by_its_index(asha):
    plan = Patient.objects.mongo_find({"emailLower": {"$eq": asha.email.lower()}}).explain()
    assert plan["queryPlanner"]["winningPlan"]["inputStage"]["indexName"] == "patient_email"


def test_beside_the_hash_it_takes_two_round_trips(api, asha, monkeypatch):
    from tests.integration.patients.round_trips import counted

    with counted() as calls:
        assert api("POST", URL, credentials(asha)).status_code == 200
    assert calls == ["find", "update"]


def test_a_sign_in_that_cannot_go_on_record_opens_no_session(api, asha, monkeypatch):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"bloodGroup": "A+"}})
    before = stored(asha)

    def fails(_document):
        raise OperationalError("no room")

    monkeypatch.setattr(repositories, "access_add", fails)
    assert api("POST", URL, credentials(asha)).status_code >= 500
    assert stored(asha) == before


def test_nobody_but_an_admin_closes_accounts(asha):
    for actor in (SYSTEM, Caller(Role.PATIENT, asha.id), Caller(Role.NURSE), Caller(Role.SERVICE, name="x")):
        with pytest.raises(services.PermissionDenied):
            services.patient_deactivate(actor=actor, patient_id=asha.id)
    assert stored(asha)["isActive"] is True


def fail(api, account, *, address):
    return elsewhere(api, account, address=address, password="Wrong414002x")


def elsewhere(api, account, *, address, **changes):
    """A sign-in from another address."""
    from django.test import Client

    return Client(REMOTE_ADDR=address).post(URL, credentials(account, **changes), content_type="application/json")


def in_parallel(count, call):
    start, answers = threading.Barrier(count), []

    def one(number):
        start.wait()
        answers.append(call(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
