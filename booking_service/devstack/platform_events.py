"""The platform's side of RabbitMQ: what our service publishes, and the payment service's events sent by hand."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
from honcho.environ import parse
from pika.exceptions import AMQPError, NackError, UnroutableError

from booking_service.devstack.servers import ServerError

HEARD = {"booking.events": "booking.#", "patient.events": "patient.#"}
LOOK_EVERY_SECONDS = 0.2
PERSISTENT = 2

Json = dict[str, Any]


def addresses_of(folder: Path) -> dict[str, str]:
    """Where the service and its servers are: what `make run` wrote down, unless the environment says it."""
    file = folder / "addresses.env"
    written = dict(parse(file.read_text()).items()) if file.exists() else {}
    addresses = written | {name: os.environ[name] for name in ("SERVICE_URL", "RABBITMQ_URL") if os.environ.get(name)}
    if "SERVICE_URL" not in addresses:
        raise ServerError("Nothing runs here: `make run` first, then this in another terminal.")
    if "RABBITMQ_URL" not in addresses:
        raise ServerError(
            "The service runs without RabbitMQ, so no event can be seen: install it, then `make run` again."
        )
    return addresses


class PlatformEvents:
    """A connection with a temporary queue of its own, bound before anything is done, so that nothing is missed."""

    def __init__(self, url: str) -> None:
        """Raises ServerError when RabbitMQ does not answer."""
        try:
            self._connection = pika.BlockingConnection(pika.URLParameters(url))
        except (AMQPError, OSError) as error:
            raise ServerError(
                "RabbitMQ does not answer, and without it no event can be seen: start it again."
            ) from error
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._queue = str(self._channel.queue_declare("", exclusive=True).method.queue)
        for exchange, routing_key in HEARD.items():
            self._channel.exchange_declare(exchange, "topic", durable=True)
            self._channel.queue_bind(self._queue, exchange, routing_key)

    def next(self) -> Json | None:
        """The next event the service has published; None when there is none at the moment."""
        _, _, body = self._channel.basic_get(self._queue, auto_ack=True)
        event: Json | None = None if body is None else json.loads(body)
        return event

    def wait(self) -> None:
        """Let a moment pass, answering heartbeats."""
        self._connection.sleep(LOOK_EVERY_SECONDS)

    def send(self, name: str, data: Json) -> None:
        """Publish an event such as payment.completed. Raises ServerError when no queue takes it."""
        exchange = f"{name.partition('.')[0]}.events"
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        sent = {"event": name, "data": data, "timestamp": now, "service": "by-hand"}
        properties = pika.BasicProperties(
            message_id=uuid.uuid4().hex, type=name, content_type="application/json", delivery_mode=PERSISTENT
        )
        self._channel.exchange_declare(exchange, "topic", durable=True)
        try:
            self._channel.basic_publish(exchange, name, json.dumps(sent).encode(), properties, mandatory=True)
        except (UnroutableError, NackError) as error:
            raise ServerError(f"No queue takes {name} of {exchange}: is `make run` running?") from error


def show_events(folder: Path) -> int:
    """Print each event the service publishes, a line each, until a signal."""
    events = PlatformEvents(addresses_of(folder)["RABBITMQ_URL"])
    while True:
        while event := events.next():
            print(json.dumps(event), flush=True)
        events.wait()


def send_event(folder: Path, name: str, data: str) -> int:
    """Send the event `name` with the JSON object `data`."""
    try:
        facts = json.loads(data)
    except ValueError:
        raise ServerError(f"The data of {name} must be a JSON object, not {data}") from None
    PlatformEvents(addresses_of(folder)["RABBITMQ_URL"]).send(name, facts)
    return 0
