"""POST /api/patients/token/refresh, POST /api/patients/logout, PUT /api/patients/password"""

from __future__ import annotations

import time

import bcrypt
import jwt
import pytest
import time_machine
from django.conf import settings
from django.test import Client

from patients import repositories, services, sign_in_state
from patients.models import Patient
from tests.integration.patients.callers import Api
from tests.integration.patients.test_login import in_parallel

REFRESH, LOGOUT, PASSWORD_URL = "/api/patients/token/refresh", "/api/patients/logout", "/api/patients/password"
PROFILE = "/api/patients/profile"
NEW_PASSWORD = "Fresh414002x"


def signed_in(account) -> tuple[Api, str]:
    """Another session: its calls and its refresh token."""
    _, session = services.patient_login(email=account.email, password=account.password, address="elsewhere")
    return Api(session.token), session.refresh_token


def refreshed(token: str):
    return Api()("POST", REFRESH, {"refreshToken": token})


def works(api: Api) -> bool:
    sign_in_state._remembered.clear()
    status = api("GET", PROFILE).status_code
    assert status in (200, 401)
    return status == 200


def test_it_rotates(asha):
    answer = refreshed(asha.refresh_token)

    assert answer.status_code == 200
    assert answer.body["data"].keys() == {"token", "refreshToken"}
    assert works(Api(answer.body["data"]["token"]))
    assert works(asha.api)
    assert refreshed(answer.body["data"]["refreshToken"]).status_code == 200


def test_a_token_used_twice_ends_its_family_and_no_other(asha):
    other, _ = signed_in(asha)
    following = refreshed(asha.refresh_token).body["data"]

    again = refreshed(asha.refresh_token)

    assert (again.status_code, again.body["code"]) == (401, "INVALID_REFRESH_TOKEN")
    assert refreshed(following["refreshToken"]).status_code == 401
    assert not works(Api(following["token"]))
    assert not works(asha.api)
    assert works(other)


def test_of_parallel_uses_of_one_token_at_most_one_succeeds(asha):
    answers = in_parallel(8, lambda _number: refreshed(asha.refresh_token))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7


@pytest.mark.parametrize("token", ["", "x", "a.b.c", None, {"$gt": ""}, ["x"]])
def test_what_is_no_refresh_token_is_refused(token):
    assert refreshed(token).status_code in (400, 401)


def test_an_access_token_does_not_refresh(asha):
    assert refreshed(asha.token).status_code == 401
    assert works(asha.api)


def test_a_refresh_token_expires(asha):
    with time_machine.travel(time.time() + settings.REFRESH_TOKEN_LIFETIME.total_seconds() + 1, tick=False):
        assert refreshed(asha.refresh_token).status_code == 401


def test_a_closed_account_is_not_refreshed(asha):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"isActive": False}})
    assert refreshed(asha.refresh_token).status_code == 401


def test_sign_out_ends_the_session_with_its_access_token(asha):
    other, _ = signed_in(asha)

    assert Api()("POST", LOGOUT, {"refreshToken": asha.refresh_token}).status_code == 200

    assert not works(asha.api)
    assert refreshed(asha.refresh_token).status_code == 401
    assert works(other)


def test_sign_out_with_a_used_token_is_refused_and_ends_the_family(asha):
    following = refreshed(asha.refresh_token).body["data"]
    assert Api()("POST", LOGOUT, {"refreshToken": asha.refresh_token}).status_code == 401
    assert not works(Api(following["token"]))


def test_sign_out_everywhere_ends_all_the_monoliths_tokens_too(asha):
    other, _ = signed_in(asha)
    monolith = Api(jwt.encode({"id": str(asha.id), "iat": int(time.time()) - 1}, settings.JWT_SECRET))
    assert works(monolith)

    assert Api()("POST", LOGOUT, {"refreshToken": asha.refresh_token, "everywhere": True}).status_code == 200

    assert not any(map(works, (asha.api, other, monolith)))
    assert works(signed_in(asha)[0])


@pytest.mark.parametrize("none", [None, "x", {}, 5])
def test_one_who_has_no_list_of_sessions_signs_in(asha, none):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"sessions": none}})
    answer = Api()("POST", "/api/patients/login", {"email": asha.email, "password": asha.password})
    assert answer.status_code == 200
    assert len(Patient.objects.mongo_find_one({"_id": asha.id})["sessions"]) == 1


def test_no_more_sessions_are_kept_than_a_person_has_devices(asha):
    for _ in range(repositories.MOST_SESSIONS):
        signed_in(asha)
    assert len(Patient.objects.mongo_find_one({"_id": asha.id})["sessions"]) == repositories.MOST_SESSIONS
    assert not works(asha.api)


def change(api: Api, current: str, new: str = NEW_PASSWORD):
    return api("PUT", PASSWORD_URL, {"currentPassword": current, "newPassword": new})


def elsewhere(account, current: str, address: str = "10.0.0.9"):
    """A change from another address."""
    return Client(REMOTE_ADDR=address).put(
        PASSWORD_URL,
        {"currentPassword": current, "newPassword": NEW_PASSWORD},
        content_type="application/json",
        headers={"Authorization": f"Bearer {account.token}"},
    )


def test_another_password_ends_every_other_session(asha):
    other, other_refresh = signed_in(asha)
    monolith = Api(jwt.encode({"id": str(asha.id), "iat": int(time.time()) - 1}, settings.JWT_SECRET))

    answer = change(asha.api, asha.password)

    assert answer.status_code == 200, answer.body
    assert works(asha.api)
    assert refreshed(asha.refresh_token).status_code == 200
    assert not works(other)
    assert not works(monolith)
    assert refreshed(other_refresh).status_code == 401
    login = {"email": asha.email, "password": NEW_PASSWORD}
    assert Api()("POST", "/api/patients/login", login).status_code == 200
    assert Api()("POST", "/api/patients/login", login | {"password": asha.password}).status_code == 401


def test_whoever_changes_it_with_a_monolith_token_gets_a_session_in_its_place(asha):
    monolith = Api(jwt.encode({"id": str(asha.id), "iat": int(time.time()) - 1}, settings.JWT_SECRET))

    answer = change(monolith, asha.password)

    assert not works(monolith)
    assert works(Api(answer.body["data"]["token"]))
    assert refreshed(answer.body["data"]["refreshToken"]).status_code == 200


def test_the_current_password_must_be_right_and_guessing_is_limited(asha):
    before = Patient.objects.mongo_find_one({"_id": asha.id})
    answers = [change(asha.api, "Wrong414002x") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[0].body["code"] == "INVALID_CREDENTIALS"
    assert Patient.objects.mongo_find_one({"_id": asha.id}) == before


def guessed_at_sign_in(name: str) -> None:
    """Five wrong sign-ins, each from another address."""
    for number in range(5):
        given = {"email": name, "password": "Wrong414002x"}
        answer = Client(REMOTE_ADDR=f"10.0.2.{number}").post("/api/patients/login", given, "application/json")
        assert answer.status_code == 401


def test_guesses_at_the_sign_in_count_here_too(asha):
    guessed_at_sign_in(asha.email.upper())
    assert elsewhere(asha, asha.password).status_code == 429


def test_guesses_here_count_at_the_sign_in_too(asha):
    assert [elsewhere(asha, "Wrong414002x").status_code for _ in range(5)] == [401] * 5
    login = {"email": asha.email, "password": asha.password}
    assert Api()("POST", "/api/patients/login", login).status_code == 429


@pytest.mark.parametrize("name", ["{}", "ID {}"])
@pytest.mark.parametrize("address", ["asha.rao@example.com", ""])
def test_sign_ins_with_a_patients_id_shut_nobody_out(asha, name, address):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"emailLower": address}})
    guessed_at_sign_in(name.format(asha.id))
    assert elsewhere(asha, asha.password).status_code == 200


def test_accounts_without_an_address_have_five_guesses_each(asha, registered):
    other = registered()
    for account in (asha, other):
        Patient.objects.mongo_update_one({"_id": account.id}, {"$unset": {"emailLower": True}})
    statuses = [elsewhere(asha, "Wrong414002x", f"10.0.1.{number}").status_code for number in range(6)]

    assert statuses == [401] * 5 + [429]
    assert elsewhere(other, other.password).status_code == 200


@pytest.mark.parametrize("new", ["short", "nouppercase1", "Aa1" + "x" * 126, {"$set": 1}, None])
def test_the_new_password_must_be_a_good_one(asha, new):
    assert change(asha.api, asha.password, new).status_code == 400
    assert works(asha.api)


def test_of_two_changes_at_once_one_wins(asha):
    answers = in_parallel(2, lambda number: change(asha.api, asha.password, f"Fresh41400{number}x"))
    assert sorted(answer.status_code for answer in answers) == [200, 401]


def test_a_change_that_meets_the_upgrade_of_an_old_hash_is_made(asha, monkeypatch):
    """The old hash was read and found right; before another password is set, a sign-in replaces the hash."""
    hashed = "bcrypt$" + bcrypt.hashpw(asha.password.encode(), bcrypt.gensalt(4)).decode()
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"password": hashed}})
    original = repositories.password_set

    def late(patient_id, **options):
        signed_in(asha)
        assert Patient.objects.mongo_find_one({"_id": asha.id})["password"].startswith("argon2$")
        return original(patient_id, **options)

    monkeypatch.setattr(repositories, "password_set", late)
    assert change(asha.api, asha.password).status_code == 200
    login = {"email": asha.email, "password": NEW_PASSWORD}
    assert Api()("POST", "/api/patients/login", login).status_code == 200


def test_the_upgrade_of_an_old_hash_that_meets_a_change_undoes_nothing(asha, monkeypatch):
    hashed = "bcrypt$" + bcrypt.hashpw(asha.password.encode(), bcrypt.gensalt(4)).decode()
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"password": hashed}})
    original = repositories.password_upgrade

    def late(patient_id, **options):
        assert change(asha.api, asha.password).status_code == 200
        original(patient_id, **options)

    monkeypatch.setattr(repositories, "password_upgrade", late)
    login = {"email": asha.email, "password": asha.password}
    assert Api()("POST", "/api/patients/login", login).status_code == 401
    assert Api()("POST", "/api/patients/login", login | {"password": NEW_PASSWORD}).status_code == 200


def test_a_sign_in_that_meets_a_password_change_does_not_survive_it(asha, monkeypatch):
    """The old password was read and found right; before the session is stored, another one is set."""
    original = repositories.session_add

    def late(patient_id, session, **options):
        change(asha.api, asha.password)
        return original(patient_id, session, **options)

    monkeypatch.setattr(repositories, "session_add", late)
    answer = Api()("POST", "/api/patients/login", {"email": asha.email, "password": asha.password})
    assert answer.status_code == 401
