"""What a run of `tests.benchmarks.mixed_day` has shown: its tables, and what was not as it should be.

"What the machine can do" is the highest rate of the mixed day at which nothing fails, requests come as often as they
were meant to, and 95 % of them are answered within `P95_LIMIT_MS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import linear_regression, median

P95_LIMIT_MS = 250.0
ACHIEVED_AT_LEAST = 0.95
# The limits of the pods in k8s/. A web process is renewed after 200,000 requests, at 100 a second after half an hour.
MEMORY_LIMIT_MB = {"web": 768.0, "publish_events": 512.0, "consume_events": 512.0}
GROWTH_LIMIT_MB_PER_HOUR = 60.0
GROWTH_NEEDS_SECONDS = 300.0  # caches and allocators warm up for the first minutes


@dataclass(frozen=True, slots=True)
class Run:
    """One run of locust: a row per endpoint and one `Aggregated`, as its CSV has them; `target` requests a second."""

    rows: list[dict[str, str]]
    target: float

    @property
    def per_second(self) -> float:
        return float(self.rows[-1]["Requests/s"])

    @property
    def failed(self) -> int:
        return int(self.rows[-1]["Failure Count"])

    @property
    def p95(self) -> float:
        return float(self.rows[-1]["95%"])

    @property
    def came(self) -> bool:
        """Whether requests came as often as they were meant to."""
        return self.per_second >= ACHIEVED_AT_LEAST * self.target

    @property
    def holds(self) -> bool:
        """Whether the machine can do it."""
        return self.failed == 0 and self.came and self.p95 <= P95_LIMIT_MS


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process and its children in MB, every `seconds`."""

    name: str
    samples: list[float]
    seconds: float

    @property
    def growth_per_hour(self) -> float:
        """The slope of a line through the last two thirds: the first third warms up."""
        settled = self.samples[len(self.samples) // 3 :]
        slope, _ = linear_regression(range(len(settled)), settled)
        return slope / self.seconds * 3600

    @property
    def is_judged(self) -> bool:
        return len(self.samples) * self.seconds >= GROWTH_NEEDS_SECONDS

    @property
    def grows(self) -> bool:
        return self.is_judged and self.growth_per_hour > GROWTH_LIMIT_MB_PER_HOUR

    @property
    def is_too_large(self) -> bool:
        return max(self.samples) > MEMORY_LIMIT_MB[self.name]


@dataclass(frozen=True, slots=True)
class Left:
    """What there was after the run, when everything had had the time to finish."""

    waiting: dict[str, int]
    dead: int
    unpaid: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that a run has shown."""

    run: Run
    capacity: float
    minutes: float
    memory: list[Memory]
    backlog: list[dict[str, int]]
    paid: int
    left: Left

    def faults(self) -> list[str]:
        """What was not as it should be, a line each."""
        found = {
            f"{self.run.failed} requests failed": self.run.failed > 0,
            f"only {self.run.per_second:.0f} of {self.run.target:.0f} requests/s came": not self.run.came,
            f"{self.left.unpaid} payments had no effect": self.left.unpaid > 0,
            f"{self.left.dead} events were given up": self.left.dead > 0,
        }
        found |= {f"{n} events stayed in the lane {lane}": n > 0 for lane, n in self.left.waiting.items()}
        found |= {f"{one.name} grows by {one.growth_per_hour:.0f} MB/h": one.grows for one in self.memory}
        found |= {f"{one.name} takes {max(one.samples):.0f} MB": one.is_too_large for one in self.memory}
        return [text for text, true in found.items() if true]

    def markdown(self, machine: str, commit: str) -> str:
        """The run as a page."""
        lines = [
            f"{self.run.per_second:.0f} requests/s for {self.minutes:g} min, meant to be {self.run.target:.0f}/s, of"
            f" {self.capacity:.0f}/s that the machine can do",
            f"(without errors, p95 within {P95_LIMIT_MS:.0f} ms): {machine}, which also runs the load, MongoDB, Redis,",
            f"RabbitMQ and the partners' stand-ins. Commit {commit}.",
            "",
            *self._requests(),
            "",
            *self._memory(),
            "",
            *self._events(),
            "",
            "; ".join(self.faults()) or self._praise(),
        ]
        return "\n".join(lines) + "\n"

    def _praise(self) -> str:
        grown = "no growth" if all(one.is_judged for one in self.memory) else "too short a run to judge growth"
        return f"No errors, nothing left behind, {grown}."

    def _requests(self) -> list[str]:
        lines = ["| request | number | errors | p50 ms | p95 ms | p99 ms |", "|---|--:|--:|--:|--:|--:|"]
        for row in self.run.rows:
            name = f"{row['Type']} {row['Name']}".strip()
            figures = (row[column] for column in ("Request Count", "Failure Count", "50%", "95%", "99%"))
            lines.append(f"| {name} | {' | '.join(figures)} |")
        return lines

    def _memory(self) -> list[str]:
        lines = ["| process | MB at first | most | at last | MB an hour |", "|---|--:|--:|--:|--:|"]
        for one in self.memory:
            growth = f"{one.growth_per_hour:+.0f}" if one.is_judged else "too short to tell"
            first, most, last = one.samples[0], max(one.samples), one.samples[-1]
            lines.append(f"| {one.name} | {first:.0f} | {most:.0f} | {last:.0f} | {growth} |")
        return lines

    def _events(self) -> list[str]:
        lines = ["| waiting in the outbox | median | most | after the run |", "|---|--:|--:|--:|"]
        for lane, left in self.left.waiting.items():
            waited = [sample[lane] for sample in self.backlog]
            lines.append(f"| {lane} | {median(waited):.0f} | {max(waited)} | {left} |")
        return [*lines, "", f"Payments sent: {self.paid}, without effect: {self.left.unpaid}."]
