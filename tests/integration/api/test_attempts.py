"""Attempts to prove who one is: no more than five wrong ones in a window, however many come at once, and no fewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import pytest
from django.db import OperationalError
from django_redis import get_redis_connection

from booking_service.api import attempts, throttling
from booking_service.api.attempts import FAILURES, AttemptLimits, TooManyAttempts
from booking_service.api.bulkhead import Bulkhead, Busy
from booking_service.api.throttling import Counters

R = TypeVar("R")
LIMITS = AttemptLimits("test")


class WrongPassword(Exception):
    pass


@pytest.fixture(params=["redis", "here"], autouse=True)
def counting(request, settings, monkeypatch):
    settings.RATE_LIMIT_ENABLED = True
    counters = Counters()
    if request.param == "here":
        counters._redis_failed_at = time.monotonic() + 3600
    monkeypatch.setattr(throttling, "_shared", counters)
    monkeypatch.setattr(attempts, "_here", attempts._Here())
    yield request.param
    assert (counters._redis_failed_at is None) is (request.param == "redis"), "the script broke"


def tried(*, right: bool, account: str = "asha", address: str = "10.0.0.1", seconds: float = 0.0) -> bool:
    """Whether the password was looked at."""
    try:
        with LIMITS.attempt(account=account, address=address):
            time.sleep(seconds)
            if not right:
                raise WrongPassword
    except WrongPassword:
        return True
    except TooManyAttempts:
        return False
    return True


def at_once(count: int, attempt: Callable[[int], R]) -> list[R]:
    barrier = threading.Barrier(count)

    def one(number: int) -> R:
        barrier.wait()
        return attempt(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_thirty_right_sign_ins_from_one_address_at_once_all_come_in() -> None:
    assert all(at_once(30, lambda number: tried(right=True, account=f"patient{number}", seconds=0.02)))


def test_twelve_right_sign_ins_of_one_account_at_once_all_come_in() -> None:
    assert all(at_once(12, lambda number: tried(right=True, address=f"10.0.0.{number}", seconds=0.02)))


@pytest.mark.parametrize("same", ["account", "address", "both"])
def test_of_thirty_guesses_at_once_five_are_looked_at(same: str) -> None:
    def guess(number: int) -> bool:
        account = "asha" if same != "address" else f"patient{number}"
        return tried(right=False, account=account, address="10.0.0.1" if same != "account" else f"10.0.0.{number}")

    assert sum(at_once(30, guess)) == FAILURES
    assert not guess(31)


@pytest.mark.parametrize("seed", range(4))
def test_guesses_between_right_sign_ins_are_five_as_well(seed: int) -> None:
    """Places that are given back let in who waits, but never a sixth guess."""
    looked_at: list[int] = []

    def attempt(number: int) -> bool:
        right = (number + seed) % 3 > 0
        seen = tried(right=right, account=f"patient{number}", seconds=0.005 * (number % 4))
        if seen and not right:
            looked_at.append(number)
        return seen

    at_once(40, attempt)
    assert len(looked_at) == FAILURES


def test_a_sixth_guess_is_refused_at_once_and_told_for_how_long() -> None:
    for _ in range(FAILURES):
        tried(right=False)
    began = time.monotonic()
    with pytest.raises(TooManyAttempts) as refusal, LIMITS.attempt(account="asha", address="10.0.0.2"):
        raise AssertionError("looked at")
    assert 890 <= (refusal.value.retry_after or 0) <= 900
    assert time.monotonic() - began < 0.5


def test_who_waits_for_nothing_is_told_to_come_back(monkeypatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_SECONDS", 0.1)
    with ThreadPoolExecutor(FAILURES) as pool:
        slow = [pool.submit(tried, right=True, seconds=0.6) for _ in range(FAILURES)]
        time.sleep(0.2)
        with pytest.raises(TooManyAttempts) as refusal, LIMITS.attempt(account="asha", address="10.0.0.2"):
            raise AssertionError("looked at")
    assert refusal.value.retry_after == 1
    assert all(attempt.result() for attempt in slow)


def test_those_who_wait_leave_places_to_hash_to_others(monkeypatch, settings) -> None:
    settings.PASSWORD_HASHES_AT_ONCE = 5
    monkeypatch.setattr(attempts, "WAITING_ATTEMPTS", Bulkhead("PASSWORD_HASHES_AT_ONCE", share=0.5))

    def one(number: int) -> bool | None:
        try:
            return tried(right=True, seconds=0.6)
        except Busy:
            return None

    assert sorted(at_once(FAILURES + 5, one), key=str) == [None] * 3 + [True] * (FAILURES + 2)


def test_successes_and_a_silent_database_count_for_nothing() -> None:
    for _ in range(FAILURES + 2):
        assert tried(right=True)
        with suppress(OperationalError), LIMITS.attempt(account="asha", address="10.0.0.1"):
            raise OperationalError
    assert [tried(right=False) for _ in range(FAILURES + 1)] == [True] * FAILURES + [False]


def test_a_success_owes_nothing_to_a_window_that_began_since(monkeypatch) -> None:
    """Else its place would be given back in the new window, and a sixth guess be looked at there."""
    monkeypatch.setattr(attempts, "WINDOW_SECONDS", 0.3)
    with LIMITS.attempt(account="asha", address="10.0.0.1"):
        time.sleep(0.4)
        monkeypatch.setattr(attempts, "WINDOW_SECONDS", 900)
        assert [tried(right=False) for _ in range(FAILURES)] == [True] * FAILURES
    assert not tried(right=False)


def test_what_a_dead_process_took_is_free_again_after_a_while(monkeypatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(attempts, "PLACE_SECONDS", 0.3)
    for _ in range(2):
        attempts._begun([throttling.key_name("test-account", "asha")])
    assert [tried(right=False) for _ in range(FAILURES - 1)] == [True] * (FAILURES - 2) + [False]
    time.sleep(0.4)
    assert [tried(right=False) for _ in range(3)] == [True] * 2 + [False]


def test_a_guess_that_takes_longer_than_its_place_counts_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(attempts, "PLACE_SECONDS", 0.1)
    assert tried(right=False, seconds=0.2)
    assert [tried(right=False) for _ in range(FAILURES)] == [True] * (FAILURES - 1) + [False]


def begun(count: int) -> ExitStack:
    """Attempts that are being looked at, until it is closed."""
    stack = ExitStack()
    for _ in range(count):
        stack.enter_context(LIMITS.attempt(account="asha", address="10.0.0.1"))
    return stack


@contextmanager
def redis_away() -> Iterator[None]:
    """Redis as after a failure, when nothing is sent to it."""
    counters = throttling.counters()
    before, counters._redis_failed_at = counters._redis_failed_at, time.monotonic() + 3600
    yield
    counters._redis_failed_at = before


def test_right_sign_ins_that_redis_hears_no_end_of_shut_nobody_out(monkeypatch) -> None:
    monkeypatch.setattr(attempts, "PLACE_SECONDS", 0.3)
    looked_at = begun(FAILURES)
    with redis_away():
        looked_at.close()
    assert tried(right=True)  # it waits for a place to end, no longer than for one that is given back


def test_right_sign_ins_that_began_while_redis_was_away_shut_nobody_out() -> None:
    with redis_away():
        looked_at = begun(FAILURES)
    looked_at.close()
    with redis_away():
        assert [tried(right=False) for _ in range(FAILURES + 1)] == [True] * FAILURES + [False]


def test_guesses_that_redis_hears_no_end_of_count_here() -> None:
    looked_at = begun(FAILURES)
    with redis_away():
        with pytest.raises(WrongPassword), looked_at:
            raise WrongPassword
        assert not tried(right=False)


def test_windows_here_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(attempts._Here, "MOST_KEYS", 10)
    for number in range(40):
        attempts._here.take(str(number), "one")
    assert len(attempts._here._windows) <= 10


def test_no_key_is_written_in_clear_and_none_without_an_end(counting) -> None:
    tried(right=False, account="asha@example.com")
    client = get_redis_connection("default")
    names = [name.decode() for name in client.scan_iter("patient-booking:limit:test-*")]
    assert len(names) == (2 if counting == "redis" else 0)
    for name in names:
        assert "asha" not in name
        assert 0 < client.ttl(name) <= 900
