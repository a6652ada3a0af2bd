"""What leaves for Sentry: where it happened, nothing that a caller typed."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from django.test import Client
from pytest_django import Settings
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from booking_service.operations import error_tracking
from tests.integration.operations.conftest import ROOT

CANARY = "canary9876543210"


class Outbox(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events.extend(item.payload.json for item in envelope.items if item.payload.json)


@pytest.fixture
def sent(settings: Settings) -> Iterator[Outbox]:
    settings.ROOT_URLCONF = "tests.integration.api.routes"
    settings.RATE_LIMIT_ENABLED = False
    outbox = Outbox()
    error_tracking.start(dsn="https://key@sentry.invalid/1", environment="test", release="1", transport=outbox)
    yield outbox
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def test_it_sends_an_unexpected_exception_once_and_scrubbed(sent: Outbox) -> None:
    Client(raise_request_exception=False).get(
        f"/fail?q={CANARY}",
        headers={"X-Request-ID": "trace-9", "Authorization": f"Bearer {CANARY}", "User-Agent": CANARY},
    )

    (event,) = sent.events
    text = json.dumps(event)
    assert event["tags"]["requestId"] == "trace-9"
    assert event["transaction"] == "/fail"
    assert event["exception"]["values"][-1]["type"] == "RuntimeError"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert "request" not in event
    assert CANARY not in text
    assert '"value"' not in text


def test_it_sends_nothing_for_a_refusal(sent: Outbox) -> None:
    Client(raise_request_exception=False).post("/refuse", b"{}", content_type="application/json")

    assert sent.events == []


def test_it_sends_a_logged_error_without_its_text(sent: Outbox) -> None:
    logging.getLogger("bookings").error("could not refund %s", CANARY)

    (event,) = sent.events
    assert event["logger"] == "bookings"
    assert CANARY not in json.dumps(event)


def test_it_sends_our_own_events_by_their_constant_names(sent: Outbox) -> None:
    log = structlog.get_logger("events.deliveries")
    log.error("delivery_dead", reason=CANARY)
    log.error("delivery_failed", reason=CANARY)
    log.error(f"Could not reach {CANARY}")

    assert [event["logentry"]["message"] for event in sent.events] == [
        "delivery_dead",
        "delivery_failed",
        "events.deliveries",
    ]
    assert CANARY not in json.dumps(sent.events)


@pytest.mark.parametrize(("dsn", "said"), [("https://key@sentry.invalid/1", "test 1.0.0"), ("", "off")])
def test_it_is_on_in_every_process_where_there_is_an_address(dsn: str, said: str) -> None:
    shown = (
        "import sentry_sdk; client = sentry_sdk.get_client();"
        "print(client.options['environment'], client.options['release']) if client.is_active() else print('off')"
    )
    environment = {**os.environ, "SENTRY_DSN": dsn}
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", shown]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == said, done.stderr[-2000:]
