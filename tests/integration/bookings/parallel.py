"""Many callers at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def in_parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run `calls`, a thread each, all at once; their answers, or the exceptions they raised."""
    barrier = Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - what a caller is refused with is what tests look at
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))
