"""Integration tests run on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from catalog import cache


@pytest.fixture(autouse=True)
def _database(database: None) -> None:
    """Every test here may use the database."""


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog's cache asks Redis each time, as where a process is asked seldom: tests follow each other fast."""
    monkeypatch.setattr(cache, "TRUST_SECONDS", 0.0)


class Profiler:
    """MongoDB's profiler, which tells what each operation read."""

    def __init__(self, database: Any) -> None:
        self.database, self.entries = database, database["system.profile"]

    def start(self) -> None:
        """Forget what was read so far."""
        self.stop()
        self.database.command("profile", 2)

    def stop(self) -> None:
        self.database.command("profile", 0)
        self.entries.drop()

    def reads(self, collection: str = "") -> list[dict[str, Any]]:
        """What was read of it since the start, or of all collections, and how."""
        return list(self.entries.find({"planSummary": {"$exists": True}, "ns": {"$regex": f"{collection}$"}}))


@pytest.fixture
def profiled() -> Iterator[Profiler]:
    profiler = Profiler(connection.database)  # type: ignore[attr-defined]  # the engine's
    profiler.start()
    yield profiler
    profiler.stop()
