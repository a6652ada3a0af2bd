"""The tokens that name a caller, on djangorestframework-simplejwt's mechanics.

Our own are typed (`patient`, `refresh`), expire and carry a `jti`. The monolith's (`{id}` or `{id, type}`) carry none.
Stock simplejwt classes are not used: they would look `id` up among Django's users. The algorithm is pinned to HS256,
and while `JWT_SECRET` is being replaced, tokens signed with `JWT_SECRET_PREVIOUS` still hold.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

import jwt
from bson import ObjectId
from django.conf import settings
from jwt.types import Options
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken, TokenError
from rest_framework_simplejwt.tokens import Token

ALGORITHM = "HS256"
# A token is worth reading once; its expiry is checked at every use. About 2 kB each.
TOKENS_REMEMBERED = 4096
LONGEST_TOKEN = 4096
CLOCKS_APART_SECONDS = 300  # how far another machine's clock may be ahead
SERVICE_TYPE = "service"
# It goes into log lines and the audit as it is.
SERVICE_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# What the monolith writes into `type`; a token without one may name anybody.
MONOLITH_TYPES = frozenset({None, "patient", "provider", "nurse", "physiotherapist", "admin"})


class TwoKeyBackend(TokenBackend):
    """Signs with the newest secret; accepts a signature made with any of `secrets`."""

    def __init__(self, *secrets: str) -> None:
        super().__init__(ALGORITHM, signing_key=secrets[0])
        self.secrets = secrets

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """The claims of a token whose signature holds.

        Raises:
            TokenBackendError: malformed, of another algorithm, or signed by somebody else.
        """
        text = token.decode("latin-1") if isinstance(token, bytes) else str(token)
        if len(text) > LONGEST_TOKEN:
            raise TokenBackendError("Token is too long")
        for secret in self.secrets:
            try:
                return self._claims_signed_by(secret, text)
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError as error:
                raise TokenBackendExpiredToken("Token is expired") from error
            except jwt.InvalidTokenError as error:
                raise TokenBackendError("Token is invalid") from error
        raise TokenBackendError("Token is invalid")

    def _claims_signed_by(self, secret: str, text: str) -> dict[str, Any]:
        # `iat` says when, not from when: another pod's clock may be a moment ahead of ours.
        unchecked: Options = {"verify_iat": False, "verify_aud": False, "verify_sub": False, "verify_jti": False}
        return jwt.decode(text, secret, algorithms=[ALGORITHM], options=unchecked)


@lru_cache(maxsize=8)
def _backend(*secrets: str) -> TwoKeyBackend:
    return TwoKeyBackend(*secrets)


def caller_keys() -> TwoKeyBackend:
    """The keys of patients', providers' and admins' tokens."""
    return _backend(*filter(None, (settings.JWT_SECRET, settings.JWT_SECRET_PREVIOUS)))


class CallerToken(Token):
    """What all tokens share here: our keys, and an `id` that is an ObjectId."""

    def get_token_backend(self) -> TokenBackend:
        return caller_keys()

    @property
    def patient_id(self) -> ObjectId:
        """Whom the token names; with a monolith's token that may be a provider or an admin."""
        return ObjectId(self["id"])

    @property
    def issued_at(self) -> float:
        """Seconds since the epoch; 0 where the token does not say, so that any later revocation ends it.

        A time to come says nothing either: no revocation would ever be later.
        """
        issued_at = self.get("iat", 0)
        known = type(issued_at) in (int, float) and issued_at <= time.time() + CLOCKS_APART_SECONDS
        return issued_at if known else 0

    def verify(self) -> None:
        super().verify()
        self.verify_id()

    def check_exp(self, claim: str = "exp", current_time: datetime | None = None) -> None:
        """Raises TokenError for one that is past, and for one that is no time."""
        try:
            super().check_exp(claim, current_time)
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise TokenError("Token has no readable expiry") from error

    def check_time_left(self) -> None:
        """Raises TokenError if `exp`, if there is one, is past. That it is a time, `verify` has found."""
        if self.get("exp", math.inf) <= time.time():
            raise TokenError("Token is expired")

    def verify_id(self) -> None:
        """Raises TokenError unless `id` is the text of an ObjectId."""
        identity = self.get("id")
        if not isinstance(identity, str) or not ObjectId.is_valid(identity):
            raise TokenError("Token names nobody")


class AccessToken(CallerToken):
    """`{id, type: "patient", iat, exp, jti}`, and the `session` it belongs to where it came from a sign-in."""

    token_type = "patient"  # noqa: S105 - a type, not a secret
    lifetime = settings.ACCESS_TOKEN_LIFETIME

    def verify(self) -> None:
        super().verify()
        if "session" in self and not ObjectId.is_valid(self["session"]):
            raise TokenError("Token has no session")

    @property
    def session_id(self) -> ObjectId | None:
        return ObjectId(self["session"]) if "session" in self else None


class RefreshToken(CallerToken):
    """Good for one rotation: the session remembers the `jti` of the latest one only."""

    token_type = "refresh"  # noqa: S105 - a type, not a secret
    lifetime = settings.REFRESH_TOKEN_LIFETIME

    def verify(self) -> None:
        super().verify()
        if not isinstance(self.get("session"), str) or not ObjectId.is_valid(self["session"]):
            raise TokenError("Token has no session")

    @property
    def session_id(self) -> ObjectId:
        return ObjectId(self["session"])


class MonolithToken(CallerToken):
    """`{id}` or `{id, type}`, never a `jti`. One without `exp` holds as long as the switch that accepts it is on."""

    token_type = "monolith"  # noqa: S105 - a type, not a secret
    lifetime = settings.ACCESS_TOKEN_LIFETIME
    accepted_types: ClassVar[frozenset[str | None]] = MONOLITH_TYPES

    def verify(self) -> None:
        if "exp" in self.payload:
            self.check_exp()
        claimed = self.get("type")
        if "jti" in self.payload or not isinstance(claimed, str | None) or claimed not in self.accepted_types:
            raise TokenError("Token has wrong type")
        self.verify_id()

    @property
    def may_be_patient(self) -> bool:
        return self.get("type") in (None, "patient")

    @property
    def may_be_provider(self) -> bool:
        return self.get("type") != "patient"


def access_token_for(patient_id: ObjectId, *, session_id: ObjectId | None = None) -> str:
    """A signed access token; without `session_id` only a password change, sign-out everywhere or expiry ends it."""
    token = AccessToken()
    token["id"] = str(patient_id)
    if session_id is not None:
        token["session"] = str(session_id)
    return str(token)


def refresh_token_for(patient_id: ObjectId, *, session_id: ObjectId) -> RefreshToken:
    """A new refresh token of a session; `str()` of it is the signed text."""
    token = RefreshToken()
    token["id"], token["session"] = str(patient_id), str(session_id)
    return token


def expires_at(token: Token) -> datetime:
    """The instant at which `token` ends by itself."""
    return datetime.fromtimestamp(token["exp"], UTC)


def caller_token(text: str) -> AccessToken | MonolithToken:
    """The token that a bearer presents.

    Raises:
        rest_framework_simplejwt.exceptions.TokenError: it does not hold, or is of a kind that names no caller.
    """
    token = _verified(caller_keys(), text)
    token.check_time_left()
    return token


@lru_cache(maxsize=TOKENS_REMEMBERED)
def _verified(keys: TwoKeyBackend, text: str) -> AccessToken | MonolithToken:
    """The token in `text`, read and checked but for its expiry. Shared, so never changed."""
    try:
        claims = keys.decode(text)
    except TokenBackendError as error:
        raise TokenError("Token is invalid") from error
    kind = AccessToken if "jti" in claims else MonolithToken
    return kind(text)  # type: ignore[arg-type]  # upstream annotates the text as Token


def refresh_token(text: str) -> RefreshToken:
    """The refresh token in `text`; raises TokenError as `caller_token` does."""
    return RefreshToken(text)  # type: ignore[arg-type]


def service_name(text: str) -> str:
    """The name in a service's token `{type: "service", serviceName}`, signed with `SERVICE_SECRET`.

    Raises:
        TokenError: it does not hold, its name is more than letters, digits and `._-`, or SERVICE_SECRET is not set.
    """
    if not settings.SERVICE_SECRET:
        raise TokenError("No service may call")
    try:
        claims = _backend(settings.SERVICE_SECRET).decode(text)
    except TokenBackendError as error:
        raise TokenError("Token is invalid") from error
    expires = claims.get("exp", float("inf"))
    if type(expires) not in (int, float) or expires <= datetime.now(UTC).timestamp():
        raise TokenError("Token is expired")
    name = claims.get("serviceName")
    if claims.get("type") != SERVICE_TYPE or not isinstance(name, str) or not SERVICE_NAME.fullmatch(name):
        raise TokenError("Token names no service")
    return name
