"""While partners hang, the API keeps its pace: nobody who does not need them waits, and few who do."""

import time
from collections.abc import Callable

import jwt
import orjson
import pytest
import time_machine
from bson import ObjectId
from django.conf import settings as django_settings
from django.test import Client

from booking_service.partners import breaker_states
from tests.factories import VisitInput, patient_made, service_made, token_of, tomorrow
from tests.integration.partners import servers

HANG_SECONDS = 1.0  # whoever waited for a partner took at least this long
NURSE = ObjectId()


@pytest.fixture
def hanging(partner, settings, monkeypatch):
    """All three partners accept calls and never answer; an opened breaker's thirty seconds do not run out."""
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: 1000.0)
    server = partner(servers.hangs)
    for name in ("MAIN_API_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL"):
        setattr(settings, name, server.url)
    settings.PARTNER_DEADLINE_SECONDS = HANG_SECONDS
    settings.RATE_LIMIT_ENABLED = False
    return server


def timed(count: int, call: Callable[[int], int]) -> tuple[set[int], list[float]]:
    """The statuses of so many calls, and their seconds, shortest first."""
    statuses, seconds = set(), []
    for number in range(count):
        started = time.perf_counter()
        statuses.add(call(number))
        seconds.append(time.perf_counter() - started)
    return statuses, sorted(seconds)


def p99(seconds: list[float]) -> float:
    return seconds[int(len(seconds) * 0.99)]


def test_booking_asks_no_partner_and_is_not_slowed_by_any(hanging):
    service_made()
    client, headers = Client(), {"Authorization": f"Bearer {token_of(patient_made())}"}

    def book(number: int) -> int:
        starts_at = tomorrow(hour=6 + number % 15, days=2 + number // 15)
        body = orjson.dumps(VisitInput(startsAt=starts_at.isoformat(), paymentMethod="ONLINE"))
        return client.post("/api/bookings", body, content_type="application/json", headers=headers).status_code

    statuses, seconds = timed(60, book)

    assert statuses == {201}
    assert seconds[len(seconds) // 2] < HANG_SECONDS / 2
    assert hanging.requests == []


def test_a_provider_who_is_known_works_on_while_the_main_api_hangs_where_that_is_wanted(hanging, settings):
    settings.PROVIDER_STALE_SECONDS = 3600
    hanging.behave(
        servers.answers({"_id": str(NURSE), "role": "nurse", "name": "Meera", "isActive": True}), servers.hangs
    )
    token = jwt.encode({"id": str(NURSE)}, django_settings.JWT_SECRET, "HS256")
    client, headers = Client(), {"Authorization": f"Bearer {token}"}

    def look(_: int) -> int:
        return client.get("/api/bookings/provider/me", headers=headers).status_code

    with time_machine.travel(time.time(), tick=True) as clock:
        assert look(0) == 200
        clock.shift(settings.PROVIDER_CACHE_SECONDS + 1)

        statuses, seconds = timed(1000, look)

    assert statuses == {200}
    assert breaker_states()["main_api"] == "open"
    assert len(hanging.requests) == 1 + 5, "five calls found out that it hangs, nobody else asked"
    assert p99(seconds) < HANG_SECONDS


def test_after_five_who_waited_an_order_is_refused_at_once(hanging):
    service_made()
    client, headers = Client(), {"Authorization": f"Bearer {token_of(patient_made())}"}
    body = orjson.dumps(VisitInput(startsAt=tomorrow(days=2).isoformat(), paymentMethod="ONLINE"))
    booking = client.post("/api/bookings", body, content_type="application/json", headers=headers).json()["data"]

    def pay(_: int) -> int:
        return client.post(f"/api/bookings/{booking['_id']}/payment", headers=headers).status_code

    statuses, seconds = timed(1000, pay)

    assert statuses == {503}
    assert len(hanging.requests) == 5
    assert p99(seconds) < HANG_SECONDS
