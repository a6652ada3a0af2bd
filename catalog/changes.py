"""What differs between two states of a catalog document, as text for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any

from bson import Decimal128

LONGEST_TEXT = 2000  # of one side of a change; longer ones are cut around the first difference
MOST_COMPARED = 100_000  # pairs of items of two lists; the shortest way between longer ones takes minutes to find
LEAD_IN = 200  # characters shown before it
CUT = "…"

Document = Mapping[str, Any]


def differences(before: Document, after: Document) -> list[dict[str, str]]:
    """`{field, before, after}` for every dotted path whose value differs, in the order of the paths.

    Whole values are compared, and only what is told of them is cut. Of a list the items that differ are told.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changed = [path for path in sorted(old.keys() | new.keys()) if _known(old.get(path)) != _known(new.get(path))]
    return [_change(path, old.get(path), new.get(path)) for path in changed]


def _leaves(document: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _known(value: Any) -> Any:
    """The value as it is compared: numbers by what they are worth; nothing, an empty text and an empty list alike."""
    if isinstance(value, list):
        return tuple(map(_known, value)) or ""
    if isinstance(value, Mapping):
        parts = {name: _known(part) for name, part in value.items() if name != "_id"}
        return tuple(sorted((name, part) for name, part in parts.items() if part != ""))
    return _text(value)


def _change(path: str, old: Any, new: Any) -> dict[str, str]:
    if isinstance(old, list) or isinstance(new, list):
        told = _items_that_differ(old or [], new or [])
    else:
        told = (_text(old), _text(new))
    before, after = _around_difference(*told)
    return {"field": path, "before": before, "after": after}


def _items_that_differ(old: Any, new: Any) -> tuple[str, str]:
    """The items that went and those that came; all of them when only their order changed."""
    before, after = (
        [(_known(item), _text(item)) for item in (value if isinstance(value, list) else [value])]
        for value in (old, new)
    )
    if sorted(before, key=repr) == sorted(after, key=repr):
        gone, come = before, after
    elif len(before) * len(after) > MOST_COMPARED:
        gone = list((Counter(before) - Counter(after)).elements())
        come = list((Counter(after) - Counter(before)).elements())
    else:
        edits = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        gone = [item for kind, first, last, _, _ in edits if kind != "equal" for item in before[first:last]]
        come = [item for kind, _, _, first, last in edits if kind != "equal" for item in after[first:last]]
    return "\n".join(text for _, text in gone), "\n".join(text for _, text in come)


def _around_difference(before: str, after: str) -> tuple[str, str]:
    if max(len(before), len(after)) <= LONGEST_TEXT:
        return before, after
    pairs = enumerate(zip(before, after, strict=False))
    first = next((place for place, (old, new) in pairs if old != new), min(len(before), len(after)))
    begin = max(0, first - LEAD_IN)
    return _cut(before, begin), _cut(after, begin)


def _cut(text: str, begin: int) -> str:
    front = CUT if begin else ""
    whole = front + text[begin:]
    return whole if len(whole) <= LONGEST_TEXT else whole[: LONGEST_TEXT - 1] + CUT


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
