"""Who a request is from, and how soon access that was ended is over."""

from __future__ import annotations

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine
from bson import ObjectId
from django.conf import settings

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.exceptions import ProviderDirectoryDown, ProviderNotFound
from patients import services, sign_in_state, tokens
from patients.models import Patient
from tests.integration.patients.callers import Api
from tests.integration.patients.round_trips import counted

PROFILE = "/api/patients/profile"
ADMIN = Caller(Role.ADMIN)


def monolith_token(identity, **claims) -> str:
    return jwt.encode({"id": str(identity), "iat": int(time.time()), **claims}, settings.JWT_SECRET, algorithm="HS256")


def signed_by_hand(claims, secret=settings.JWT_SECRET) -> str:
    """As somebody with the secret could sign it who does not use a library."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, claims)]
    signature = hmac.digest(secret.encode(), b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def another_process() -> None:
    """What this process remembers is gone, as in a process that has not seen the caller yet."""
    sign_in_state._remembered.clear()


@pytest.fixture
def people(monkeypatch):
    """The main API's people: set roles by id."""
    known: dict[ObjectId, main_api.Provider] = {}

    def provider_get(provider_id, **_options):
        if provider_id not in known:
            raise ProviderNotFound
        return known[provider_id]

    monkeypatch.setattr(main_api, "provider_get", provider_get)
    return known


def person(role: Role, *, is_active: bool = True) -> main_api.Provider:
    return main_api.Provider(ObjectId(), role, "P", frozenset({"NURSING"}), main_api.SkillLevel.BASIC, is_active)


def test_without_a_token_one_is_asked_to_sign_in(api):
    answer = api("GET", PROFILE)
    assert (answer.status_code, answer.body["code"]) == (401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer x.y.z", "x", "Bearer é"])
def test_a_header_that_says_nothing_true_is_a_401(header):
    assert Api()("GET", PROFILE, Authorization=header).status_code == 401


def test_a_warm_request_asks_mongodb_once_for_the_profile_itself(asha):
    asha.api("GET", PROFILE)
    with counted() as sent:
        assert asha.api("GET", PROFILE).status_code == 200
    assert sent == ["find"]


@pytest.mark.parametrize("claims", [{}, {"type": "patient"}])
def test_tokens_of_the_monolith_work(asha, claims):
    assert Api(monolith_token(asha.id, **claims))("GET", PROFILE).body["data"]["_id"] == str(asha.id)


def test_tokens_of_the_monolith_end_with_their_switch(asha, settings):
    settings.ACCEPT_MONOLITH_TOKENS = False
    assert Api(monolith_token(asha.id))("GET", PROFILE).status_code == 401
    assert asha.api("GET", PROFILE).status_code == 200


def test_a_token_that_the_monolith_gave_while_an_account_was_closed_stays_ended(asha):
    services.patient_deactivate(actor=ADMIN, patient_id=asha.id)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"signedOutAt": hour_ago}})
    services.patient_reactivate(actor=ADMIN, patient_id=asha.id)
    assert Api(monolith_token(asha.id, iat=int(time.time()) - 1800))("GET", PROFILE).status_code == 401


@pytest.mark.parametrize("exp", ["9999999999", "soon", 1e308, float("inf"), float("nan"), 10**400, [1], None, {}])
def test_an_expiry_that_is_no_time_is_a_401(asha, exp):
    own = jwt.decode(asha.token, options={"verify_signature": False})
    for claims in ({**own, "exp": exp}, {"id": str(asha.id), "exp": exp}):
        assert Api(signed_by_hand(claims))("GET", PROFILE).status_code == 401


def test_a_services_expiry_that_is_no_time_is_a_401(settings):
    claims = {"type": "service", "serviceName": "payments"}
    for exp, status in ((time.time() + 60, 403), ("9999999999", 401), (True, 401), (time.time() - 1, 401)):
        token = signed_by_hand({**claims, "exp": exp}, settings.SERVICE_SECRET)
        assert Api(**{"X-Service-Token": token})("GET", PROFILE).status_code == status, exp


@pytest.mark.parametrize("iat", [10**11, 1e308, float("inf"), True])
def test_a_token_from_the_future_outlives_no_revocation(asha, iat):
    api = Api(signed_by_hand({"id": str(asha.id), "iat": iat}))
    assert api("GET", PROFILE).status_code == 200
    asha.api("POST", "/api/patients/logout", {"refreshToken": asha.refresh_token, "everywhere": True})
    assert api("GET", PROFILE).status_code == 401


@pytest.mark.parametrize("type_", ["nurse", "service", "refresh", "doctor", ["patient"]])
def test_a_patient_is_not_whom_another_type_names(asha, people, type_):
    assert Api(monolith_token(asha.id, type=type_))("GET", PROFILE).status_code == 401


@pytest.mark.parametrize("role", [Role.NURSE, Role.PHYSIOTHERAPIST, Role.ADMIN])
def test_whoever_is_no_patient_is_who_the_main_api_says(asha, people, role):
    somebody = person(role)
    people[somebody.id] = somebody

    answer = Api(monolith_token(somebody.id))("GET", f"/api/patients/{asha.id}")

    assert answer.status_code == (200 if role is Role.ADMIN else 403)


def test_a_person_who_left_is_nobody(people):
    gone = person(Role.ADMIN, is_active=False)
    people[gone.id] = gone
    assert Api(monolith_token(gone.id))("GET", PROFILE).status_code == 401
    assert Api(monolith_token(ObjectId()))("GET", PROFILE).status_code == 401


def test_a_token_typed_patient_never_becomes_an_admin(people):
    admin = person(Role.ADMIN)
    people[admin.id] = admin
    assert Api(monolith_token(admin.id, type="patient"))("GET", PROFILE).status_code == 401
    assert Api(tokens.access_token_for(admin.id))("GET", PROFILE).status_code == 401


def test_while_the_main_api_is_down_patients_are_known_all_the_same(asha, monkeypatch):
    def down(*_args, **_options):
        raise ProviderDirectoryDown

    monkeypatch.setattr(main_api, "provider_get", down)
    assert asha.api("GET", PROFILE).status_code == 200
    answer = Api(monolith_token(ObjectId()))("GET", PROFILE)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_services_are_known_and_see_no_patient(asha):
    claims = {"type": "service", "serviceName": "payments", "exp": int(time.time()) + 60}
    service = Api(**{"X-Service-Token": jwt.encode(claims, settings.SERVICE_SECRET, algorithm="HS256")})

    assert service("GET", f"/api/patients/{asha.id}").status_code == 403
    assert Api(**{"X-Service-Token": "x"})("GET", PROFILE).status_code == 401


@pytest.mark.parametrize("session", [True, False], ids=["session", "monolith"])
def test_deactivation_ends_access(asha, session):
    api = asha.api if session else Api(monolith_token(asha.id))
    assert api("GET", PROFILE).status_code == 200

    services.patient_deactivate(actor=ADMIN, patient_id=asha.id)

    assert api("GET", PROFILE).status_code == 401
    services.patient_reactivate(actor=ADMIN, patient_id=asha.id)
    another_process()
    assert api("GET", PROFILE).status_code == 401


def test_what_another_process_ended_is_over_within_30_seconds(asha, monkeypatch):
    asha.api("GET", PROFILE)
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"isActive": False}})
    clock = time.monotonic
    assert sign_in_state.TTL_SECONDS <= 10

    monkeypatch.setattr("patients.sign_in_state.time.monotonic", lambda: clock() + sign_in_state.TTL_SECONDS)

    assert asha.api("GET", PROFILE).status_code == 401


def test_a_session_that_another_process_just_opened_is_known_at_once(asha):
    sign_in_state.state_of(asha.id)
    old = sign_in_state._remembered[asha.id]
    _, signed_in = services.patient_login(email=asha.email, password=asha.password, address="a")
    sign_in_state._remembered[asha.id] = old

    assert Api(signed_in.token)("GET", PROFILE).status_code == 200


def test_a_revoked_token_does_not_make_every_request_ask_mongodb(asha, monkeypatch):
    with time_machine.travel(time.time() - 60, tick=False):
        _, signed_in = services.patient_login(email=asha.email, password=asha.password, address="a")
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"sessions": []}})
    another_process()
    api = Api(signed_in.token)
    assert api("GET", PROFILE).status_code == 401
    with counted() as sent:
        assert api("GET", PROFILE).status_code == 401
    assert sent == []


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(sign_in_state, "MOST_REMEMBERED", 3)
    for _ in range(10):
        sign_in_state.state_of(ObjectId())
    assert len(sign_in_state._remembered) <= 3
