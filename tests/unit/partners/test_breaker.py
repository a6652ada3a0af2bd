"""The breaker alone: no network, its clock moved by hand."""

import threading

import pytest
import time_machine

from booking_service.partners.breaker import BreakerState, CircuitOpen, PartnerBreaker
from booking_service.partners.exceptions import PartnerFault


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: now[0])
    return now


@pytest.fixture
def changes() -> list[BreakerState]:
    return []


@pytest.fixture
def breaker(clock: list[float], changes: list[BreakerState]) -> PartnerBreaker:
    return PartnerBreaker("payments", failure_threshold=5, recovery_seconds=30, on_change=changes.append)


def fail(breaker: PartnerBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PartnerFault), breaker.guard():
            raise PartnerFault("status")


def test_it_opens_after_five_failures_in_a_row(breaker, changes):
    fail(breaker, 4)
    assert breaker.state == "closed"

    fail(breaker)

    assert breaker.state == "open"
    assert changes == [BreakerState.OPEN]
    with pytest.raises(CircuitOpen) as refusal, breaker.guard():
        pytest.fail("the call was made")
    assert refusal.value.retry_after == 30


def test_it_forgets_failures_after_a_success(breaker):
    fail(breaker, 4)
    with breaker.guard():
        pass
    fail(breaker, 4)

    assert breaker.state == "closed"


def test_it_does_not_count_what_is_not_the_partners_fault(breaker):
    for error in [ValueError, KeyboardInterrupt, SystemExit] * 3:
        with pytest.raises(error), breaker.guard():
            raise error

    assert breaker.state == "closed"


def test_it_closes_when_the_probe_succeeds(breaker, clock, changes):
    fail(breaker, 5)
    clock[0] += 30
    assert breaker.state == "half_open"

    with breaker.guard() as permit:
        assert permit.is_probe

    assert breaker.state == "closed"
    assert changes == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_it_opens_for_the_whole_time_again_when_the_probe_fails(breaker, clock):
    fail(breaker, 5)
    clock[0] += 31
    fail(breaker)

    clock[0] += 29
    assert breaker.state == "open"
    clock[0] += 1
    assert breaker.state == "half_open"


def test_it_lets_exactly_one_of_fifty_threads_probe(breaker, clock):
    fail(breaker, 5)
    clock[0] += 30
    start, release, made, refused = threading.Barrier(50), threading.Event(), [], []

    def call() -> None:
        start.wait()
        try:
            with breaker.guard():
                made.append(1)
                release.wait(10)
        except CircuitOpen:
            refused.append(1)
            if len(refused) == 49:
                release.set()

    threads = [threading.Thread(target=call) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert (len(made), len(refused)) == (1, 49)
    assert breaker.state == "closed"


def test_it_gives_the_probe_to_another_when_a_probe_ends_without_a_verdict(breaker, clock):
    fail(breaker, 5)
    clock[0] += 30
    with pytest.raises(SystemExit), breaker.guard():
        raise SystemExit
    assert breaker.state == "half_open"

    with breaker.guard() as permit:
        assert permit.is_probe

    assert breaker.state == "closed"


def test_a_late_success_does_not_close_an_open_circuit(breaker):
    with breaker.guard():
        fail(breaker, 5)

    assert breaker.state == "open"


def test_a_late_failure_does_not_lengthen_the_opening(breaker, clock):
    with pytest.raises(PartnerFault), breaker.guard():
        fail(breaker, 5)
        clock[0] += 20
        raise PartnerFault("timeout")

    clock[0] += 10
    assert breaker.state == "half_open"


def test_a_late_success_does_not_end_the_probe_of_another(breaker, clock):
    with breaker.guard():
        fail(breaker, 5)
        clock[0] += 30
        probe = breaker.guard()
        assert probe.__enter__().is_probe

    with pytest.raises(CircuitOpen), breaker.guard():
        pytest.fail("a second probe")
    probe.__exit__(None, None, None)
    assert breaker.state == "closed"


def test_its_texts_do_not_repeat_the_last_failure(breaker):
    for _ in range(5):
        with pytest.raises(PartnerFault), breaker.guard():
            raise PartnerFault("patient 98765 has diabetes")

    with pytest.raises(CircuitOpen) as refusal, breaker.guard():
        pytest.fail("the call was made")

    assert "98765" not in str(refusal.value) + repr(vars(breaker)) + repr(vars(breaker._circuit))


def test_it_does_not_mind_the_wall_clock(breaker):
    fail(breaker, 5)
    with time_machine.travel("2040-01-01T00:00:00Z", tick=False):
        assert breaker.state == "open"


def test_reset_closes_and_forgets(breaker, changes):
    fail(breaker, 5)
    breaker.reset()

    assert breaker.state == "closed"
    fail(breaker, 4)
    assert breaker.state == "closed"
