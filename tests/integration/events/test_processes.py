"""publish_events and consume_events as processes: killed, frozen, many, and told to stop."""

import json
import signal
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from random import Random
from time import sleep
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from django.core.management import CommandError, call_command
from django.db import connection as django_connection

from events.broker import Message, PublishingConnection
from events.deliveries import PartnerLane
from events.lanes import Wakeups
from events.models import InboxMessage, OutboxEvent
from events.topology import topology
from tests.integration.events.rabbit import eventually, message_count, send, take

pytestmark = pytest.mark.broker
connection: Any = django_connection  # what MongoDB adds to it has no types
BOOKINGS, VERSIONS = 150, 4


@pytest.fixture
def backlog(waiting):
    """Commits VERSIONS events of each of BOOKINGS bookings; returns the ids of each booking's, in order."""
    return [waiting(VERSIONS, body=b'{"filler":"%s"}' % (b"x" * 500)) for _ in range(BOOKINGS)]


def unsent() -> int:
    return OutboxEvent.objects.mongo_count_documents({"status": "WAITING"})


def assert_all_arrived_in_order(rabbit, queue, backlog):
    """Nothing is lost, first copies are in order, and every copy is the same message."""
    messages = take(rabbit, queue, message_count(rabbit, queue))
    order: defaultdict[str, list] = defaultdict(list)
    bodies: defaultdict[str, set] = defaultdict(set)
    for message in messages:
        bodies[message.message_id].add((message.body, message.type, message.properties.timestamp))
        if message.message_id not in order[message.headers["aggregate_id"]]:
            order[message.headers["aggregate_id"]].append(message.message_id)
    assert sorted(order.values()) == sorted([str(event) for event in events] for events in backlog)
    assert all(len(copies) == 1 for copies in bodies.values())
    return len(messages) - BOOKINGS * VERSIONS


@pytest.mark.parametrize("publishers", [2, 5])
def test_several_publishers_lose_nothing_and_keep_each_bookings_order(rabbit, listening, backlog, spawn, publishers):
    for _ in range(publishers):
        spawn("publish_events", EVENTS_BATCH="20")
    eventually(lambda: unsent() == 0, seconds=60)
    assert assert_all_arrived_in_order(rabbit, listening, backlog) == 0


def test_publishers_killed_at_random_lose_nothing_and_keep_each_bookings_order(rabbit, listening, backlog, spawn):
    random = Random(7)
    leased = {"EVENTS_LEASE_SECONDS": "2", "EVENTS_CONFIRM_SECONDS": "1"}
    processes = [spawn("publish_events", EVENTS_BATCH="10", **leased) for _ in range(2)]
    for _ in range(4):
        random.choice(processes).wait_for("publisher_started")
        sleep(random.uniform(0, 0.5))
        victim = random.choice(processes)
        victim.kill()
        victim.start()
    eventually(lambda: unsent() == 0, seconds=60)
    assert_all_arrived_in_order(rabbit, listening, backlog)


def test_a_publisher_frozen_past_its_lease_reorders_and_loses_nothing(rabbit, listening, backlog, spawn):
    leased = {"EVENTS_LEASE_SECONDS": "2", "EVENTS_CONFIRM_SECONDS": "1"}
    frozen = spawn("publish_events", EVENTS_BATCH="10", **leased)
    eventually(lambda: unsent() < BOOKINGS * VERSIONS, seconds=60)
    frozen.send(signal.SIGSTOP)
    left = unsent()
    spawn("publish_events", **leased)
    eventually(lambda: unsent() == 0, seconds=60)
    frozen.send(signal.SIGCONT)
    sleep(1)
    assert left > 0, "it was frozen too late to prove anything"
    assert_all_arrived_in_order(rabbit, listening, backlog)


def test_a_stopped_publisher_settles_what_it_sent_and_exits_0(rabbit, listening, backlog, spawn):
    publisher = spawn("publish_events", EVENTS_BATCH="10")
    eventually(lambda: unsent() < BOOKINGS * VERSIONS, seconds=60)
    assert publisher.stop() == 0
    sent = OutboxEvent.objects.mongo_count_documents({"status": "SENT"})
    assert message_count(rabbit, listening) == sent
    assert OutboxEvent.objects.mongo_count_documents({"leaseOwner": {"$ne": None}}) == 0


def test_a_commit_wakes_the_publisher(rabbit, listening, waiting, spawn):
    publisher = spawn("publish_events", EVENTS_SWEEP_SECONDS="60")
    publisher.wait_for("publisher_started")
    sleep(2)
    waiting(1)
    eventually(lambda: unsent() == 0, seconds=5, what="the sweep would have come after a minute")


@pytest.fixture
def own_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("part", "work"), [(PartnerLane, "step"), (Wakeups, "_follow")])
def test_a_thread_that_breaks_ends_the_whole_publisher(rabbit, monkeypatch, own_signals, part, work):
    monkeypatch.setattr(part, work, lambda _self: 1 // 0)
    with pytest.raises(CommandError, match="A thread broke"):
        call_command("publish_events")


def test_a_worker_that_breaks_ends_the_whole_consumer_and_its_message_comes_again(rabbit, monkeypatch, own_signals):
    monkeypatch.setattr("events.consumer.take_effect", lambda _event: 1 // 0)
    send(rabbit)
    with pytest.raises(CommandError, match="A thread broke"):
        call_command("consume_events")
    assert message_count(rabbit, topology().queue) == 1


# --- consuming -----------------------------------------------------------------------------------------------------
@pytest.fixture
def brief_transactions():
    """MongoDB keeps the locks of a client that died in a transaction until this limit: 60 s unless told otherwise."""
    client = connection.connection
    limit = client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
    client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 2})
    yield
    before = limit["transactionLifetimeLimitSeconds"]
    client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": before})


@pytest.fixture
def unpaid():
    """Bookings to pay, each of a patient whose `totalSpent` tells how often the payment took effect."""
    patients = [{"_id": ObjectId(), "name": "Asha", "totalSpent": Decimal128("0")} for _ in range(300)]
    connection.database["patients"].insert_many(patients)
    now = datetime.now(UTC)
    bookings = [
        {
            "_id": ObjectId(),
            "patient": patient["_id"],
            "serviceType": "WOUND_DRESSING",
            "status": "REQUESTED",
            "startsAt": now,
            "pricing": {"payableAmount": Decimal128("100"), "currency": "INR"},
            "payment": {"status": "PENDING", "method": "ONLINE", "attempt": 1},
            "timeline": [],
            "version": 1,
        }
        for patient in patients
    ]
    connection.database["nursebookings"].insert_many(bookings)
    return [booking["_id"] for booking in bookings]


def pay(rabbit, bookings):
    messages = []
    for booking in bookings:
        data = {"bookingId": str(booking), "transactionId": f"t-{booking}", "amount": 100}
        body = {"event": "payment.completed", "data": data, "timestamp": "2026-11-22T10:00:00Z", "service": "payments"}
        name = "payment.completed"
        messages.append(Message(f"m-{booking}", name, "payment.events", name, json.dumps(body).encode(), 1))
    sending = PublishingConnection(rabbit).open()
    batch = sending.send(messages)
    sending.wait(batch)
    sending.close()
    assert set(batch.outcomes.values()) == {"confirmed"}


def paid() -> int:
    return connection.database["nursebookings"].count_documents({"payment.status": "PAID"})


def spent() -> int:
    """What all patients together have paid; fails when one paid twice."""
    spent = [int(patient["totalSpent"].to_decimal()) for patient in connection.database["patients"].find({})]
    assert max(spent) <= 100
    return sum(spent)


def queue_is_empty(rabbit):
    return message_count(rabbit, topology().queue) == 0


def messages_in_inbox() -> int:
    return int(InboxMessage.objects.mongo_count_documents({"type": "payment.completed"}))


def inbox_has(messages: int) -> bool:
    return messages_in_inbox() >= messages


def test_consumers_killed_at_random_let_each_payment_take_effect_once(rabbit, unpaid, spawn, brief_transactions):
    pay(rabbit, unpaid)
    random = Random(7)
    consumers = [spawn("consume_events", EVENTS_RETRY_SECONDS="1,2,4") for _ in range(2)]
    for _ in range(4):
        before = messages_in_inbox()
        wanted = min(before + 20, 300)
        eventually(partial(inbox_has, wanted), seconds=90)
        victim = random.choice(consumers)
        victim.kill()
        victim.start()
    pay(rabbit, unpaid)  # every message once more
    eventually(lambda: paid() == 300 and queue_is_empty(rabbit), seconds=90)
    for consumer in consumers:
        assert consumer.stop() == 0
    assert (paid(), spent(), messages_in_inbox()) == (300, 30_000, 300)
    assert (message_count(rabbit, topology().queue), message_count(rabbit, topology().dead_queue)) == (0, 0)


def test_a_consumer_stopped_under_load_exits_0_and_leaves_nothing_half_done(rabbit, unpaid, spawn):
    pay(rabbit, unpaid)
    consumer = spawn("consume_events")
    eventually(lambda: paid() > 10, seconds=60)
    assert consumer.stop() == 0
    done = paid()
    assert spent() == done * 100
    assert eventually(lambda: message_count(rabbit, topology().queue)) == 300 - done
