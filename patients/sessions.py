"""Sessions: a sign-in, and the family of refresh tokens that follow one another from it.

A patient's document holds its open sessions, each with the id of its latest refresh token. One conditional update
rotates it, so of two uses of one token exactly one succeeds; the other proves that somebody has a copy, and ends the
session. There is no grace for it: a client that lost the answer to a rotation signs in again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from rest_framework_simplejwt.exceptions import TokenError

from patients import repositories, sign_in_state, tokens
from patients.exceptions import InvalidRefreshToken


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The tokens of a session that was just opened or continued."""

    token: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be stored, and the tokens that belong to it."""

    document: dict[str, Any]
    signed_in: SignedIn


def session_new(patient_id: ObjectId) -> NewSession:
    """A session that is not stored yet."""
    session_id = ObjectId()
    refresh = tokens.refresh_token_for(patient_id, session_id=session_id)
    document = {
        "_id": session_id,
        "refreshId": refresh["jti"],
        "openedAt": datetime.now(UTC),
        "expiresAt": tokens.expires_at(refresh),
    }
    access = tokens.access_token_for(patient_id, session_id=session_id)
    return NewSession(document, SignedIn(access, str(refresh)))


def session_open(credentials: Mapping[str, Any]) -> SignedIn | None:
    """Open a session of the patient whose `credentials` were just checked.

    None when the account was closed or got another password in the meantime.
    """
    patient_id = credentials["_id"]
    session = session_new(patient_id)
    if not repositories.session_add(credentials, session.document, at=session.document["openedAt"]):
        return None
    sign_in_state.forget(patient_id)
    return session.signed_in


def session_refresh(*, refresh_token: str) -> SignedIn:
    """Continue a session: new tokens for its latest refresh token, which is used up by it.

    Raises:
        InvalidRefreshToken: it does not hold, or was used before; then the session is over.
    """
    used = _refresh_token(refresh_token)
    following = tokens.refresh_token_for(used.patient_id, session_id=used.session_id)
    if not repositories.session_rotate(
        used.patient_id,
        used.session_id,
        used=used["jti"],
        following=following["jti"],
        expires_at=tokens.expires_at(following),
        at=datetime.now(UTC),
    ):
        _end(used.patient_id, used.session_id)
        raise InvalidRefreshToken
    access = tokens.access_token_for(used.patient_id, session_id=used.session_id)
    return SignedIn(access, str(following))


def session_close(*, refresh_token: str, everywhere: bool = False) -> None:
    """Sign out: end the session, or every session and every token of the patient.

    Raises:
        InvalidRefreshToken: it does not hold, or was used before; its session is over all the same.
    """
    presented = _refresh_token(refresh_token)
    patient_id, session_id = presented.patient_id, presented.session_id
    is_latest = repositories.session_is_latest(patient_id, session_id, refresh_id=presented["jti"])
    if is_latest and everywhere:
        repositories.sessions_end(patient_id, at=datetime.now(UTC))
        sign_in_state.forget(patient_id)
        return
    _end(patient_id, session_id)
    if not is_latest:
        raise InvalidRefreshToken


def _refresh_token(text: str) -> tokens.RefreshToken:
    try:
        return tokens.refresh_token(text)
    except TokenError:
        raise InvalidRefreshToken from None


def _end(patient_id: ObjectId, session_id: ObjectId) -> None:
    repositories.session_end(patient_id, session_id)
    sign_in_state.forget(patient_id)
