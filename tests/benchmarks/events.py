"""The event figures: latency, drain, idle cost, consumption. `python -m tests.benchmarks.events` measures them.

Everything is real: own MongoDB and RabbitMQ, `publish_events` and `consume_events` as processes, events written by the
receivers that write them, patients who are registered and are told. It ends with exit code 1 when a figure misses its
bound; on a machine that is busy with other work they mean little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from time import monotonic, sleep, time

from bson import Decimal128, ObjectId

from tests.chaos.partners import Partners
from tests.chaos.stack import Stack

BACKLOG = 20_000
PAYMENTS = 3_000
RATE, LATENCY_SECONDS, PATIENTS = 100, 20, 500
IDLE_SECONDS = 20
OTHER_SERVICE = "another-service"
PRICE = Decimal("678.50")

BELOW: dict[str, dict[str, float]] = {
    "latency": {"median ms": 30, "p99 ms": 150},
    "idle": {"publisher % of a core": 1, "consumer % of a core": 1},
}
AT_LEAST: dict[str, dict[str, float]] = {
    "latency": {"bookings a second": 0.95 * RATE},
    "drain": {"a second": 3000},
    "consume": {"a second": 500},
}


def missed(name: str, figures: dict[str, float]) -> list[str]:
    """Which of the figures `name` are not what they should be, a line each."""
    slow = {figure: f"below {bound:g}" for figure, bound in BELOW.get(name, {}).items() if not figures[figure] < bound}
    few = {figure: f"at least {bound:g}" for figure, bound in AT_LEAST.get(name, {}).items() if figures[figure] < bound}
    return [f"{name}: {figure} is {figures[figure]:,.1f}, not {bound}" for figure, bound in (slow | few).items()]


def drain(stack: Stack) -> dict[str, float]:
    """A backlog of 20,000 events of 10,000 bookings, published and confirmed by one process."""
    from events.models import OutboxEvent

    write_backlog(BACKLOG)
    publisher = stack.spawn("publish_events")
    unsent = {"status": "WAITING"}
    while OutboxEvent.objects.mongo_count_documents(unsent, limit=BACKLOG) == BACKLOG:
        sleep(0.005)
    began = monotonic()
    while OutboxEvent.objects.mongo_find_one(unsent):
        sleep(0.01)
    seconds = monotonic() - began
    publisher.stop()
    arrived = count(stack)
    assert arrived == BACKLOG, f"{arrived} arrived"
    return {"events": BACKLOG, "seconds": seconds, "a second": BACKLOG / seconds}


def write_backlog(events: int) -> None:
    from booking_service.djongo.transaction import atomic
    from events.models import Lane
    from events.repositories import NewEvent, outbox_add

    body = json.dumps({"event": "booking.created", "data": {"filler": "x" * 900}}).encode()
    for _ in range(events // 1000):
        aggregates = [str(ObjectId()) for _ in range(500)]
        rows = [
            NewEvent(
                Lane.BROKER, "booking.created", id_, version, body, ObjectId(), "booking.events", "booking.created"
            )
            for version in (1, 2)
            for id_ in aggregates
        ]
        with atomic():
            outbox_add(rows, correlation_id="bench", at=datetime.now(UTC))


def latency(stack: Stack) -> dict[str, float]:
    """From the commit of a booking to its event in another service's hands, at 100 bookings a second."""
    publisher = stack.spawn("publish_events")
    publisher.wait_for("publisher_started")
    committed: dict[str, float] = {}
    arrived: dict[str, float] = {}
    stop = threading.Event()
    listener = threading.Thread(target=listen, args=(stack, arrived, stop))
    listener.start()
    sleep(1)
    book = booker(patients(PATIENTS))
    began = monotonic()
    for number in range(RATE * LATENCY_SECONDS):
        sleep(max(0.0, began + number / RATE - monotonic()))
        committed[book()] = time()
    rate = RATE * LATENCY_SECONDS / (monotonic() - began)
    sleep(2)
    stop.set()
    listener.join()
    publisher.stop()
    missing = committed.keys() - arrived.keys()
    assert not missing, f"{len(missing)} events did not arrive"
    milliseconds = sorted((arrived[booking] - at) * 1000 for booking, at in committed.items())
    return {
        "bookings a second": rate,
        "median ms": statistics.median(milliseconds),
        "p99 ms": milliseconds[int(len(milliseconds) * 0.99)],
        "max ms": milliseconds[-1],
    }


def patients(number: int) -> list[ObjectId]:
    """As many patients: one who registered, and others who are like them."""
    from tests.chaos.count import collection
    from tests.factories import patient_made

    registered = collection("patients").find_one({"_id": patient_made().id})
    collection("outbox").delete_many({"aggregateId": str(registered["_id"])})  # their registration is not measured
    made = []
    for _ in range(number):
        id_ = ObjectId()
        unique = {"emailLower": f"{id_}@example.com", "phone": str(id_), "referralCode": str(id_)}
        made.append({**registered, **unique, "_id": id_})
    collection("patients").insert_many(made)
    return [patient["_id"] for patient in made]


def booker(whose: list[ObjectId]) -> Callable[[], str]:
    """Commits what a new booking leaves in the outbox: its event and its notification."""
    from booking_service.djongo.transaction import run
    from bookings import signals
    from bookings.signals import NotificationKind

    turns = cycle(whose)

    def book() -> str:
        booking = {
            "_id": ObjectId(),
            "patient": next(turns),
            "serviceType": "WOUND_DRESSING",
            "scheduledDate": datetime.now(UTC),
            "scheduledTime": "10:00",
            "startsAt": datetime.now(UTC),
            "pricing": {"payableAmount": Decimal128(PRICE)},
            "status": "REQUESTED",
        }

        def write() -> None:
            signals.booking_created.send(
                sender=None, booking=booking, version=1, notification=NotificationKind.CONFIRMATION
            )

        run(write)
        return str(booking["_id"])

    return book


def listen(stack: Stack, arrived: dict[str, float], stop: threading.Event) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(stack.rabbit.uri))
    channel = connection.channel()
    for _method, _properties, body in channel.consume(OTHER_SERVICE, auto_ack=True, inactivity_timeout=0.2):
        if body:
            arrived.setdefault(json.loads(body)["data"]["bookingId"], time())
        if stop.is_set():
            break
    connection.close()


def idle(stack: Stack) -> dict[str, float]:
    """What a publisher and a consumer with nothing to do cost, in hundredths of a core."""
    publisher, consumer = stack.spawn("publish_events"), stack.spawn("consume_events")
    publisher.wait_for("publisher_started")
    consumer.wait_for("consumer_started")
    sleep(5)
    before = [process.cpu_seconds() for process in (publisher, consumer)]
    sleep(IDLE_SECONDS)
    after = [process.cpu_seconds() for process in (publisher, consumer)]
    publisher.stop()
    consumer.stop()
    shares = [100 * (b - a) / IDLE_SECONDS for a, b in zip(before, after, strict=True)]
    return {"publisher % of a core": shares[0], "consumer % of a core": shares[1]}


def consume(stack: Stack) -> dict[str, float]:
    """payment.completed of as many bookings, by one process."""
    from events.models import InboxMessage

    bookings = unpaid_bookings(PAYMENTS)
    publish_payments(stack, bookings)
    consumer = stack.spawn("consume_events")
    payments = {"type": "payment.completed"}
    while not InboxMessage.objects.mongo_find_one(payments):
        sleep(0.005)
    began, already = monotonic(), InboxMessage.objects.mongo_count_documents(payments)
    while InboxMessage.objects.mongo_count_documents(payments) < PAYMENTS:
        sleep(0.05)
    seconds = monotonic() - began
    consumer.stop()
    assert (paid(), spent()) == (PAYMENTS, PAYMENTS * PRICE), "not every payment took effect once"
    return {"payments": PAYMENTS, "seconds": seconds, "a second": (PAYMENTS - already) / seconds}


def unpaid_bookings(number: int) -> list[str]:
    """Bookings of as many patients, as the service stores them, but for what payment does not read."""
    from tests.chaos.count import collection

    now = datetime.now(UTC)
    made = [
        {
            "_id": ObjectId(),
            "patient": patient,
            "serviceType": "WOUND_DRESSING",
            "status": "REQUESTED",
            "startsAt": now,
            "scheduledDate": now,
            "scheduledTime": "10:00",
            "pricing": {"payableAmount": Decimal128(PRICE), "currency": "INR"},
            "payment": {"status": "PENDING", "method": "ONLINE", "attempt": 1},
            "timeline": [],
            "statusTimestamps": {},
            "version": 1,
        }
        for patient in patients(number)
    ]
    collection("nursebookings").insert_many(made)
    return [str(booking["_id"]) for booking in made]


def publish_payments(stack: Stack, bookings: list[str]) -> None:
    from events.broker import Message, PublishingConnection

    connection = PublishingConnection(stack.rabbit.uri, confirm_seconds=60).open()
    messages = []
    for booking in bookings:
        data = {"bookingId": booking, "transactionId": f"t-{booking}", "amount": float(PRICE), "method": "UPI"}
        body = {"event": "payment.completed", "data": data, "timestamp": "2026-11-22T10:00:00Z", "service": "bench"}
        name = "payment.completed"
        messages.append(Message(f"m-{booking}", name, "payment.events", name, json.dumps(body).encode(), int(time())))
    batch = connection.send(messages)
    connection.wait(batch)
    outcomes = set(batch.outcomes.values())
    connection.close()
    assert outcomes == {"confirmed"}, outcomes


def paid() -> int:
    from tests.chaos.count import collection

    return int(collection("nursebookings").count_documents({"payment.status": "PAID"}))


def spent() -> Decimal:
    """What all patients together have paid."""
    from tests.chaos.count import collection

    (total,) = collection("patients").aggregate([{"$group": {"_id": None, "spent": {"$sum": "$totalSpent"}}}])
    return Decimal(str(total["spent"]))


def bind_other_service(stack: Stack) -> None:
    from events.broker import declare_topology, short_channel
    from events.topology import topology

    declare_topology(stack.rabbit.uri, topology())
    with short_channel(stack.rabbit.uri) as channel:
        channel.queue_declare(OTHER_SERVICE, durable=True, arguments={"x-queue-type": "quorum"})
        for exchange in ("booking.events", "patient.events"):
            channel.queue_bind(OTHER_SERVICE, exchange, "#")


def count(stack: Stack) -> int:
    from events.broker import short_channel

    with short_channel(stack.rabbit.uri) as channel:
        return int(channel.queue_purge(OTHER_SERVICE).method.message_count)


FIGURES = {"latency": latency, "drain": drain, "idle": idle, "consume": consume}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"some of {', '.join(FIGURES)}; all when none is named")
    chosen = parser.parse_args().figures or list(FIGURES)
    partners = Partners()
    services = {"PAYMENT_SERVICE_URL": partners.url, "NOTIFICATION_SERVICE_URL": partners.url}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), **services) as stack:
        stack.use()
        bind_other_service(stack)
        for name in chosen:
            figures = FIGURES[name](stack)
            wrong += missed(name, figures)
            say(f"{name}: " + ", ".join(f"{k} {v:,.1f}" for k, v in figures.items()))
    for line in wrong:
        say(f"MISSED {line}")
    return 1 if wrong else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
