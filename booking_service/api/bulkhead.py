"""Bulkheads: what takes long holds so many threads of a web process and no more; the others serve everybody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from django.conf import settings

from booking_service.api.errors import ServiceUnavailable


class Busy(ServiceUnavailable):
    """As many as may are doing this at the moment. Nothing was looked at, nothing was counted."""

    code = "BUSY"
    message = "Too many ask for this at the same moment. Try again in a second."
    retry_after = 1


class Bulkhead:
    """As many places in this process as ``setting`` says, or a ``share`` of them but one at least; who finds none free
    waits ``seconds`` for one."""

    def __init__(self, setting: str, *, share: float = 1.0, seconds: float = 0.0) -> None:
        self._setting = setting
        self._share = share
        self._seconds = seconds

    @cached_property
    def _places(self) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(max(1, int(getattr(settings, self._setting) * self._share)))

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place until the block, or the function that this decorates, ends. Raises Busy."""
        if not self._places.acquire(timeout=self._seconds):
            raise Busy
        try:
            yield
        finally:
            self._places.release()


# A hash takes 16 to 60 ms of the process's CPU. Held around all of a use case, so that who is refused costs next to
# nothing, and so that who waits for MongoDB or for an attempt of the same address is counted as well.
PASSWORD_HASHES = Bulkhead("PASSWORD_HASHES_AT_ONCE")
# Attempts that wait for others of their address or account hold a place to hash meanwhile: others keep half of them.
WAITING_ATTEMPTS = Bulkhead("PASSWORD_HASHES_AT_ONCE", share=0.5)
