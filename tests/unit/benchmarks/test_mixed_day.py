"""What `make load` calls a fault. The load itself is run by hand."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import mixed_day
from tests.benchmarks.mixed_day import Command, Day, command, meanwhile
from tests.benchmarks.verdict import Left, Memory, Run, Verdict

NOTHING_LEFT = Left(waiting={"BROKER": 0, "PARTNER": 0}, dead=0, unpaid=0)


def run(*, per_second: float = 100, failed: int = 0, p95: float = 50, target: float = 100) -> Run:
    row = {"Type": "", "Name": "Aggregated", "Request Count": "1000", "Failure Count": str(failed), "50%": "20"}
    return Run([{**row, "Requests/s": str(per_second), "95%": str(p95), "99%": "90"}], target)


def memory(first: float, per_hour: float, *, minutes: float = 10, name: str = "web") -> Memory:
    """A process that warms up by 100 MB within two minutes, then grows steadily."""
    warm = [
        first + min(second, 120) * 100 / 120 + second * per_hour / 3600 for second in range(0, int(minutes * 60), 5)
    ]
    return Memory(name, warm, 5)


def verdict(**differing: Any) -> Verdict:
    backlog = [{"BROKER": 3, "PARTNER": 4}]
    good = Verdict(run(), 140, 10, [memory(200, 0)], backlog, 5, NOTHING_LEFT)
    return replace(good, **differing)


def test_it_finds_no_fault_where_there_is_none() -> None:
    assert verdict().faults() == []


@pytest.mark.parametrize(
    ("differing", "fault"),
    [
        ({"run": run(failed=1)}, "1 requests failed"),
        ({"run": run(per_second=94)}, "only 94 of 100 requests/s came"),
        ({"left": replace(NOTHING_LEFT, waiting={"BROKER": 0, "PARTNER": 2})}, "2 events stayed in the lane PARTNER"),
        ({"left": replace(NOTHING_LEFT, waiting={"BROKER": 1, "PARTNER": 0})}, "1 events stayed in the lane BROKER"),
        ({"left": replace(NOTHING_LEFT, dead=3)}, "3 events were given up"),
        ({"left": replace(NOTHING_LEFT, unpaid=4)}, "4 payments had no effect"),
        ({"memory": [memory(200, 90)]}, "web grows by 90 MB/h"),
        ({"memory": [memory(700, 0)]}, "web takes 800 MB"),
    ],
)
def test_it_names_what_is_not_as_it_should_be(differing: dict[str, Any], fault: str) -> None:
    assert verdict(**differing).faults() == [fault]
    assert fault in verdict(**differing).markdown("a machine", "a commit")


def test_ten_percent_within_ten_minutes_is_growth() -> None:
    assert memory(300, 300).grows


def test_a_run_that_only_warms_up_is_not_judged() -> None:
    short = memory(200, 0, minutes=1)
    assert not short.grows
    assert "too short a run to judge growth" in verdict(memory=[short]).markdown("a machine", "a commit")
    assert "no growth" in verdict().markdown("a machine", "a commit")


@pytest.mark.parametrize(
    ("tried", "holds"),
    [(run(), True), (run(failed=1), False), (run(per_second=94), False), (run(p95=251), False)],
)
def test_a_machine_can_do_what_comes_without_errors_and_in_time(tried: Run, holds: bool) -> None:
    assert tried.holds is holds


def test_it_counts_what_waits_in_both_lanes() -> None:
    class Outbox:
        def count_documents(self, wanted: dict[str, str]) -> int:
            return {"BROKER": 1, "PARTNER": 2}[wanted["lane"]]

    assert Day("", {"outbox": Outbox()}, "", {}).waiting() == {"BROKER": 1, "PARTNER": 2}


def test_it_fails_when_what_should_go_on_meanwhile_breaks_off() -> None:
    def pay() -> None:
        raise OSError("no broker")

    with pytest.raises(RuntimeError, match="pay broke off"), meanwhile(pay, every=0.001):
        time.sleep(0.1)


def test_it_fails_when_a_worker_ends_by_itself(tmp_path: Path) -> None:
    worker = Command("worker", ("-c", "print('ready')"), "ready")
    with pytest.raises(RuntimeError, match="worker ended with 0"), command(worker, {}, tmp_path) as process:
        process.wait(10)


def test_it_runs_as_many_web_processes_as_a_deployment_with_partners_whose_answers_count() -> None:
    made = mixed_day.service_environment("mongodb://m/x", "redis://r", "amqp://q")
    assert "WEB_CONCURRENCY" not in made
    assert len({made[name] for name in mixed_day.ADDRESSES} - {"http://127.0.0.1:9"}) == 3
    assert made["ENVIRONMENT"] == "development", "production refuses the answers of stand-ins"


def test_what_the_machine_can_do_is_found_without_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = iter(
        [
            run(per_second=200),
            run(target=200),
            run(per_second=180, p95=300, target=180),
            run(target=160, per_second=160),
        ]
    )
    monkeypatch.setattr(mixed_day, "locust", lambda *_, **__: next(answers))
    monkeypatch.setattr(mixed_day, "drained", lambda _: {})

    assert mixed_day.capacity(Day("", None, "", {}), tmp_path) == 160


def test_it_seeks_no_further_when_requests_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run_failures.csv").write_text("Method,Name,Error,Occurrences\nGET,/api/services,500,3\n")
    monkeypatch.setattr(mixed_day, "locust", lambda *_, **__: run(failed=3))

    with pytest.raises(SystemExit, match="3 x GET /api/services: 500"):
        mixed_day.capacity(Day("", None, "", {}), tmp_path)
