"""How often one may guess a password: by account and by address.

An attempt counts as failed from its start and is taken back when it succeeds, so that parallel guesses cannot slip
through between looking and counting. Unknown accounts are limited like known ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from booking_service.api.throttling import RateLimit
from patients.exceptions import TooManyFailures

FAILURES = 5
WINDOW_SECONDS = 15 * 60

by_account = RateLimit("sign-in-account", FAILURES, WINDOW_SECONDS)
by_address = RateLimit("sign-in-address", FAILURES, WINDOW_SECONDS)


@contextmanager
def guarded_attempt(*, account: str, address: str) -> Iterator[None]:
    """One attempt to prove a password; leaving the block by an exception means it failed.

    Args:
        account: what names the account to its owner, in one spelling.
        address: where the attempt comes from.

    Raises:
        TooManyFailures: before the block runs, when the account or the address has failed too often.
    """
    counted = []
    for limit, key in ((by_address, address), (by_account, account)):
        verdict = limit.hit(key)
        counted.append((limit, key))
        if not verdict.allowed:
            _take_back(counted)
            raise TooManyFailures(retry_after=verdict.retry_after)
    yield
    _take_back(counted)


def _take_back(counted: list[tuple[RateLimit, str]]) -> None:
    for limit, key in counted:
        limit.release(key)
