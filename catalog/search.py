"""Literal search, best match first. Pure: no Django, no database.

The texts of a thousand services are half a megabyte to one: they are kept in memory, one string for each service, and
read through. That finds any query, even in the middle of a word, and ranks a thousand matches in about a millisecond.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Set
from itertools import accumulate
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from bson import ObjectId

LONGEST_QUERY = 64

# Where in a service's texts a query is found, best first.
NAMES, KEYWORDS, SHORT, LONG = range(4)
WHOLE_NAME, START_OF_NAME, START_OF_WORD, IN_A_WORD = range(4)


def normalised(text: str) -> str:
    """The text as it is compared: case and runs of white space do not matter."""
    return " ".join(text.split()).casefold()


class Entry(NamedTuple):
    """What search knows of one service.

    `text` holds its texts, normalised, each between line breaks: names, keywords, short and long description in this
    order; `ends` are where in it each of these four ends.
    """

    service: ObjectId
    sort_order: float
    is_active: bool
    text: str
    ends: tuple[int, ...]

    def place(self, query: str) -> int | None:
        """How well the (normalised) query matches, 0 being best; None when it is nowhere in the texts.

        The whole name beats its beginning, that the beginning of a word in it, that the middle of a word, and all of
        them keywords, the short and the long description.
        """
        first = self.text.find(query)
        if first < 0:
            return None
        part = bisect_right(self.ends, first)
        return self._place_in_name(query) if part == NAMES else IN_A_WORD + part

    def _place_in_name(self, query: str) -> int:
        for place, framed in (
            (WHOLE_NAME, f"\n{query}\n"),
            (START_OF_NAME, f"\n{query}"),
            (START_OF_WORD, f" {query}"),
        ):
            if self.text.find(framed, 0, self.ends[NAMES]) >= 0:
                return place
        return IN_A_WORD


class SearchIndex:
    """The entries of all services, in the order in which equal matches are shown."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)

    def updated(self, services: Set[ObjectId], entries: Iterable[Entry]) -> SearchIndex:
        """An index with `entries` in the place of whatever this one has of `services`."""
        updated = [entry for entry in self.entries if entry.service not in services]
        for entry in entries:
            insort(updated, entry, key=attrgetter("sort_order", "service"))
        return SearchIndex(updated)

    def matches(self, query: str) -> list[Entry]:
        """The entries that hold the (normalised) query, best first."""
        by_place: list[list[Entry]] = [[] for _ in range(IN_A_WORD + LONG + 1)]
        for entry in self.entries:
            place = entry.place(query)
            if place is not None:
                by_place[place].append(entry)
        return [entry for entries in by_place for entry in entries]


def entry_of(document: Mapping[str, Any]) -> Entry:
    """What search knows of a catalog document: nothing of what is no text, where texts belong."""
    names, order = _texts(document.get("name")), document.get("sortOrder")
    by_part = [
        [*names, *(name.replace("_", " ") for name in names), *_texts(document.get("displayName"))],
        _texts(_part(document, "seo").get("keywords")),
        _texts(document.get("shortDescription")),
        _texts(document.get("longDescription")),
    ]
    parts = ["".join(f"{normalised(text)}\n" for text in texts) for texts in by_part]
    parts[NAMES] = f"\n{parts[NAMES]}"
    return Entry(
        service=document["_id"],
        sort_order=order if isinstance(order, int | float) else -inf,
        is_active=bool(_part(document, "availability").get("isActive", True)),
        text="".join(parts),
        ends=tuple(accumulate(map(len, parts))),
    )


def _texts(value: Any) -> list[str]:
    """The texts that a text, or a list of them, holds."""
    return [text for text in (value if isinstance(value, list) else [value]) if text and isinstance(text, str)]


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}
