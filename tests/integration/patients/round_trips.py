"""How often a piece of code asks MongoDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import bson
from pymongo.synchronous import pool

# Of an OP_MSG: header, flags, and the kind of its first section, which is the command's document.
BEFORE_THE_COMMAND = 21


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collects the name of each command that this thread sends while the block runs."""
    sent: list[str] = []
    thread, send = threading.get_ident(), pool.sendall

    def noted(connection: Any, message: bytes) -> None:
        if threading.get_ident() == thread:
            command = memoryview(message)[BEFORE_THE_COMMAND:]
            size = int.from_bytes(command[:4], "little")
            sent.append(next(iter(bson.decode(command[:size]))))
        send(connection, message)

    with mock.patch.object(pool, "sendall", noted):
        yield sent
