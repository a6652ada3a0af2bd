"""Literal search, best match first. Pure: no Django, no database.

The index holds every run of one to three characters of a service's texts, so that any query, even one in the middle of
a word, is answered from it. What the runs find is a superset; `rank` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_QUERY = 64
LONGEST_RUN = 3

# Where a query is found, best first; `rank` counts on this order.
NAMES, KEYWORDS, SHORT, LONG = range(4)


def normalised(text: str) -> str:
    """The text as it is compared: case and runs of white space do not matter."""
    return " ".join(text.split()).casefold()


def searchable(document: Mapping[str, Any]) -> list[list[str]]:
    """The texts of a catalog document in which a query is looked for, normalised, by weight."""
    keywords = (document.get("seo") or {}).get("keywords") or []
    name = document.get("name") or ""
    by_weight: list[Iterable[str | None]] = [
        [name, name.replace("_", " "), document.get("displayName")],
        keywords,
        [document.get("shortDescription")],
        [document.get("longDescription")],
    ]
    return [[normalised(text) for text in texts if text] for texts in by_weight]


def runs(texts: Iterable[str]) -> list[str]:
    """Every run of up to LONGEST_RUN characters in `texts`, each once."""
    found = {t[i : i + n] for t in texts for n in range(1, LONGEST_RUN + 1) for i in range(len(t) - n + 1)}
    return sorted(found)


def query_runs(query: str) -> list[str]:
    """The runs that a text must hold to hold the (normalised) query: the longest ones, as they say most."""
    length = min(len(query), LONGEST_RUN)
    return sorted({query[i : i + length] for i in range(len(query) - length + 1)})


def rank(texts: list[list[str]], query: str) -> int | None:
    """How well the query matches, 0 being best; None when it is nowhere in the texts.

    The whole name beats its beginning, that the beginning of a word in it, that the middle of a word, and all of them
    keywords, the short and the long description.
    """
    names = texts[NAMES]
    if query in names:
        return 0
    if any(name.startswith(query) for name in names):
        return 1
    if any(f" {query}" in name for name in names):
        return 2
    for weight in (NAMES, KEYWORDS, SHORT, LONG):
        if any(query in text for text in texts[weight]):
            return 3 + weight
    return None
