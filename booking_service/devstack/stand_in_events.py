"""Publishes what the stand-in partners have to tell, as the platform's services do."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, UnroutableError

from booking_service.devstack.stand_in_memory import Event, Memory

LISTENED_TO = ("booking.events", "patient.events")
PLATFORM_QUEUE, KEPT_MESSAGES = "stand-in.platform", 1000
EXCHANGES = ("payment.events", "notification.events")
LOOK_EVERY_SECONDS = 0.1
RECONNECT_SECONDS = 2.0
UNROUTABLE_SECONDS = 2.0
PERSISTENT = 2


class EventPublisher(threading.Thread):
    """Sends every event that is due, with confirms; while there is no broker, they wait."""

    def __init__(self, memory: Memory, rabbitmq_url: str) -> None:
        super().__init__(name="stand-in-events", daemon=True)
        self._memory = memory
        self._url = rabbitmq_url
        self._complained = False

    def run(self) -> None:
        while True:
            with suppress(AMQPError, OSError):
                self._publish_while_connected()
            if not self._complained:
                print("stand-in partners: no RabbitMQ at the moment, their events wait", flush=True)
                self._complained = True
            time.sleep(RECONNECT_SECONDS)

    def _publish_while_connected(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for exchange in EXCHANGES:
                channel.exchange_declare(exchange, "topic", durable=True)
            _listen_as_the_platform(channel)
            self._complained = False
            while True:
                for event in self._memory.due_events():
                    self._publish(channel, event)
                connection.sleep(LOOK_EVERY_SECONDS)

    def _publish(self, channel: BlockingChannel, event: Event) -> None:
        now = datetime.now(UTC)
        service = event.exchange.replace(".events", "-service-stand-in")
        body = {"event": event.name, "data": event.data, "timestamp": _text(now), "service": service}
        properties = pika.BasicProperties(
            message_id=event.id,
            type=event.name,
            app_id=service,
            content_type="application/json",
            delivery_mode=PERSISTENT,
            timestamp=int(now.timestamp()),
            correlation_id=event.correlation_id or None,
        )
        try:
            channel.basic_publish(event.exchange, event.name, json.dumps(body).encode(), properties, mandatory=True)
        except UnroutableError:
            self._memory.postpone_event(event.id, UNROUTABLE_SECONDS)
            return
        self._memory.forget_event(event.id)
        print(f"stand-in {event.exchange.removesuffix('.events')}: published {event.name}", flush=True)


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listen_as_the_platform(channel: BlockingChannel) -> None:
    """The platform's services listen to ours: an event that no queue takes would wait in the outbox for ever."""
    channel.queue_declare(PLATFORM_QUEUE, durable=True, arguments={"x-max-length": KEPT_MESSAGES})
    for exchange in LISTENED_TO:
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_bind(PLATFORM_QUEUE, exchange, "#")
