"""Who takes part in a run: patients who book and cancel, a payment service, another service that listens."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from queue import Empty, SimpleQueue
from random import Random
from time import monotonic, sleep
from typing import Any, cast

import pika
from jsonschema import Draft7Validator
from pika.exceptions import AMQPError

from tests.chaos.faults import OTHER_SERVICE

PATIENTS = 40
SERVICE = "WOUND_DRESSING"
FIRST_HOUR, HOURS, FIRST_DAY, DAYS = 7, 14, 2, 80


@dataclass
class Attempts:
    """What was tried, and what came of it as far as the caller could see."""

    bookings: int = 0
    cancellations: int = 0
    moves: int = 0
    answers: Counter[str] = field(default_factory=Counter)


class Booker(threading.Thread):
    """Books at a steady rate; now and then moves or cancels what it booked. Every booking is paid by somebody."""

    def __init__(
        self, callers: list[Any], rate: float, ended: threading.Event, to_pay: SimpleQueue[dict[str, Any]]
    ) -> None:
        super().__init__(name="booker", daemon=True)
        self._callers, self._rate, self._ended, self._to_pay = callers, rate, ended, to_pay
        self._random = Random(11)
        self._slots = count()
        self.attempts = Attempts()

    def run(self) -> None:
        began = monotonic()
        for number in count():
            sleep(max(0.0, began + number / self._rate - monotonic()))
            if self._ended.is_set():
                return
            self.one()

    def one(self) -> None:
        from booking_service.api.errors import ServiceError

        try:
            self.attempts.bookings += 1
            booking = self.book()
            self.attempts.answers["booked"] += 1
            self.change(booking)
        except ServiceError as refusal:
            self.attempts.answers[refusal.code] += 1
        except Exception as error:  # noqa: BLE001 - a server was killed; whether it was booked shows at the end
            self.attempts.answers[type(error).__name__] += 1

    def slot(self) -> tuple[Any, datetime]:
        """A patient and a time that no other booking of this run has."""
        number = next(self._slots)
        caller = self._callers[number % PATIENTS]
        day, hour = divmod(number // PATIENTS, HOURS)
        local = datetime.now(UTC) + timedelta(hours=5, minutes=30, days=FIRST_DAY + day % DAYS)
        at = local.replace(hour=FIRST_HOUR + hour, minute=0, second=0, microsecond=0)
        return caller, at - timedelta(hours=5, minutes=30)

    def book(self) -> dict[str, Any]:
        from bookings import services
        from tests.factories import VisitInput

        caller, starts_at = self.slot()
        wanted: dict[str, Any] = {**cast(dict[str, Any], VisitInput()), "serviceType": SERVICE, "startsAt": starts_at}
        booking = services.booking_create(actor=caller, wanted=wanted)
        self._to_pay.put(
            {"bookingId": str(booking["_id"]), "amount": float(booking["pricing"]["payableAmount"].to_decimal())}
        )
        return {**booking, "caller": caller}

    def change(self, booking: dict[str, Any]) -> None:
        from bookings import moving, services

        kind = self._random.random()
        if kind < 0.2:
            self.attempts.moves += 1
            at = booking["startsAt"] + timedelta(minutes=30)
            moving.booking_reschedule(actor=booking["caller"], booking_id=booking["_id"], starts_at=at)
        if 0.1 < kind < 0.3:
            self.attempts.cancellations += 1
            services.booking_cancel(actor=booking["caller"], booking_id=booking["_id"], reason="chaos")


class Payer(threading.Thread):
    """The payment service: publishes a payment until it is confirmed, now and then twice, always with the same id."""

    def __init__(self, url: str, to_pay: SimpleQueue[dict[str, Any]]) -> None:
        super().__init__(name="payer", daemon=True)
        self._url, self._to_pay = url, to_pay
        self._random = Random(13)
        self.published = 0
        self.idle = threading.Event()

    def run(self) -> None:
        waiting: dict[str, Any] | None = None
        while True:
            with suppress(AMQPError, OSError, ValueError):  # the last one when it is reset while it connects
                waiting = self._while_connected(waiting)
            sleep(0.5)

    def _while_connected(self, waiting: dict[str, Any] | None) -> dict[str, Any] | None:
        parameters = pika.URLParameters(self._url)
        parameters.blocked_connection_timeout = 5
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            while True:
                payment = waiting or self._next(connection)
                waiting = payment
                for _ in range(2 if self._random.random() < 0.1 else 1):
                    try:
                        self._publish(channel, payment)
                    except (AMQPError, OSError):
                        self._to_pay.put(payment)
                        raise
                waiting = None

    def _next(self, connection: Any) -> dict[str, Any]:
        while True:
            try:
                payment = self._to_pay.get_nowait()
                self.idle.clear()
                return payment
            except Empty:
                self.idle.set()
                connection.sleep(0.05)

    def _publish(self, channel: Any, payment: dict[str, Any]) -> None:
        id_ = f"payment-{payment['bookingId']}"
        data = {**payment, "transactionId": f"t-{payment['bookingId']}", "method": "UPI"}
        body = {"event": "payment.completed", "data": data, "timestamp": "2026-11-22T10:00:00Z", "service": "payments"}
        properties = pika.BasicProperties(message_id=id_, type="payment.completed", delivery_mode=2)
        channel.basic_publish(
            "payment.events", "payment.completed", json.dumps(body).encode(), properties, mandatory=True
        )
        self.published += 1


@dataclass
class Heard:
    """What the other service got: copies by event id, and the first copies of each booking in the order they came."""

    copies: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, bytes] = field(default_factory=dict)
    other_bytes: int = 0
    broken: Counter[str] = field(default_factory=Counter)  # what breaks its contract, and how
    first: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def hear(self, message_id: str, type: str, headers: dict[str, Any], body: bytes) -> None:
        aggregate, version = headers["aggregate_id"], headers["aggregate_version"]
        self.copies[message_id] += 1
        if self.bodies.setdefault(message_id, body) != body:
            self.other_bytes += 1
        if self.copies[message_id] == 1:
            self.first.setdefault(aggregate, []).append((version, type))
            if violation := violation_of(type, headers, body):
                self.broken[f"{type}: {violation}"] += 1


def violation_of(type: str, headers: dict[str, Any], body: bytes) -> str | None:
    """How a message breaks what the AsyncAPI document promises; None when it does not."""
    from events.asyncapi import HEADERS
    from events.schemas import PUBLISHED_BY_NAME

    if not Draft7Validator(HEADERS).is_valid(headers):
        return "headers"
    contract = PUBLISHED_BY_NAME.get(type)
    return contract.violation(json.loads(body)) if contract else "unknown"


class Listener(threading.Thread):
    """Another service with a queue of its own for everything we publish."""

    def __init__(self, url: str) -> None:
        super().__init__(name="listener", daemon=True)
        self._url = url
        self.heard = Heard()

    def run(self) -> None:
        while True:
            with suppress(AMQPError, OSError, ValueError):
                self._while_connected()
            sleep(0.5)

    def _while_connected(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            channel.queue_declare(OTHER_SERVICE, durable=True, arguments={"x-queue-type": "quorum"})
            for exchange in ("booking.events", "patient.events"):
                channel.exchange_declare(exchange, "topic", durable=True)
                channel.queue_bind(OTHER_SERVICE, exchange, "#")
            channel.basic_qos(prefetch_count=200)
            for method, properties, body in channel.consume(OTHER_SERVICE):
                self.heard.hear(properties.message_id, properties.type, properties.headers, body)
                channel.basic_ack(method.delivery_tag)
