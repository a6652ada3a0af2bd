"""Passwords: argon2 for ours, bcrypt of the monolith until its owner signs in again.

A refused password costs the same whatever stands behind it (an argon2 hash, a bcrypt hash, one that cannot be read,
nothing at all): one argon2 and one bcrypt. Only a right one may be quicker, which tells its owner nothing new.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import cache
from typing import Any

import argon2
import bcrypt
from argon2.exceptions import VerificationError, VerifyMismatchError
from django.contrib.auth.hashers import Argon2PasswordHasher, BCryptPasswordHasher, make_password

LONGEST_PASSWORD = 128
BCRYPT_BYTES = 72
MONOLITH_ROUNDS = 10
MONOLITH_PREFIX = "bcrypt$"


class PatientArgon2Hasher(Argon2PasswordHasher):
    """argon2id with 19 MiB and two passes: OWASP's least, about 25 ms of one core; Django's default takes 100 MiB."""

    memory_cost = 19 * 1024
    time_cost = 2
    parallelism = 1

    def verify(self, password: str, encoded: str) -> bool:
        try:
            return argon2.PasswordHasher().verify("$" + encoded.split("$", 1)[1], password)
        except VerifyMismatchError:  # Django takes a hash that cannot be read for a wrong password
            return False


class MonolithBcryptHasher(BCryptPasswordHasher):
    """bcryptjs `$2b$10$…` behind Django's `bcrypt$`. It saw the first 72 bytes only; bcrypt 5 refuses longer input."""

    rounds = MONOLITH_ROUNDS

    def encode(self, password: str, salt: bytes) -> str:  # type: ignore[override]  # bcrypt makes bytes
        hashed = bcrypt.hashpw(password.encode()[:BCRYPT_BYTES], salt)
        return f"{self.algorithm}${hashed.decode('ascii')}"

    def verify(self, password: str, encoded: str) -> bool:
        hashed = encoded.removeprefix(MONOLITH_PREFIX).encode()
        return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], hashed)


def from_monolith(stored: str) -> str:
    """A stored hash as Django knows it: the monolith wrote `$2b$…` without a prefix."""
    return MONOLITH_PREFIX + stored if stored.startswith("$2") else stored


def password_hash(password: str) -> str:
    """The argon2 hash to store. `password` has at most LONGEST_PASSWORD characters."""
    return make_password(password, hasher="argon2")


def password_is_right(password: str, stored: Any) -> bool:
    """Whether `password` made the hash `stored`: never, where that is no text; None is an account that does not exist.

    Takes the same time for every refusal.
    """
    encoded = from_monolith(stored) if isinstance(stored, str) else ""
    compared = []
    for hasher in (PatientArgon2Hasher(), MonolithBcryptHasher()):
        if encoded.startswith(f"{hasher.algorithm}$"):
            with suppress(ValueError, VerificationError):  # a hash that cannot be read lets nobody in
                if hasher.verify(password, encoded):
                    return True
                compared.append(hasher.algorithm)
    _spend_what_was_saved(password, compared)
    return False


def needs_upgrade(password: str, stored: str) -> bool:
    """Whether a hash that `password` was just found to have made should be replaced by `password_hash` of it.

    Not when bcrypt saw the beginning only: it may be another password that begins alike.
    """
    encoded = from_monolith(stored)
    if encoded.startswith(MONOLITH_PREFIX):
        return len(password.encode()) < BCRYPT_BYTES
    return PatientArgon2Hasher().must_update(encoded)


def _spend_what_was_saved(password: str, compared: list[str | None]) -> None:
    for hasher in (PatientArgon2Hasher(), MonolithBcryptHasher()):
        if hasher.algorithm not in compared:
            hasher.verify(password, _nobodys_hash(str(hasher.algorithm)))


def prepare() -> None:
    """Make the hashes that stand for nobody's, so that the first refusal of a process takes no longer than the next."""
    for hasher in (PatientArgon2Hasher(), MonolithBcryptHasher()):
        _nobodys_hash(str(hasher.algorithm))


@cache
def _nobodys_hash(algorithm: str) -> str:
    return make_password(secrets.token_urlsafe(), hasher=algorithm)
