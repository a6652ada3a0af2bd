"""The bounds that `make event-figures` holds its figures to."""

import pytest

from tests.benchmarks.events import FIGURES, missed

GOOD = {
    "latency": {"bookings a second": 100.0, "median ms": 29.9, "p99 ms": 149.0, "max ms": 900.0},
    "drain": {"events": 20_000.0, "seconds": 6.0, "a second": 3000.0},
    "idle": {"publisher % of a core": 0.9, "consumer % of a core": 0.1},
    "consume": {"payments": 3000.0, "seconds": 6.0, "a second": 500.0},
}


@pytest.mark.parametrize("name", FIGURES)
def test_good_figures_miss_nothing(name: str) -> None:
    assert missed(name, GOOD[name]) == []


@pytest.mark.parametrize(
    ("name", "figure", "value"),
    [
        ("latency", "median ms", 30.0),
        ("latency", "p99 ms", 150.0),
        ("latency", "bookings a second", 94.0),
        ("drain", "a second", 2999.0),
        ("idle", "publisher % of a core", 1.0),
        ("idle", "consumer % of a core", 1.0),
        ("consume", "a second", 499.0),
    ],
)
def test_a_figure_that_misses_its_bound_is_named(name: str, figure: str, value: float) -> None:
    (line,) = missed(name, {**GOOD[name], figure: value})
    assert line.startswith(f"{name}: {figure} is ")
