"""catalog.search: literal, whatever is typed; best match first, and nothing that matches is missed."""

from collections.abc import Iterable
from typing import Any

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from catalog.search import SearchIndex, entry_of, normalised

DOCUMENT = {
    "_id": ObjectId(),
    "name": "KNEE_PAIN_PHYSIO",
    "displayName": "Knee pain physiotherapy",
    "shortDescription": "For arthritis",
    "longDescription": "Strengthens   the muscles",
    "seo": {"keywords": ["joint"]},
}
words = st.text(max_size=12)
documents = st.fixed_dictionaries(
    {
        "_id": st.builds(ObjectId),
        "sortOrder": st.none() | st.integers(0, 3),
        "name": words,
        "displayName": words,
        "shortDescription": words,
        "longDescription": words,
        "seo": st.fixed_dictionaries({"keywords": st.lists(words, max_size=2)}),
    }
)


def place(query: str) -> int | None:
    return entry_of(DOCUMENT).place(normalised(query))


def place_by_definition(document: dict[str, Any], query: str) -> int | None:
    """The promise of `Entry.place`, text by text."""
    raw = [document["name"], document["name"].replace("_", " "), document["displayName"]]
    names = [normalised(text) for text in raw]
    if query in names:
        return 0
    if any(name.startswith(query) for name in names):
        return 1
    if any(f" {query}" in name for name in names):
        return 2
    rest = [document["seo"]["keywords"], [document["shortDescription"]], [document["longDescription"]]]
    for number, texts in enumerate([names, *([normalised(text) for text in texts] for texts in rest)]):
        if any(query in text for text in texts):
            return 3 + number
    return None


def test_it_ranks_by_where_the_query_is_found() -> None:
    queries = ["Knee Pain Physiotherapy", "knee", "PAIN", "nee", "joint", "arthr", "muscles"]
    assert [place(query) for query in queries] == [0, 1, 2, 3, 4, 5, 6]


def test_it_finds_the_name_with_and_without_underscores() -> None:
    assert place("knee_pain_physio") == place("knee pain physio") == 0


def test_it_finds_nothing_that_is_not_there() -> None:
    assert [place(query) for query in ("elbow", ".*", "k.ee", "(knee", "knee$")] == [None] * 5


def test_it_finds_nothing_that_only_two_texts_together_hold() -> None:
    assert [place(query) for query in ("physio knee", "joint for", "arthritis strengthens")] == [None] * 3


def test_it_minds_neither_case_nor_white_space() -> None:
    assert place("  STRENGTHENS the\tmuscles ") == 6


def test_it_searches_a_document_that_has_only_a_name() -> None:
    assert entry_of({"_id": ObjectId(), "name": "X_RAY"}).place("ray") == 2


def test_it_shows_the_best_match_first_and_equal_ones_in_the_catalogs_order() -> None:
    entries = [entry_of({"_id": ObjectId(), "name": name}) for name in ("DEEP_REST", "REST", "ARREST", "LONG_REST")]

    found = SearchIndex(entries).matches("rest")

    assert [entries.index(entry) for entry in found] == [1, 0, 3, 2]


def index_of(documents: Iterable[dict[str, Any]]) -> SearchIndex:
    """Made of all, as MongoDB sorts them: first those without a place, then by place, then by id."""

    def place(document: dict[str, Any]) -> Any:
        return document["sortOrder"] is not None, document["sortOrder"] or 0, document["_id"]

    return SearchIndex(map(entry_of, sorted(documents, key=place)))


@given(st.lists(documents, max_size=6), st.lists(documents, max_size=3), st.data())
def test_it_is_updated_to_what_it_would_be_if_it_were_made_anew(before: list[Any], added: list[Any], data: Any) -> None:
    fates = [data.draw(st.sampled_from(["left alone", "changed", "deleted"])) for _ in before]
    untouched = [one for one, fate in zip(before, fates, strict=True) if fate == "left alone"]
    changed = [
        data.draw(documents) | {"_id": one["_id"]} for one, fate in zip(before, fates, strict=True) if fate == "changed"
    ]
    touched = {one["_id"] for one in (*before, *added) if one not in untouched}

    updated = index_of(before).updated(touched, map(entry_of, [*changed, *added]))

    assert updated.entries == index_of([*untouched, *changed, *added]).entries


@given(documents, words, st.data())
def test_it_finds_whatever_a_text_holds_and_ranks_it_as_promised(document: Any, other: str, data: Any) -> None:
    texts = [document["name"], document["displayName"], document["shortDescription"], document["longDescription"]]
    text = normalised(data.draw(st.sampled_from([*texts, *document["seo"]["keywords"], other])))
    start = data.draw(st.integers(0, len(text)))
    query = normalised(text[start : data.draw(st.integers(start, len(text)))])

    assert not query or entry_of(document).place(query) == place_by_definition(document, query)


def test_it_finds_the_rest_of_a_document_with_something_of_another_kind_in_it() -> None:
    odd: list[dict[str, Any]] = [
        {"name": 5, "displayName": ["Knee pain"]},
        {"shortDescription": 5, "longDescription": ["For the knee"]},
        {"seo": {"keywords": ["covid", 19]}, "sortOrder": ["first"]},
        {"seo": [{}], "availability": "everywhere"},
        {"seo": {"keywords": 7}, "sortOrder": None},
    ]
    entries = [entry_of({**DOCUMENT, "_id": ObjectId(), **changes}) for changes in odd]

    assert len(SearchIndex(entries).matches("knee")) == len(odd)
    assert [len(SearchIndex(entries).matches(query)) for query in ("covid", "muscles")] == [1, 4]
