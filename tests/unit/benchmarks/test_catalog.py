"""tests.benchmarks.catalog: what it asks, and that a bound that is missed fails the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.benchmarks import catalog


@pytest.fixture
def told() -> StringIO:
    """What the process of staff is told."""
    return StringIO()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, told: StringIO) -> Callable[[str], tuple[list[str], set[str]]]:
    """The rows, and what was asked, when slots of the service `slow` take ten times as long as anything else."""

    def rows(slow: str) -> tuple[list[str], set[str]]:
        asked: set[str] = set()

        def ask(_: catalog.Side, path: str) -> float:
            asked.add(path)
            return 10.0 if slow in path else 1.0

        monkeypatch.setattr(catalog, "REQUESTS", 2)
        monkeypatch.setattr(catalog.Side, "ask", ask)
        staff = SimpleNamespace(stdin=told, stdout=SimpleNamespace(readline=lambda: "done\n"))
        redis = SimpleNamespace(flushdb=lambda: None)
        side = catalog.Side(cast(Any, None), cast(Any, redis), cast(Any, staff))
        return list(catalog.table({catalog.FEW: side, catalog.MANY: side}, rounds=1)), asked

    return rows


def test_it_asks_services_with_seats_in_one_city_and_in_all(table: Any, told: StringIO) -> None:
    rows, asked = table("none")

    assert not any(map(catalog.is_missed, rows))
    for slug in catalog.BOOKED.values():
        assert sorted("city=" in path for path in asked if f"/{slug}/slots" in path) == [False, True]
    assert {"book", "change"} <= set(told.getvalue().split())
    assert "after each booking" in rows[-1]


def test_it_tells_which_bound_is_missed(table: Any) -> None:
    missed = [row for row in table("blood-pressure-check")[0] if catalog.is_missed(row)]
    assert len(missed) == 3
    assert all("2,000 visits" in row and "10.00 (≤ 3)" in row for row in missed)


@pytest.mark.parametrize(("verdict", "status"), [("✓", 0), ("missed", 1)])
def test_it_fails_when_a_bound_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: str, status: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["catalog"])
    for name in ("MongoServer", "RedisServer"):
        monkeypatch.setattr(catalog, name, lambda folder: nullcontext())
    monkeypatch.setattr(catalog, "started", lambda *_: None)
    monkeypatch.setattr(catalog, "table", lambda *_: ["| list | 1.00 | 4.00 | 4.00 (≤ 3) | ✓ |", f"| x | {verdict} |"])

    assert catalog.main() == status
    assert f"| x | {verdict} |" in capsys.readouterr().out
