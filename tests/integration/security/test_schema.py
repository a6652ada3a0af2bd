"""`/api/schema` against the service: whatever a client may make of it, never a 5xx, and every answer as described.

Each route is asked with data that fit and with data that do not, by the caller it is for and in turns by every other.
The suite uses a few examples that are always the same. `SCHEMA_EXAMPLES=500` tries as many for each route and kind,
other ones each time (a failure prints the case):

    SCHEMA_EXAMPLES=500 make test T="tests/integration/security/test_schema.py --no-cov"
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from booking_service.partners import payments as payment_service
from booking_service.wsgi import application
from tests.factories import service_made
from tests.integration.security.matrix import MATRIX, path_of
from tests.integration.security.test_access import order_open
from tests.integration.security.world import CALLERS, World, world_made

LONG = "SCHEMA_EXAMPLES" in os.environ
# Bounded, so that the suite stays under a minute or two.
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "12"))
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

# They take any text as a key or an ETag, and nothing else.
ANY_TEXT = ("GET /api/services/featured", "GET /api/services/<str:key>")
# Pages, and documents that describe themselves.
OTHER_DOCUMENTS = ("/api/schema", "/api/docs", "/api/events")
ROUTES = sorted(route for route in MATRIX if " /api/" in route and not route.endswith(OTHER_DOCUMENTS))


@pytest.fixture(scope="module")
def openapi(django_db_setup, redis_url, django_db_blocker):
    with django_db_blocker.unblock():
        return schemathesis.openapi.from_wsgi("/api/schema", application)


@pytest.fixture
def world(registered, monkeypatch, settings) -> World:
    settings.RATE_LIMIT_ENABLED = False  # a 429 would hide what the endpoint does
    service_made()
    monkeypatch.setattr(payment_service, "order_open", order_open)
    return world_made(registered, monkeypatch)


def with_real_ids(case, route: str, world: World) -> None:
    """The path's ids become those of an object in the right state, so that the body is what decides."""
    pattern, real = route.split(" ", 1)[1], path_of(route, MATRIX[route], world).partition("?")[0]
    for given_part, wanted in zip(pattern.split("/"), real.split("/"), strict=True):
        if given_part.startswith("<str:"):
            case.path_parameters[given_part.removeprefix("<str:").removesuffix(">")] = wanted


def test_the_schema_has_every_route(openapi):
    described = {operation.ok().label for operation in openapi.get_all_operations()}
    wanted = {route.replace("<str:", "{").replace(">", "}") for route in ROUTES}
    assert wanted <= described


def in_turns(route: str) -> Iterator[str]:
    """The caller whom the route is for and another, and so on for ever."""
    allowed = next(who for who, status in zip(CALLERS, MATRIX[route].expected, strict=True) if status < 300)
    for other in itertools.cycle(who for who in CALLERS if who != allowed):
        yield from (allowed, other)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("route", ROUTES)
def test_it_answers_as_it_says(openapi, world, route, mode):
    method, path = route.replace("<str:", "{").replace(">", "}").split(" ", 1)
    operation = openapi[path][method]
    if mode is GenerationMode.NEGATIVE and (
        route in ANY_TEXT or not (operation.body or [*operation.iter_parameters()])
    ):
        return  # nothing is asked, so nothing can be wrong
    callers, real = in_turns(route), itertools.cycle((True, True, False))

    @given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_it_says(case) -> None:
        if "<str:" in route and next(real):
            with_real_ids(case, route, world)
        case.call_and_validate(headers=world.apis[next(callers)].headers, checks=list(CHECKS))

    answers_as_it_says()
