"""The comparison as a table and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

SIDES = {"ours": "this service", "mongoose": "Express + Mongoose", "driver": "Express + bare driver"}
COLOURS = {"ours": "#1a7f64", "mongoose": "#8a8f98", "driver": "#c9ccd1"}
WIDTH, LEFT, BAR, GAP = 820, 250, 16, 26


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint: requests a second and p99 (ms) of each side, and the ratios that are promised."""

    title: str
    rates: dict[str, float]
    p99: dict[str, float]
    promised: dict[str, float]

    def ratio(self, other: str) -> float:
        return self.rates["ours"] / self.rates[other]

    @property
    def margin(self) -> float:
        """By how much the ratio that is furthest behind is ahead of what is promised: 1 is just reached."""
        return min(self.ratio(other) / least for other, least in self.promised.items())

    @property
    def holds(self) -> bool:
        """Whether both ratios are reached and the slowest answers are no slower than the Mongoose yardstick's."""
        return (
            all(self.ratio(o) >= least for o, least in self.promised.items())
            and self.p99["ours"] <= self.p99["mongoose"]
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the comparison."""

    rows: list[Row]
    memory_mb: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """All runs, and what they were made with."""

    runs: list[Run]
    commit: str
    machine: str
    versions: str

    @property
    def rows(self) -> list[Row]:
        """Each endpoint in the run that was worst for it."""
        return [min(rows, key=lambda row: row.margin) for rows in zip(*(run.rows for run in self.runs), strict=True)]

    @property
    def memory_mb(self) -> dict[str, float]:
        """The most that each side had in memory after a run."""
        return {name: max(run.memory_mb[name] for run in self.runs) for name in SIDES}


def markdown(report: Report) -> str:
    """The table of the worst run of each endpoint, with what it was measured on."""
    lines = [
        "| | this service | Express + Mongoose | Express + bare driver | to Mongoose | to driver | p99 (ms) | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in report.rows:
        rates = " | ".join(f"{row.rates[name]:,.0f}/s" for name in SIDES)
        ratios = " | ".join(f"**{row.ratio(o):.2f}** (≥ {least:g})" for o, least in row.promised.items())
        p99 = " / ".join(f"{row.p99[name]:.0f}" for name in SIDES)
        lines.append(f"| `{row.title}` | {rates} | {ratios} | {p99} | {'✓' if row.holds else 'missed'} |")
    memory = ", ".join(f"{SIDES[name]} {megabytes:.0f} MB" for name, megabytes in report.memory_mb.items())
    runs = f"the worst of {len(report.runs)} runs for each row" if len(report.runs) > 1 else "one run"
    return "\n".join(
        [
            *lines,
            "",
            f"One process each, `wrk -t1 -c16`, medians of alternating rounds, {runs}. Memory afterwards: {memory}.",
            f"Commit {report.commit}; {report.machine}; {report.versions}.",
            "",
        ]
    )


def svg(report: Report) -> str:
    """Horizontal bars, each endpoint scaled to the quickest of its sides."""
    height = 70 + len(report.rows) * (3 * BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        '     font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="16" y="24" font-size="15" font-weight="bold">Requests per second, one process, 16 connections</text>',
    ]
    for number, (name, label) in enumerate(SIDES.items()):
        left = 16 + number * 180
        parts.append(f'<rect x="{left}" y="36" width="12" height="12" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{left + 18}" y="46">{label}</text>')
    for number, row in enumerate(report.rows):
        parts += _bars(row, 64 + number * (3 * BAR + GAP))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _bars(row: Row, top: int) -> list[str]:
    most = max(row.rates.values())
    parts = [f'<text x="{LEFT - 10}" y="{top + 30}" text-anchor="end">{row.title}</text>']
    for number, name in enumerate(SIDES):
        width, y = (WIDTH - LEFT - 90) * row.rates[name] / most, top + number * BAR
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR - 3}" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{LEFT + width + 6:.0f}" y="{y + 11}">{row.rates[name]:,.0f}</text>')
    return parts


def keep(report: Report, folder: Path) -> None:
    """Write benchmark.md, benchmark.svg and benchmark.json."""
    folder.mkdir(exist_ok=True)
    head = "# This service beside the stack it replaces\n\n![requests per second](benchmark.svg)\n\n"
    (folder / "benchmark.md").write_text(head + markdown(report))
    (folder / "benchmark.svg").write_text(svg(report))
    (folder / "benchmark.json").write_text(json.dumps(asdict(report), indent=1) + "\n")
