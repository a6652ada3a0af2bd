"""ETags."""

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from booking_service.api.conditional import check_if_match, etag_for, is_known, not_modified
from booking_service.api.errors import PreconditionFailed


def request(**headers: str) -> HttpRequest:
    return RequestFactory().get("/", headers=headers)


def test_it_tags_versions_and_bytes() -> None:
    assert etag_for(7) == '"7"'
    assert etag_for(b"a") == etag_for(b"a") != etag_for(b"b")


@pytest.mark.parametrize("header", ['"7"', "*", '"6", "7"'])
def test_it_lets_a_matching_version_pass(header: str) -> None:
    check_if_match(request(**{"If-Match": header}), '"7"')


def test_it_lets_a_request_without_if_match_pass() -> None:
    check_if_match(request(), '"7"')


@pytest.mark.parametrize("header", ['"6"', 'W/"7"', "7", "", "banana"])
def test_it_refuses_another_version(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        check_if_match(request(**{"If-Match": header}), '"7"')


@pytest.mark.parametrize(
    ("header", "known"), [('"7"', True), ('W/"7"', True), ("*", True), ('"6", "7"', True), ('"6"', False), ("", False)]
)
def test_it_knows_what_the_client_has(header: str, known: bool) -> None:
    assert is_known(request(**{"If-None-Match": header}), '"7"') is known


def test_it_answers_not_modified_without_a_body() -> None:
    response = not_modified('"7"', {"Cache-Control": "max-age=5"})

    assert (response.status_code, response.content) == (304, b"")
    assert dict(response.headers) == {"ETag": '"7"', "Cache-Control": "max-age=5"}
