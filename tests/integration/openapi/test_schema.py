"""`/api/schema` says what the service does. `SCHEMA_EXAMPLES=100` tries more, and other ones each time."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import jsonschema
import pytest
import schemathesis
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from pytest_django import Settings
from referencing import Registry
from referencing.jsonschema import DRAFT4
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from booking_service.api.schema import schema_document
from booking_service.wsgi import application
from catalog import seeding

JSON = "application/json"


def refuses_what_does_not_fit(context: Any, response: Any, case: Any) -> bool | None:
    """schemathesis knows no 413; and a list takes a `status` in any case, several between commas, or an empty one."""
    if response.status_code == 413 or "status" in (case.query or {}):
        return None
    return negative_data_rejection(context, response, case)


# Not the check that valid data are accepted: rules such as "a time to come" are not in the schema.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    refuses_what_does_not_fit,
    unsupported_method,
]
Schema = dict[str, Any]
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "8"))


@pytest.fixture(autouse=True)
def _no_limits(settings: Settings) -> None:
    settings.RATE_LIMIT_ENABLED = False


@pytest.fixture(scope="session")
def document() -> Schema:
    return json.loads(schema_document())


@pytest.fixture
def patient(document: Schema) -> dict[str, str]:
    """The headers of a patient who registered with the schema's own example."""
    seeding.seed()
    response = sent(document, "post", "/api/patients/register")
    return {"Authorization": f"Bearer {response.json()['data']['token']}"}


def example(document: Schema, method: str, path: str) -> Any:
    return document["paths"][path][method]["requestBody"]["content"][JSON]["example"]


def sent(document: Schema, method: str, path: str, headers: dict[str, str] | None = None, **ids: str) -> Any:
    """The answer to the example of an operation."""
    body = json.dumps(example(document, method, path))
    return getattr(Client(), method)(path.format(**ids), body, content_type=JSON, headers=headers or {})


CONTRACTS = ("api/schema", "api/docs", "api/events")  # what describes the service is no part of the description


def routes(patterns: Any, prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def test_it_is_served(client: Client, document: Schema) -> None:
    response = client.get("/api/schema")

    assert response.status_code == 200
    assert response["Content-Type"] == JSON
    assert response.json() == document
    assert document["openapi"].startswith("3.")


def test_it_describes_every_route_once(document: Schema) -> None:
    served = {
        "/" + route.replace("<str:", "{").replace("<slug:", "{").replace(">", "}")
        for route in routes(get_resolver().url_patterns)
        if route.startswith("api/") and not route.startswith(("api/v1/", *CONTRACTS))
    }

    assert served
    assert served == {path for path in document["paths"] if path.startswith("/api/")}


def test_it_gives_every_operation_a_name_of_its_own(document: Schema) -> None:
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]

    assert len(names) == len(set(names))


def test_it_has_no_dangling_reference(document: Schema) -> None:
    text = json.dumps(document)

    for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in document["components"]["schemas"]


def test_it_tells_how_to_prove_who_one_is(document: Schema) -> None:
    assert set(document["components"]["securitySchemes"]) == {"patientToken", "serviceToken"}
    assert document["paths"]["/api/bookings"]["get"]["security"]
    assert "security" not in document["paths"]["/api/services"]["get"]


def test_it_shows_the_idempotency_key_where_it_is_honoured(document: Schema) -> None:
    shown = {
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
    }

    assert shown == {
        ("post", "/api/bookings"),
        ("delete", "/api/bookings/{booking_id}"),
        ("put", "/api/bookings/{booking_id}/cancel"),
        ("post", "/api/bookings/{booking_id}/reschedule"),
        ("post", "/api/bookings/{booking_id}/payment"),
    }


def test_it_says_which_answers_can_be_asked_for_again(document: Schema) -> None:
    told = {
        path
        for path, operations in document["paths"].items()
        if "304" in operations.get("get", {}).get("responses", {})
    }
    assert {path for path in document["paths"] if path.startswith("/api/services")} <= told
    slots = document["paths"]["/api/services/{id_or_slug}/slots"]["get"]
    assert "content" not in slots["responses"]["304"]
    assert slots["responses"]["200"]["headers"].keys() == {"ETag", "Cache-Control"}
    assert "If-None-Match" in {parameter["name"] for parameter in slots["parameters"]}


def test_its_examples_fit_their_own_schemas(document: Schema) -> None:
    registry = Registry().with_resource("urn:api", DRAFT4.create_resource(document))
    checked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
            if "example" in content:
                schema = {"$ref": f"urn:api{content['schema']['$ref']}"}
                jsonschema.Draft4Validator(schema, registry=registry).validate(example(document, method, path))
                checked += 1

    assert checked >= 8


def test_its_examples_work_when_sent(document: Schema, patient: dict[str, str]) -> None:
    assert sent(document, "post", "/api/patients/login").status_code == 200
    assert sent(document, "put", "/api/patients/{patient_id}", patient, patient_id="me").status_code == 200
    address = sent(document, "post", "/api/patients/addresses", patient)
    assert address.status_code == 201
    booking = sent(document, "post", "/api/bookings", patient)
    assert booking.status_code == 201, booking.content
    booking_id = booking.json()["data"]["_id"]
    path = "/api/bookings/{booking_id}"
    assert sent(document, "put", path, patient, booking_id=booking_id).status_code == 200
    moved = sent(document, "post", f"{path}/reschedule", patient, booking_id=booking_id)
    assert moved.status_code == 200, moved.content
    assert sent(document, "put", f"{path}/cancel", patient, booking_id=booking_id).status_code == 200


@pytest.mark.parametrize("path", ["/api/docs"])
def test_it_is_shown_without_a_cdn_or_inline_code(client: Client, path: str) -> None:
    response = client.get(path)
    page = response.content.decode()

    assert response.status_code == 200
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert "http" not in page
    assert "<style" not in page
    assert page.count("<script src=") == page.count("<script") == 2


def test_it_conforms_to_what_the_service_answers(patient: dict[str, str]) -> None:
    """Every operation, with data that fits the schema and data that does not: no 5xx, nothing undocumented."""
    logging.getLogger().setLevel(logging.ERROR)
    api = schemathesis.openapi.from_wsgi("/api/schema", application)
    operations = 0
    for result in api.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # a test may fail here
        if "logout" in operation.path:
            continue
        for mode in GenerationMode:
            _explore(operation, patient, mode)
        operations += 1

    assert operations > 30


def _explore(operation: Any, headers: dict[str, str], mode: GenerationMode) -> None:
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="SCHEMA_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    # Where nothing is asked, or any text is taken, nothing can be wrong.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        explore()
