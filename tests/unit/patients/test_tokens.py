"""Tokens: whose they are, and every way in which they do not hold."""

from __future__ import annotations

import time

import jwt
import pytest
import time_machine
from bson import ObjectId
from django.conf import settings
from rest_framework_simplejwt.exceptions import TokenError

from patients import tokens

PATIENT = ObjectId()
SECRET = "a-secret-of-the-tests-with-more-than-32-bytes"
OLD_SECRET = "an-older-secret-of-the-tests-with-more-than-32-bytes"


@pytest.fixture(autouse=True)
def _secrets(settings):
    settings.JWT_SECRET, settings.JWT_SECRET_PREVIOUS = SECRET, ""
    settings.SERVICE_SECRET = "a-service-secret-of-the-tests-of-32-bytes"


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def in_an_hour() -> int:
    return int(time.time()) + 3600


def ours(**changes: object) -> dict:
    claims = {"id": str(PATIENT), "type": "patient", "iat": int(time.time()), "exp": in_an_hour(), "jti": "x" * 32}
    return {key: value for key, value in {**claims, **changes}.items() if value is not None}


def test_an_access_token_carries_the_claims_of_the_contract():
    claims = jwt.decode(tokens.access_token_for(PATIENT), SECRET, algorithms=["HS256"])

    assert claims.keys() == {"id", "type", "iat", "exp", "jti"}
    assert (claims["id"], claims["type"]) == (str(PATIENT), "patient")
    assert claims["exp"] - claims["iat"] == settings.ACCESS_TOKEN_LIFETIME.total_seconds() == 1800


def test_it_names_the_patient_and_the_session():
    session = ObjectId()

    token = tokens.caller_token(tokens.access_token_for(PATIENT, session_id=session))

    assert isinstance(token, tokens.AccessToken)
    assert (token.patient_id, token.session_id) == (PATIENT, session)


def test_an_access_token_ends_even_when_its_signature_was_checked_before():
    token = tokens.access_token_for(PATIENT)
    tokens.caller_token(token)

    with time_machine.travel(time.time() + 1801, tick=False), pytest.raises(TokenError):
        tokens.caller_token(token)


@pytest.mark.parametrize("claims", [{"id": str(PATIENT)}, {"id": str(PATIENT), "type": "patient"}])
def test_it_takes_the_monoliths_tokens(claims):
    token = tokens.caller_token(signed(**claims, iat=1))

    assert isinstance(token, tokens.MonolithToken)
    assert token.patient_id == PATIENT
    assert token.may_be_patient


def of_the_monolith(**claims: str) -> tokens.MonolithToken:
    token = tokens.caller_token(signed(id=str(PATIENT), **claims))
    assert isinstance(token, tokens.MonolithToken)
    return token


def test_a_monolith_token_typed_patient_names_no_provider():
    assert not of_the_monolith(type="patient").may_be_provider
    assert of_the_monolith().may_be_provider
    assert not of_the_monolith(type="nurse").may_be_patient


def test_a_monolith_token_that_expired_is_refused():
    with pytest.raises(TokenError):
        tokens.caller_token(signed(id=str(PATIENT), exp=int(time.time()) - 1))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "\0" * 10,
        "é.é.é",
        "x" * 5000,
        signed("another-secret-that-is-not-ours-32-bytes-long", **ours()),
        signed(SECRET * 2, algorithm="HS512", **ours()),
        signed(algorithm="HS512", **ours()),
        jwt.encode(ours(), None, algorithm="none"),
    ],
)
def test_it_refuses_what_we_did_not_sign(token):
    with pytest.raises(TokenError):
        tokens.caller_token(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "refresh"},
        {"type": "service"},
        {"type": None},
        {"type": {"$ne": ""}},
        {"type": ["patient"]},
        {"exp": None},
        {"exp": 1},
        {"id": None},
        {"id": "1"},
        {"id": 1},
        {"id": {"$gt": ""}},
        {"id": "../../admin"},
        {"session": "1"},
        {"session": {"$gt": ""}},
        {"jti": None, "type": "service"},
        {"jti": None, "type": "refresh"},
        {"jti": None, "type": ["patient"]},
        {"jti": None, "id": None},
        {"jti": None, "id": {"$gt": ""}},
        {"nbf": 9999999999},
    ],
)
def test_it_refuses_claims_that_name_nobody_here(changes):
    with pytest.raises(TokenError):
        tokens.caller_token(signed(**ours(**changes)))


def test_a_refresh_token_is_no_access_token_and_an_access_token_no_refresh_token():
    session = ObjectId()
    with pytest.raises(TokenError):
        tokens.caller_token(str(tokens.refresh_token_for(PATIENT, session_id=session)))
    with pytest.raises(TokenError):
        tokens.refresh_token(tokens.access_token_for(PATIENT, session_id=session))


def test_tokens_of_the_previous_secret_hold_while_it_is_set(settings):
    token = signed(OLD_SECRET, **ours())
    with pytest.raises(TokenError):
        tokens.caller_token(token)

    settings.JWT_SECRET_PREVIOUS = OLD_SECRET
    assert tokens.caller_token(token).patient_id == PATIENT
    assert tokens.access_token_for(PATIENT).split(".")[2] != token.split(".")[2]
    jwt.decode(tokens.access_token_for(PATIENT), SECRET, algorithms=["HS256"])

    settings.JWT_SECRET_PREVIOUS = ""
    with pytest.raises(TokenError):
        tokens.caller_token(token)


def test_a_pod_whose_clock_is_ahead_does_not_make_tokens_that_fail():
    assert tokens.caller_token(signed(**ours(iat=int(time.time()) + 5))).patient_id == PATIENT


def test_it_names_a_service(settings):
    token = signed(settings.SERVICE_SECRET, type="service", serviceName="payments", exp=in_an_hour())
    assert tokens.service_name(token) == "payments"


@pytest.mark.parametrize(
    "claims",
    [
        {"type": "patient", "serviceName": "payments"},
        {"serviceName": "payments"},
        {"type": "service"},
        {"type": "service", "serviceName": ""},
        {"type": "service", "serviceName": "payments\nWARNING forged"},
        {"type": "service", "serviceName": "payments\n"},
        {"type": "service", "serviceName": "zahlungen für alle"},
        {"type": "service", "serviceName": "p" * 101},
        {"type": "service", "serviceName": {"$gt": ""}},
        {"type": "service", "serviceName": "payments", "exp": 1},
    ],
)
def test_it_refuses_services_that_do_not_say_who_they_are(settings, claims):
    with pytest.raises(TokenError):
        tokens.service_name(signed(settings.SERVICE_SECRET, **claims))


def test_a_patients_secret_signs_no_service_and_without_a_secret_nobody_is_one(settings):
    with pytest.raises(TokenError):
        tokens.service_name(signed(SECRET, type="service", serviceName="payments"))

    token = signed(settings.SERVICE_SECRET, type="service", serviceName="payments")
    settings.SERVICE_SECRET = ""
    with pytest.raises(TokenError):
        tokens.service_name(token)


def test_a_service_token_is_remembered_no_longer_than_it_holds(settings):
    token = signed(settings.SERVICE_SECRET, type="service", serviceName="payments", exp=in_an_hour())
    tokens.service_name(token)
    with time_machine.travel(time.time() + 3601, tick=False), pytest.raises(TokenError):
        tokens.service_name(token)
