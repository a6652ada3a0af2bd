"""One circuit breaker a partner: the `circuitbreaker` package, made safe for threads.

The package counts failures, opens and cools down. Left alone, it lets every waiting thread through once cooled, closes
on the late success of a call that began before it opened, and repeats the last failure in its error text. So here:

- one lock around every look and every change;
- after the cooling, exactly one call is let through as the probe, the others go on being turned away until it ends;
- an outcome counts only in the period (between two changes of state) in which its call began;
- the package is told *that* a call failed, never with what.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

from circuitbreaker import CircuitBreaker

from booking_service.partners.exceptions import PartnerFault


class BreakerState(StrEnum):
    """What a partner's breaker does with the next call."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class CircuitOpen(Exception):
    """The call was not made. `retry_after` is the number of whole seconds until the next probe may go out."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__("The circuit is open.")


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call: the period it belongs to, and whether it is the probe on which the circuit hangs."""

    period: int
    is_probe: bool


class _Failed(Exception):
    """All the package ever hears of a failure."""


def _fail() -> None:
    raise _Failed


class PartnerBreaker:
    """Opens after `failure_threshold` failures in a row, for `recovery_seconds`; `on_change` hears every new state."""

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int,
        recovery_seconds: float,
        on_change: Callable[[BreakerState], None] = lambda state: None,
    ) -> None:
        self._circuit = CircuitBreaker(failure_threshold, recovery_seconds, _Failed, name)
        self._on_change = on_change
        self._lock = threading.Lock()
        self._period = 0
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """The present state; an open circuit that has cooled down is half open."""
        with self._lock:
            return BreakerState(self._circuit.state)

    @contextmanager
    def guard(self) -> Iterator[Permit]:
        """Runs the body as one call: `PartnerFault` is a failure, a clean end a success, anything else is no verdict.

        Raises `CircuitOpen` without running the body while the circuit is open or its one probe is under way.
        """
        permit = self._admit()
        try:
            yield permit
        except PartnerFault:
            self._settle(permit, self._count_failure)
            raise
        except BaseException:
            self._settle(permit, lambda: None)
            raise
        self._settle(permit, self._circuit.reset)

    def reset(self) -> None:
        """Closes the circuit and forgets every failure and every call under way."""
        with self._lock:
            self._circuit.reset()
            self._period += 1
            self._probing = False

    def _admit(self) -> Permit:
        with self._lock:
            if self._circuit.closed:
                return Permit(self._period, is_probe=False)
            if self._circuit.opened or self._probing:
                raise CircuitOpen(max(1, self._circuit.open_remaining))
            self._probing = True
            self._period += 1
            self._on_change(BreakerState.HALF_OPEN)
            return Permit(self._period, is_probe=True)

    def _settle(self, permit: Permit, apply: Callable[[], None]) -> None:
        with self._lock:
            if permit.period != self._period:
                return
            before = BreakerState.HALF_OPEN if permit.is_probe else BreakerState.CLOSED
            apply()
            self._probing = False
            after = BreakerState(self._circuit.state)
            if after is not before:
                self._period += 1
                self._on_change(after)

    def _count_failure(self) -> None:
        with suppress(_Failed):
            self._circuit.call(_fail)
