"""catalog.changes: what the history says."""

from typing import Any

import pytest
from bson import Decimal128

from catalog.changes import LEAD_IN, LONGEST_TEXT, differences


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": Decimal128("1.50")}, {"a": 1.5}, []),
        ({"a": {"b": 499}}, {"a": {"b": Decimal128("549.50")}}, [("a.b", "499", "549.5")]),
        ({"a": True}, {"a": False}, [("a", "yes", "no")]),
        ({}, {"a": "new"}, [("a", "", "new")]),
        ({"a": "old"}, {}, [("a", "old", "")]),
        ({"a": None}, {}, []),
        ({"a": ["x"]}, {"a": ["x", "y"]}, [("a", "", "y")]),
        ({"a": ["x", "y", "z"]}, {"a": ["x", "Y", "z"]}, [("a", "y", "Y")]),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, [("a", "x\ny", "y\nx")]),
        ({"a": ["x\ny"]}, {"a": ["x", "y"]}, [("a", "x\ny", "x\ny")]),
        ({"a": [{"q": "1 - 2", "a": "3"}]}, {"a": [{"q": "1", "a": "2 - 3"}]}, [("a", "1 - 2 - 3", "1 - 2 - 3")]),
        ({"a": [{"q": 1, "_id": "x"}]}, {"a": [{"q": 1.0, "b": None}]}, []),
        ({"a": []}, {}, []),
        ({"a": "x"}, {"a": ["x", "y"]}, [("a", "", "y")]),
        ({"a": [{"start": "18:00", "end": "22:00"}]}, {"a": []}, [("a", "18:00 - 22:00", "")]),
        ({"a": 100}, {"a": 1000}, [("a", "100", "1000")]),
    ],
)
def test_it_tells_what_changed(before: Any, after: Any, said: list[tuple[str, str, str]]) -> None:
    assert [(part["field"], part["before"], part["after"]) for part in differences(before, after)] == said


def told(before: Any, after: Any) -> tuple[str, str]:
    [change] = differences({"a": before}, {"a": after})
    return change["before"], change["after"]


def test_it_sees_a_change_far_into_a_long_text_and_shows_its_place() -> None:
    old, new = "x" * 2400 + "old" + "y" * 900, "x" * 2400 + "new" + "y" * 900

    before, after = told(old, new)

    assert before == "…" + "x" * LEAD_IN + "old" + "y" * 900
    assert after == "…" + "x" * LEAD_IN + "new" + "y" * 900
    assert told("x" * 4000, "x" * 4000 + "!") == ("…" + "x" * LEAD_IN, "…" + "x" * LEAD_IN + "!")


def test_it_cuts_both_ends_of_what_is_too_long() -> None:
    before, after = told("x" * 3000 + "a" * 4000, "")
    assert (before, after) == ("x" * (LONGEST_TEXT - 1) + "…", "")

    before, after = told("x" * 3000 + "a" * 4000, "x" * 3000 + "b")
    assert (len(before), before[0], before[-1]) == (LONGEST_TEXT, "…", "…")
    assert after == "…" + "x" * LEAD_IN + "b"


def test_it_sees_one_more_answer_after_five_long_ones() -> None:
    long = [{"question": f"{number}?", "answer": "z" * 1900} for number in range(5)]
    assert told(long, [*long, {"question": "And?", "answer": "Yes."}]) == ("", "And? - Yes.")
    assert told(long, long[1:]) == (f"0? - {'z' * 1900}", "")


def test_it_tells_what_differs_in_lists_of_thousands_at_once() -> None:
    lines = [str(n % 7) for n in range(5_000)]
    assert told(lines, [*lines[::-1], "new"]) == ("", "new")
