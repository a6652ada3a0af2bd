"""``page`` and ``limit``."""

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from booking_service.api.errors import InvalidInput
from booking_service.api.pagination import Page, page_from, pagination


def asked(query: str) -> Request:
    return Request(APIRequestFactory().get(f"/?{query}"))


@pytest.mark.parametrize(
    ("query", "page"),
    [("", Page(1, 20)), ("page=3", Page(3, 20)), ("limit=100", Page(1, 100)), ("page=2&limit=1&sort=x", Page(2, 1))],
)
def test_it_reads_the_page(query: str, page: Page) -> None:
    assert page_from(asked(query)) == page


@pytest.mark.parametrize("value", ["0", "-1", "", "1.5", "x", "1e3", "٣", "1_0", "+1", "9" * 40, "0x1"])
@pytest.mark.parametrize("name", ["page", "limit"])
def test_it_refuses_what_is_no_whole_number_in_range(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        page_from(asked(f"{name}={value}"))

    assert [(e.field, e.code) for e in refused.value.errors] == [(name, "OUT_OF_RANGE")]


def test_it_refuses_a_limit_over_100() -> None:
    with pytest.raises(InvalidInput):
        page_from(asked("limit=101"))


def test_it_refuses_a_page_that_is_given_twice() -> None:
    with pytest.raises(InvalidInput):
        page_from(asked("page=1&page=2"))


def test_it_names_both_when_both_are_wrong() -> None:
    with pytest.raises(InvalidInput) as refused:
        page_from(asked("page=0&limit=0"))

    assert [e.field for e in refused.value.errors] == ["page", "limit"]


def test_it_skips_what_comes_before() -> None:
    assert Page(3, 20).skip == 40


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2)])
def test_it_counts_pages(total: int, pages: int) -> None:
    assert pagination(Page(1, 20), total) == {"page": 1, "limit": 20, "total": total, "pages": pages}
