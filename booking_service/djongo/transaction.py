"""The one transaction. Django's own `transaction.atomic` does nothing on MongoDB."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.db import connection
from django_mongodb_backend.transaction import atomic, on_commit

from .errors import StillInConflict, is_transient, is_unreachable

P = ParamSpec("P")
R = TypeVar("R")

RETRY_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.1


def in_transaction() -> bool:
    """Whether the current thread has a MongoDB transaction open."""
    return bool(connection.in_atomic_block_mongo)  # type: ignore[attr-defined]


def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function` in a transaction, again from the start when MongoDB says that may help.

    Inside an open transaction it joins that one: only the outermost can be retried. `function` may run several times,
    so it must not do anything that a rollback does not undo; use `on_commit` for that.

    Raises:
        Whatever `function` raises; StillInConflict, a django.db.OperationalError, after RETRY_SECONDS of conflicts.
    """
    return run_within(RETRY_SECONDS, function, *args, **kwargs)


def run_within(seconds: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`run`, but giving up on conflicts after `seconds`: for callers with a better way to wait.

    A process that dies in a transaction leaves its locks behind until MongoDB's `transactionLifetimeLimitSeconds`.
    """
    if in_transaction():
        return function(*args, **kwargs)
    give_up_at = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with atomic():
                return function(*args, **kwargs)
        except Exception as error:
            if not is_transient(error):
                raise
            if time.monotonic() > give_up_at:
                if is_unreachable(error):
                    raise
                raise StillInConflict from error
        time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads retries, keeps no secret
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def transactional(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: every call of `function` is a `run` of it."""

    @functools.wraps(function)
    def in_a_transaction(*args: P.args, **kwargs: P.kwargs) -> R:
        return run(function, *args, **kwargs)

    return in_a_transaction


__all__: list[Any] = ["atomic", "in_transaction", "on_commit", "run", "run_within", "transactional"]
