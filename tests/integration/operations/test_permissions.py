"""The users of docs/operations.md, on servers that ask for a password, and the rights written there."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from booking_service.devstack.servers import HOST, MongoServer, RabbitServer
from events import broker
from events.topology import topology
from tests.integration.events.rabbit import message_count, take

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text()
PASSWORD = "an-invented-password"


# --- RabbitMQ ------------------------------------------------------------------------------------------------------
def documented_permissions() -> list[str]:
    """Configure, write and read, as the page gives them to rabbitmqctl."""
    (line,) = re.findall(r"^ *rabbitmqctl set_permissions booking (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
    return re.findall(r"'([^']*)'", line)


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory, rabbitmq_url: str) -> Iterator[RabbitServer]:
    """A node of its own, whose user `booking` may do nothing yet."""
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as running:
        running.control("add_user", "booking", PASSWORD)
        yield running


@pytest.fixture
def address(rabbit: RabbitServer) -> str:
    return f"amqp://booking:{PASSWORD}@{HOST}:{rabbit.port}/"


def allow(rabbit: RabbitServer, permissions: list[str]) -> None:
    rabbit.control("set_permissions", "booking", *permissions)


def message(exchange: str, name: str) -> broker.Message:
    return broker.Message(id=name, type=name, exchange=exchange, routing_key=name, body=b"{}", timestamp=0)


@pytest.mark.broker
def test_rabbitmqs_user_declares_publishes_and_moves_messages(rabbit: RabbitServer, address: str) -> None:
    allow(rabbit, documented_permissions())
    broker.declare_topology(address, topology())
    ours, of_payments = message("booking.events", "booking.created"), message("payment.events", "payment.completed")
    with broker.short_channel(rabbit.uri) as another_service:
        another_service.basic_publish(of_payments.exchange, of_payments.routing_key, b"1", of_payments.properties())
        another_service.basic_publish(of_payments.exchange, of_payments.routing_key, b"2", of_payments.properties())

    publishing = broker.PublishingConnection(address).open()
    batch = publishing.send([ours])
    publishing.wait(batch)
    publishing.close()
    consume_into(address, [topology().retry_queues[-1], topology().dead_queue])

    assert batch.outcome_of(ours.id) is broker.Outcome.RETURNED  # it may be published; nobody listens here
    assert message_count(address, topology().retry_queues[-1]) == 1
    assert broker.depths(address, topology()) == {"events": 0, "dead": 1}
    assert [letter.body for letter in take(address, topology().dead_queue, 1)] == [b"2"]


def consume_into(address: str, queues: list[str]) -> None:
    """Take one message for each of `queues` and move it there."""
    subscription = broker.Subscription(address, topology(), prefetch=5)
    left = list(queues)
    while left:
        for delivery in subscription.poll(5):
            subscription.move(delivery, left.pop(0), {"x-reason": "test"})
        subscription.ack_settled(all_of_them=True)
    subscription.close()


@pytest.mark.broker
def test_rabbitmqs_user_needs_to_write_to_the_default_exchange(rabbit: RabbitServer, address: str) -> None:
    configure, write, read = documented_permissions()
    allow(rabbit, [configure, write.replace(r"|amq\.default", ""), read])
    with broker.short_channel(rabbit.uri) as channel:
        channel.queue_delete(topology().queue)  # the right is asked for when a queue is made

    with pytest.raises(broker.BrokerUnavailableError, match="ChannelClosedByBroker"):
        broker.declare_topology(address, topology())


@pytest.mark.broker
@pytest.mark.parametrize("foreign", ["orders", "main.events", "payment.events.audit"])
def test_rabbitmqs_user_may_not_touch_what_is_not_ours(rabbit: RabbitServer, address: str, foreign: str) -> None:
    allow(rabbit, documented_permissions())

    refused = pytest.raises(broker.BrokerUnavailableError, match="ChannelClosedByBroker")
    with refused, broker.short_channel(address) as channel:
        channel.queue_declare(foreign, durable=True)


# --- MongoDB -------------------------------------------------------------------------------------------------------
class GuardedMongo(MongoServer):
    """A mongod that serves nobody without a password; the first user may be made from this machine."""

    def command(self) -> list[str]:
        key = self.folder / "key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        return [*super().command(), "--auth", "--keyFile", str(key)]

    def is_ready(self) -> bool:
        """While there is no user, this machine may make the set, though not ask whether there is one."""
        with MongoClient[dict[str, Any]](
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            with suppress(PyMongoError):  # still starting, or made already
                members = [{"_id": 0, "host": f"{HOST}:{self.port}"}]
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            with suppress(PyMongoError):
                return bool(client.admin.command("hello")["isWritablePrimary"])
        return False


def documented_commands() -> list[tuple[str, dict[str, Any]]]:
    """The database and the command of each `runCommand` of the page, in its order."""
    found = re.findall(r'^ *db\.getSiblingDB\("(\w+)"\)\.runCommand\((\{.*?\})\)$', PAGE, re.MULTILINE | re.DOTALL)
    return [(database, json.loads(command)) for database, command in found]


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address for the documented user of a server that knows an administrator and what the page makes."""
    with GuardedMongo(tmp_path_factory.mktemp("mongo")) as running:
        with MongoClient[dict[str, Any]](HOST, running.port, directConnection=True) as first:
            first.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        as_root = running.uri.replace("//", f"//root:{PASSWORD}@").replace("?", "?authSource=admin&")
        with MongoClient[dict[str, Any]](as_root) as root:
            for database, command in documented_commands():
                root[database].command({**command, "pwd": PASSWORD} if "pwd" in command else command)
        as_booking = running.uri.replace("//", f"//booking:{PASSWORD}@")
        manage(as_booking, "migrate", "--verbosity", "0")
        yield as_booking


def manage(uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MONGODB_URI": uri}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("command", ["migrate --check", "seed_catalog", "check_indexes", "sweep_bookings"])
def test_mongodbs_user_may_do_all_that_a_rollout_does(mongo: str, command: str) -> None:
    done = manage(mongo, *command.split())

    assert done.returncode == 0, done.stderr[-2000:]


def test_mongodbs_user_may_watch_the_outbox_in_and_out_of_transactions(mongo: str) -> None:
    with MongoClient[dict[str, Any]](mongo) as client:
        outbox = client.get_default_database()["outbox"]
        outbox.delete_many({})
        with outbox.watch(max_await_time_ms=2000) as changes, client.start_session() as session:
            with session.start_transaction():
                outbox.insert_one({"_id": 1}, session=session)
            assert next(changes)["documentKey"] == {"_id": 1}


def test_mongodbs_user_may_not_touch_what_is_not_ours(mongo: str) -> None:
    with MongoClient[dict[str, Any]](mongo) as client:
        for command in ({"createUser": "x", "pwd": "x", "roles": []}, {"find": "secrets"}):
            with pytest.raises(OperationFailure, match=r"not authorized|requires authentication"):
                client["another"].command(command)
