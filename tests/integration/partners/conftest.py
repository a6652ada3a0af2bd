from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache

from booking_service.partners import main_api
from booking_service.partners.client import breakers_reset
from tests.integration.partners.servers import Behaviour, LoopbackPartner


@pytest.fixture(autouse=True)
def fresh_partners() -> Iterator[None]:
    """Closed breakers and an empty cache for each test."""
    breakers_reset()
    cache.clear()
    main_api._memory.clear()
    yield
    breakers_reset()


@pytest.fixture
def partner() -> Iterator[Callable[..., LoopbackPartner]]:
    """Starts partners that behave as told, and stops them after the test."""
    started: list[LoopbackPartner] = []

    def start(*behaviours: Behaviour) -> LoopbackPartner:
        started.append(LoopbackPartner(list(behaviours)))
        return started[-1]

    yield start
    for server in started:
        server.stop()
