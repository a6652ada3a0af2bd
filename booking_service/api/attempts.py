"""How often one may try to prove who one is.

An attempt counts as failed from its start and is taken back when it succeeds, so that parallel guesses cannot slip
through between looking and counting. Accounts that do not exist are limited like those that do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from booking_service.api.errors import TooManyRequests
from booking_service.api.throttling import RateLimit

FAILURES = 5
WINDOW_SECONDS = 15 * 60


class TooManyAttempts(TooManyRequests):
    """Too many failures for the account or from the address."""

    code = "TOO_MANY_ATTEMPTS"
    message = "Too many failed attempts. Try again later."


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """FAILURES in WINDOW_SECONDS for an account and for an address, apart from those of other `scope`s."""

    scope: str

    @contextmanager
    def attempt(self, *, account: str, address: str) -> Iterator[None]:
        """One attempt; leaving the block by an exception means it failed.

        Args:
            account: what names the account, in one spelling.
            address: where the attempt comes from.

        Raises:
            TooManyAttempts: before the block runs.
        """
        counted: list[tuple[RateLimit, str]] = []
        for kind, key in (("address", address), ("account", account)):
            limit = RateLimit(f"{self.scope}-{kind}", FAILURES, WINDOW_SECONDS)
            verdict = limit.hit(key)
            counted.append((limit, key))
            if not verdict.allowed:
                _take_back(counted)
                raise TooManyAttempts(retry_after=verdict.retry_after)
        yield
        _take_back(counted)


def _take_back(counted: list[tuple[RateLimit, str]]) -> None:
    for limit, key in counted:
        limit.release(key)
