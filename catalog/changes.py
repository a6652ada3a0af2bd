"""What differs between two states of a catalog document, as text for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bson import Decimal128

LONGEST_TEXT = 2000

Document = Mapping[str, Any]


def differences(before: Document, after: Document) -> list[dict[str, str]]:
    """`{field, before, after}` for every dotted path whose value differs, in the order of the paths."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path, "") != new.get(path, "")]
    return [{"field": path, "before": old.get(path, ""), "after": new.get(path, "")} for path in changed]


def _leaves(document: Document, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, _text(value)[:LONGEST_TEXT]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return " - ".join(_text(part) for name, part in value.items() if name != "_id")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float, Decimal, Decimal128)):
        return format(Decimal(str(value)).normalize(), "f")
    return "" if value is None else str(value)
