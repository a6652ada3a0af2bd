"""catalog.changes: what the history says."""

from typing import Any

import pytest
from bson import Decimal128

from catalog.changes import differences


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
        ({"a": ["x"]}, {"a": ["x", "y"]}, [("a", "x", "x\ny")]),
        ({"a": [{"start": "18:00", "end": "22:00"}]}, {"a": []}, [("a", "18:00 - 22:00", "")]),
        ({"a": 100}, {"a": 1000}, [("a", "100", "1000")]),
    ],
)
def test_it_tells_what_changed(before: Any, after: Any, said: list[tuple[str, str, str]]) -> None:
    assert [(part["field"], part["before"], part["after"]) for part in differences(before, after)] == said
