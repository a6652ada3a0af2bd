"""Settings of the events that only hold together."""

import pytest
from pytest_django import Settings

from events.checks import check_events


def test_the_defaults_hold_together() -> None:
    assert check_events() == []


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("EVENTS_CONFIRM_SECONDS", 29, []),
        ("EVENTS_CONFIRM_SECONDS", 30, ["events.E001"]),
        ("EVENTS_LEASE_SECONDS", 10, ["events.E001"]),
        ("EVENTS_PREFETCH", 20, []),
        ("EVENTS_PREFETCH", 21, ["events.E002"]),
    ],
)
def test_a_pair_that_breaks_a_promise_is_refused(settings: Settings, name: str, value: int, wrong: list[str]) -> None:
    setattr(settings, name, value)

    problems = check_events()

    assert [problem.id for problem in problems] == wrong
    assert all(name in problem.msg or "EVENTS_LEASE_SECONDS" in problem.msg for problem in problems)
