"""Every answer has the envelope, whoever refuses: us, DRF, Django."""

import json
import logging
from typing import Any

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from tests.integration.api import routes

JSON = "application/json"


def refusal(response: Any) -> dict[str, Any]:
    """The body of a refusal, checked for its shape."""
    body = response.json()
    assert set(body) <= {"success", "message", "code", "errors", "requestId"}
    assert body["success"] is False
    assert body["message"]
    assert body["requestId"] == response["X-Request-ID"]
    assert response["Content-Type"] == JSON
    return body


def fields(response: Any) -> dict[str, str]:
    return {error["field"]: error["code"] for error in refusal(response)["errors"]}


def test_it_wraps_a_success(client: Client) -> None:
    response = client.get("/sample")

    assert response.status_code == 200
    assert response.json() == {"success": True, "data": {"id": "5" * 24}}
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Length"] == str(len(response.content))


@pytest.mark.parametrize("path", ["/nope", "/sample/", "/sample%00", "/%ff%fe", "//sample", "/.well-known/x"])
def test_it_wraps_an_unknown_route(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert refusal(response)["code"] == "NOT_FOUND"


def test_it_names_the_allowed_methods(client: Client) -> None:
    response = client.delete("/sample")

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, POST"
    assert refusal(response)["code"] == "METHOD_NOT_ALLOWED"


def test_it_answers_head_like_get(client: Client) -> None:
    response = client.head("/sample")

    assert (response.status_code, response.content) == (200, b"")


def test_it_takes_json_only(client: Client) -> None:
    response = client.post("/sample", {"name": "Asha"})

    assert response.status_code == 415
    assert refusal(response)["code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_it_takes_a_body_of_the_limit_and_no_more(client: Client) -> None:
    most = b'{"name":"x"}'.ljust(10_240)

    assert client.post("/sample", most, content_type=JSON).status_code == 201
    response = client.post("/sample", most + b" ", content_type=JSON)

    assert response.status_code == 413
    assert refusal(response)["code"] == "BODY_TOO_LARGE"


def test_it_limits_the_body_of_unknown_routes_too(client: Client) -> None:
    assert client.post("/nope", b" " * 10_241, content_type=JSON).status_code == 413


@pytest.mark.parametrize(("body", "code"), [(b"{}", "NOT_FOUND"), (b" " * 10_241, "BODY_TOO_LARGE")])
def test_it_counts_refusals_that_reach_no_view(client: Client, body: bytes, code: str) -> None:
    before = REGISTRY.get_sample_value("booking_refusals_total", {"code": code}) or 0

    client.post("/nope", body, content_type=JSON)

    assert REGISTRY.get_sample_value("booking_refusals_total", {"code": code}) == before + 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"name": NaN}',
        b'{"name":"\\ud800"}',
        b'{"name":"\xff"}',
        b'{"name":"a\\u0000b"}',
        b'{"na\\u0000me":"a"}',
        b"[" * 5_000 + b"]" * 5_000,
        b'{"address":' * 17 + b"1" + b"}" * 17,
        b'[{"name":"x"}]',
        b'"name"',
        b"null",
        b"1e999",
    ],
)
def test_it_refuses_what_is_no_json_object(client: Client, body: bytes) -> None:
    response = client.post("/sample", body, content_type=JSON)

    assert response.status_code == 400
    assert refusal(response)["code"] in {"MALFORMED_JSON", "INVALID_INPUT"}


def test_it_keeps_a_backslash_that_only_looks_like_nul(client: Client) -> None:
    response = client.post("/sample", rb'{"name":"a\\u0000"}', content_type=JSON)

    assert response.json()["data"]["name"] == r"a\u0000"


def test_it_names_every_wrong_field_by_its_path(client: Client) -> None:
    body = {"name": "x" * 21, "visits": 0, "_id": 1, "address": {"city": "x" * 11, "$where": "1"}}
    response = client.post("/sample", json.dumps(body), content_type=JSON)

    assert response.status_code == 400
    assert fields(response) == {
        "_id": "UNKNOWN_KEY",
        "name": "MAX_LENGTH",
        "visits": "MIN_VALUE",
        "address.$where": "UNKNOWN_KEY",
        "address.city": "MAX_LENGTH",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5),
        ("name", {"$gt": ""}),
        ("name", ["x"]),
        ("name", None),
        ("visits", "1"),
        ("visits", 1.5),
        ("visits", True),
        ("visits", 1e300),
        ("ratio", "1.5"),
        ("urgent", 1),
        ("urgent", "true"),
        ("price", "10"),
        ("price", 1.234),
        ("price", -1),
        ("at", "2026-01-01T10:00:00"),
        ("at", "0001-01-01T00:00:00+14:00"),
        ("at", "2026-02-30T10:00:00Z"),
        ("at", 1700000000),
        ("provider", "z" * 24),
        ("provider", "5" * 23),
        ("provider", {"$ne": None}),
        ("address", "x"),
        ("address", []),
    ],
)
def test_it_does_not_guess_types(client: Client, field: str, value: Any) -> None:
    response = client.post("/sample", json.dumps({"name": "x", field: value}), content_type=JSON)

    assert response.status_code == 400
    assert field in fields(response)


@pytest.mark.parametrize(
    "name",
    [
        "a\u202eb",
        "a\u2066b",
        "a\u200fb",
        "a\u200bb",
        "a\x1b[31m",
        "a\nb",
        "a\tb",
        "a\x85b",
        "a\u2028b",
        "\ufeffab",
        "a\U000e0041",
        "\u3164\u3164",
        "a\u2800b",
        "a\u115f",
        "a\u034f",
        "\u200d\u200c",
        "\ufe0f",
        "a\uffff",
        "\U0001d173",
    ],
)
def test_it_takes_no_character_that_nobody_sees(client: Client, name: str) -> None:
    response = client.post("/sample", json.dumps({"name": name}), content_type=JSON)

    assert response.status_code == 400
    assert fields(response) == {"name": "UNSEEN_CHARACTER"}


@pytest.mark.parametrize(
    "name",
    [
        "Asha Rao",
        "क्\u200dष",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "O\u2019Brien-Ólafsdóttir",
        "ஆஷா",
        "👩\u200d⚕️",
        "a\xa0b",
    ],
)
def test_it_takes_every_script_as_it_is_written(client: Client, name: str) -> None:
    response = client.post("/sample", json.dumps({"name": name}), content_type=JSON)

    assert response.json()["data"]["name"] == name


def test_it_renders_documents_as_they_are_stored(client: Client) -> None:
    body = {"name": "x", "visits": 2.0, "price": 678.5, "at": "2026-01-01T10:00:00.123456+05:30", "provider": "a" * 24}
    response = client.post("/sample", json.dumps(body), content_type=JSON)

    assert response.json()["data"] == {**body, "visits": 2, "at": "2026-01-01T04:30:00.123Z"}


@pytest.mark.parametrize("query", ["a=%00", "a=%ff", "status[$gt]=", "a.b=1", "$where=1", "=1", "a=" + "x" * 2_000])
def test_it_refuses_odd_queries(client: Client, query: str) -> None:
    response = client.get(f"/sample?{query}")

    assert response.status_code == 400
    assert refusal(response)["code"] == "INVALID_QUERY"


def test_it_shows_nothing_of_an_unexpected_exception(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.get("/fail")

    assert response.status_code == 500
    assert refusal(response)["code"] == "INTERNAL_ERROR"
    assert b"Asha" not in response.content
    assert b"RuntimeError" not in response.content
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


def test_it_survives_a_strange_content_length(client: Client) -> None:
    assert client.get("/sample", CONTENT_LENGTH="banana").status_code == 400
    assert client.get("/sample", CONTENT_LENGTH="").status_code == 200


def test_it_takes_a_sane_request_id(client: Client) -> None:
    assert client.get("/sample", headers={"X-Request-ID": "order-42.a_b"})["X-Request-ID"] == "order-42.a_b"


@pytest.mark.parametrize("odd", ["", "a b", "a" * 65, "x\ny", "{}", "-a", "é"])
def test_it_makes_a_request_id_where_there_is_no_sane_one(client: Client, odd: str) -> None:
    first = client.get("/sample", headers={"X-Request-ID": odd})["X-Request-ID"]
    second = client.get("/sample", headers={"X-Request-ID": odd})["X-Request-ID"]

    assert first != second != odd
    assert len(first) == 32


def test_it_sets_no_cookie(client: Client) -> None:
    assert not client.post("/sample", b"{}", content_type=JSON).cookies


def test_it_builds_a_serializer_once(client: Client) -> None:
    routes.SampleInput.parse({"name": "x"})
    instance = routes.SampleInput._instance(partial=False)

    client.post("/sample", b'{"name":"y"}', content_type=JSON)

    assert routes.SampleInput._instance(partial=False) is instance
    assert routes.SampleInput._instance(partial=True) is not instance
