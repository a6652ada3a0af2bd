"""catalog.search: literal, whatever is typed; the index never hides a match."""

from hypothesis import assume, given
from hypothesis import strategies as st

from catalog.search import normalised, query_runs, rank, runs, searchable

DOCUMENT = {
    "name": "KNEE_PAIN_PHYSIO",
    "displayName": "Knee pain physiotherapy",
    "shortDescription": "For arthritis",
    "longDescription": "Strengthens   the muscles",
    "seo": {"keywords": ["joint"]},
}
words = st.text(max_size=30)


def place(query: str) -> int | None:
    return rank(searchable(DOCUMENT), normalised(query))


def test_it_ranks_by_where_the_query_is_found() -> None:
    queries = ["Knee Pain Physiotherapy", "knee", "PAIN", "nee", "joint", "arthr", "muscles"]
    assert [place(query) for query in queries] == [0, 1, 2, 3, 4, 5, 6]


def test_it_finds_the_name_with_and_without_underscores() -> None:
    assert place("knee_pain_physio") == place("knee pain physio") == 0


def test_it_finds_nothing_that_is_not_there() -> None:
    assert [place(query) for query in ("elbow", ".*", "k.ee", "(knee", "knee$")] == [None] * 5


def test_it_minds_neither_case_nor_white_space() -> None:
    assert place("  STRENGTHENS the\tmuscles ") == 6


def test_it_searches_a_document_that_has_only_a_name() -> None:
    assert rank(searchable({"name": "X_RAY"}), "ray") == 2


@given(words, words, words)
def test_the_index_holds_every_run_of_every_text_that_holds_the_query(before: str, query: str, after: str) -> None:
    wanted = normalised(query)
    assume(wanted)  # nothing is searched for with nothing
    text = normalised(before) + wanted + normalised(after)
    assert set(query_runs(wanted)) <= set(runs([text]))


@given(words)
def test_it_asks_for_the_longest_runs_of_a_query(query: str) -> None:
    found = query_runs(query)
    assert all(run in query for run in found)
    assert {len(run) for run in found} <= {min(len(query), 3)}
