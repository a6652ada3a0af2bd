"""Who calls: a patient, a provider or admin, or another service of the platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from bson import ObjectId
from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.exceptions import TokenError

from booking_service.api.callers import Caller, Role
from booking_service.api.errors import NotAuthenticated
from booking_service.partners import main_api
from booking_service.partners.exceptions import ProviderNotFound
from patients import sign_in_state, tokens

BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the caller proved who they are: `request.auth`. `session_id` is None for tokens of no session."""

    session_id: ObjectId | None = None


class PatientAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` or `X-Service-Token: …`. Neither is anonymous; one that does not hold is a 401."""

    def authenticate(self, request: Request) -> tuple[Caller, Credentials] | None:
        meta = request._request.META
        if service := meta.get("HTTP_X_SERVICE_TOKEN"):
            return service_caller(service), Credentials()
        header = meta.get("HTTP_AUTHORIZATION")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != BEARER:
            raise NotAuthenticated
        return bearer(token.strip())

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def caller(request: Request) -> Caller:
    """Who makes a request that passed a permission of `patients.permissions`."""
    return cast(Caller, request.user)


def credentials(request: Request) -> Credentials:
    """How they proved it."""
    return cast(Credentials, request.auth)


def service_caller(token: str) -> Caller:
    """The service that `token` names; raises NotAuthenticated."""
    try:
        return Caller(Role.SERVICE, name=tokens.service_name(token))
    except TokenError:
        raise NotAuthenticated from None


def bearer(text: str) -> tuple[Caller, Credentials]:
    """The caller whom a bearer token names.

    Raises:
        NotAuthenticated: the token does not hold, was revoked, or names nobody who may call.
        booking_service.partners.exceptions.ProviderDirectoryDown: only the main API would know.
    """
    try:
        token = tokens.caller_token(text)
    except TokenError:
        raise NotAuthenticated from None
    if isinstance(token, tokens.AccessToken):
        return _patient(token, token.session_id)
    return _monolith_caller(token), Credentials()


def _monolith_caller(token: tokens.MonolithToken) -> Caller:
    if sign_in_state.state_of(token.patient_id).is_patient:
        if not (settings.ACCEPT_MONOLITH_TOKENS and token.may_be_patient):
            raise NotAuthenticated
        return _patient(token, None)[0]
    if not token.may_be_provider:
        raise NotAuthenticated
    return _provider(token.patient_id)


def _patient(token: tokens.CallerToken, session_id: ObjectId | None) -> tuple[Caller, Credentials]:
    state = sign_in_state.state_of(token.patient_id)
    issued_at = token.issued_at
    if not state.admits(session_id=session_id, issued_at=issued_at) and state.may_not_know(issued_at):
        state = sign_in_state.read(token.patient_id)
    if not state.admits(session_id=session_id, issued_at=issued_at):
        raise NotAuthenticated
    return state.caller, Credentials(session_id)


def _provider(provider_id: ObjectId) -> Caller:
    try:
        provider = main_api.provider_get(provider_id)
    except ProviderNotFound:
        raise NotAuthenticated from None
    if not provider.is_active:
        raise NotAuthenticated
    return Caller(provider.role, provider.id)
