"""Whether a token still holds, from this process's memory: a warm request asks no database.

What is remembered is at most TTL_SECONDS old, so a password change, a sign-out or a deactivation made by any process
ends access everywhere within that time, and at once in the process that made it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import ObjectId

from booking_service.api.callers import Caller, Role
from patients import repositories

TTL_SECONDS = 10.0
MOST_REMEMBERED = 20_000
# `iat` is in whole seconds, and another pod's clock may differ a little.
CLOCK_DIFFERENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class SignInState:
    """What MongoDB said of an id at `read_at` (wall clock) and until when that may be believed (monotonic)."""

    caller: Caller
    is_patient: bool
    is_active: bool
    revoked_before: float
    sessions: frozenset[ObjectId]
    read_at: float = field(default_factory=time.time)
    good_until: float = field(default_factory=lambda: time.monotonic() + TTL_SECONDS)

    def admits(self, *, session_id: ObjectId | None, issued_at: float) -> bool:
        """Whether a token of this patient holds: its session is open or, without one, nothing was revoked since."""
        if not self.is_active:
            return False
        return session_id in self.sessions if session_id is not None else issued_at >= self.revoked_before

    def may_not_know(self, issued_at: float) -> bool:
        """Whether a token issued at `issued_at` may stem from a sign-in that this state has not seen yet."""
        return self.read_at < issued_at + CLOCK_DIFFERENCE_SECONDS


_remembered: dict[ObjectId, SignInState] = {}


def state_of(patient_id: ObjectId) -> SignInState:
    """The state of `patient_id`, remembered or read."""
    state = _remembered.get(patient_id)
    if state is not None and state.good_until > time.monotonic():
        return state
    return read(patient_id)


def read(patient_id: ObjectId) -> SignInState:
    """The state as MongoDB has it now; remembers it."""
    state = _state(patient_id, repositories.sign_in_state(patient_id))
    if len(_remembered) >= MOST_REMEMBERED:
        _remembered.clear()
    _remembered[patient_id] = state
    return state


def forget(patient_id: ObjectId) -> None:
    """Read again next time: it was just changed here."""
    _remembered.pop(patient_id, None)


def _state(patient_id: ObjectId, document: Mapping[str, Any] | None) -> SignInState:
    found = document or {}
    return SignInState(
        caller=Caller(Role.PATIENT, patient_id),
        is_patient=document is not None,
        is_active=document is not None and found.get("isActive") is not False,
        revoked_before=max(_seconds(found.get("passwordChangedAt")), _seconds(found.get("signedOutAt"))),
        sessions=_session_ids(found.get("sessions")),
    )


def _session_ids(sessions: object) -> frozenset[ObjectId]:
    entries = sessions if isinstance(sessions, list) else []
    return frozenset(entry["_id"] for entry in entries if isinstance(entry, Mapping) and "_id" in entry)


def _seconds(moment: object) -> float:
    """What is no instant ends nothing: of what this service revokes, it writes one."""
    return moment.timestamp() if isinstance(moment, datetime) else 0.0
