"""Passwords: what is stored, what the monolith stored, and that a refusal always costs the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest

from patients import passwords

PASSWORD = "Secret414002x"
BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def test_it_stores_argon2id_of_a_size_that_fits_the_machine():
    stored = passwords.password_hash(PASSWORD)

    parameters = argon2.extract_parameters("$" + stored.split("$", 1)[1])
    assert parameters.type is argon2.Type.ID
    assert 19 * 1024 <= parameters.memory_cost <= 46 * 1024
    assert (parameters.time_cost, parameters.parallelism) == (2, 1)
    assert passwords.password_is_right(PASSWORD, stored)
    assert not passwords.needs_upgrade(PASSWORD, stored)


@pytest.mark.parametrize(
    "stored", [BCRYPT, "bcrypt$" + BCRYPT, BCRYPT.replace("$2b$", "$2a$")], ids=["plain", "as imported", "2a"]
)
def test_it_accepts_the_monoliths_hashes_and_wants_them_replaced(stored):
    assert passwords.password_is_right(PASSWORD, stored)
    assert not passwords.password_is_right(PASSWORD + "y", stored)
    assert passwords.needs_upgrade(PASSWORD, stored)


def test_the_monolith_saw_72_bytes_only():
    long = "é" * 36 + "tail"
    stored = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()

    assert passwords.password_is_right(long, stored)
    assert passwords.password_is_right("é" * 36 + "another tail", stored)
    assert not passwords.password_is_right("é" * 35 + "e", stored)


@pytest.mark.parametrize(("typed", "whole"), [("x" * 71, True), ("x" * 72, False), ("é" * 36 + "tail", False)])
def test_a_password_that_bcrypt_may_not_have_seen_whole_makes_no_new_hash(typed, whole):
    stored = bcrypt.hashpw(typed.encode()[:72], bcrypt.gensalt(4)).decode()

    assert passwords.password_is_right(typed, stored)
    assert passwords.needs_upgrade(typed, stored) is whole


def test_argon2_sees_every_character():
    stored = passwords.password_hash("a" * 127 + "b")
    assert not passwords.password_is_right("a" * 127 + "c", stored)


UNREADABLE = ["$2b$10$broken", "bcrypt$", "argon2$broken", "argon2$argon2id$v=19$m=19456,t=2,p=1$c2Fs$aGFzaA"]


@pytest.mark.parametrize("stored", ["", "!", "plain", "md5$a$b", None, 5, True, ["x"], {"$2": 1}, b"$2b$", *UNREADABLE])
def test_a_hash_that_cannot_be_read_lets_nobody_in(stored):
    assert not passwords.password_is_right(PASSWORD, stored)


@pytest.fixture
def work(monkeypatch) -> Counter[tuple[str, Any]]:
    """How often each hash is computed and found to be another's."""
    done: Counter[tuple[str, Any]] = Counter()
    argon2_verify, bcrypt_check = argon2.PasswordHasher.verify, bcrypt.checkpw

    def counted_argon2(self, encoded, password):
        try:
            return argon2_verify(self, encoded, password)
        except argon2.exceptions.VerifyMismatchError:
            done["argon2", argon2.extract_parameters(encoded).memory_cost] += 1
            raise

    def counted_bcrypt(password, hashed):
        right = bcrypt_check(password, hashed)
        done["bcrypt", hashed[4:6]] += 1
        return right

    passwords.password_is_right("warm", None)
    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted_argon2)
    monkeypatch.setattr(bcrypt, "checkpw", counted_bcrypt)
    return done


MONOLITH_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(passwords.MONOLITH_ROUNDS)).decode()


@pytest.mark.parametrize(
    "stored",
    [None, passwords.password_hash(PASSWORD), MONOLITH_HASH, "bcrypt$" + MONOLITH_HASH, "!", 5, *UNREADABLE],
    ids=["unknown email", "argon2", "monolith", "imported", "unusable", "no text", *UNREADABLE],
)
def test_every_refusal_is_one_argon2_and_one_bcrypt(work, stored):
    """Equal work rather than a stopwatch: the medians differ by the noise of the machine only."""
    assert not passwords.password_is_right("Wrong414002x", stored)
    assert work == {("argon2", 19 * 1024): 1, ("bcrypt", b"10"): 1}


def test_a_prepared_process_makes_no_hash_for_its_first_refusal(monkeypatch):
    passwords._nobodys_hash.cache_clear()
    passwords.prepare()

    def makes(*_args: Any, **_options: Any) -> str:
        raise AssertionError("a refusal made a hash")

    monkeypatch.setattr(passwords, "make_password", makes)
    assert not passwords.password_is_right(PASSWORD, None)


def test_web_processes_are_prepared():
    started = Path("gunicorn.conf.py").read_text().split("def post_worker_init", 1)[1].split("\ndef ", 1)[0]
    assert "passwords.prepare()" in started
