"""The sample endpoints, and a client for them."""

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from tests.integration.api import routes


@pytest.fixture(autouse=True)
def _sample_routes(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.integration.api.routes"
    settings.RATE_LIMIT_ENABLED = False
    routes.go_on.clear()
    yield
    routes.go_on.set()


@pytest.fixture
def client() -> Client:
    """A client that gets a 500 as its caller would, instead of the exception."""
    return Client(raise_request_exception=False)
