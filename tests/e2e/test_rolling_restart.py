"""A new version is rolled out under load: migrated, then every process replaced; no request and no event is lost.

Two web processes take turns as pods do: one leaves the rotation, ends when its requests are done, and a new one takes
its place once it is ready. Publisher and consumer are told to stop in the middle of their work and started anew.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pika
import pytest
import requests
from pymongo import MongoClient

from booking_service.devstack.servers import HOST, free_port
from tests.chaos.stack import ROOT, Process

pytestmark = pytest.mark.broker

LEAVES_ROTATION_SECONDS = 0.3  # a pod's preStop pause: clients still know it
GRACE_SECONDS = 30
CLIENTS = 4
PAUSE_SECONDS = 0.02
WORKERS = ("publish_events", "consume_events")


class Web:
    """A web process, restarted the way a rollout does it."""

    def __init__(self, environment: dict[str, str]) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self.environment = {**environment, "PORT": str(port), "WEB_CONCURRENCY": "1"}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
        self.running = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ask it to end; it must, within the grace period, and content."""
        self.running.send_signal(signal.SIGTERM)
        assert self.running.wait(GRACE_SECONDS) == 0

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.running.kill()
        self.running.wait()

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/ready", timeout=2).ok
        except requests.RequestException:
            return False


class Rotation:
    """The web processes that get requests, in turns."""

    def __init__(self, webs: list[Web]) -> None:
        self.webs, self.turn = list(webs), itertools.count()

    def url(self) -> str:
        return self.webs[next(self.turn) % len(self.webs)].url

    def replace(self, web: Web) -> None:
        self.webs = [other for other in self.webs if other is not web]
        time.sleep(LEAVES_ROTATION_SECONDS)
        web.stop()
        web.start()
        wait_until(web.is_ready)
        self.webs = [*self.webs, web]


class Patient(threading.Thread):
    """Books an hour after the other and reads each visit back; keeps whatever did not answer as it should."""

    def __init__(self, rotation: Rotation, over: threading.Event, number: int) -> None:
        super().__init__()
        self.rotation, self.over = rotation, over
        self.booked: list[dict[str, Any]] = []
        self.failures: list[str] = []
        account = {"name": "Asha Rao", "email": f"asha{number}@example.com", "phone": f"98765432{number:02d}"}
        answer = self.call("POST", "/api/patients/register", {**account, "password": "Secret123x"})
        self.headers = {"Authorization": f"Bearer {answer['token']}"}

    headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {**self.headers, "Connection": "close"}
        answer = requests.request(method, self.rotation.url() + path, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer.json()["data"]

    def run(self) -> None:
        hours = itertools.product(range(3, 89), range(7, 20), (0, 30))
        while not self.over.is_set():
            try:
                booking = self.call("POST", "/api/bookings", wanted(*next(hours)))
                self.booked.append(booking)
                assert self.call("GET", f"/api/bookings/{booking['_id']}")["status"] in ("REQUESTED", "SEARCHING")
            except (requests.RequestException, AssertionError) as failure:
                self.failures.append(repr(failure))
            self.over.wait(PAUSE_SECONDS)


def wanted(day: int, hour: int, minute: int) -> dict[str, Any]:
    place = {"street": "1 Lake Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
    return {
        "serviceType": "WOUND_DRESSING",
        "scheduledDate": str(datetime.now(UTC).date() + timedelta(days=day)),
        "scheduledTime": f"{hour:02d}:{minute:02d}",
        "serviceLocation": {"type": "HOME", "address": place, "contactPerson": "Family", "contactPhone": "9876543210"},
    }


def wait_until(true: Callable[[], bool], seconds: float = 90) -> None:
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, "waited too long"
        time.sleep(0.05)


class Platform:
    """The rest of the platform on the broker: hears of new bookings, says that they are paid."""

    def __init__(self, rabbitmq_url: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
        self.channel = self.connection.channel()
        for exchange in ("booking.events", "payment.events"):
            self.channel.exchange_declare(exchange, "topic", durable=True)
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "booking.events", "booking.created")
        self.heard: set[str] = set()

    def listen(self) -> set[str]:
        """The ids of all bookings heard of so far."""
        while (found := self.channel.basic_get(self.queue, auto_ack=True))[0] is not None:
            self.heard.add(json.loads(found[2])["data"]["bookingId"])
        return self.heard

    def pay(self, booking: dict[str, Any]) -> None:
        paid = {
            "bookingId": booking["_id"],
            "transactionId": f"t-{booking['_id']}",
            "amount": booking["pricing"]["payableAmount"],
        }
        now = datetime.now(UTC).isoformat()
        event = {"event": "payment.completed", "data": paid, "timestamp": now, "service": "payment-service"}
        properties = pika.BasicProperties(message_id=str(uuid4()), type=event["event"], delivery_mode=2)
        self.channel.basic_publish("payment.events", "payment.completed", json.dumps(event).encode(), properties)


@contextmanager
def service(environment: dict[str, str], folder: Path) -> Iterator[tuple[Rotation, list[Process]]]:
    """Two web processes and both workers, over a catalog."""
    environment = {**environment, "RATE_LIMIT_ENABLED": "false"}
    manage(environment, "seed_catalog", "--verbosity", "0")
    webs = [Web(environment) for _ in range(2)]
    workers = [Process([name], environment, folder / f"{name}.log").start() for name in WORKERS]
    try:
        for web in webs:
            wait_until(web.is_ready)
        yield Rotation(webs), workers
    finally:
        for web in webs:
            web.close()
        for worker in workers:
            worker.close()


def manage(environment: dict[str, str], *arguments: str, expected: int = 0) -> str:
    """Run a management command; what it wrote."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == expected, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def processes(process_environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Rotation, list[Process]]]:
    with service(process_environment, tmp_path) as running:
        yield running


@contextmanager
def busy(patients: list[Patient], over: threading.Event) -> Iterator[None]:
    """The patients book while the block runs."""
    for patient in patients:
        patient.start()
    try:
        yield
    finally:
        over.set()
        for patient in patients:
            patient.join()


def test_it_loses_no_request_and_no_event(processes: tuple[Rotation, list[Process]], rabbitmq_url: str) -> None:
    rotation, workers = processes
    platform = Platform(rabbitmq_url)
    over = threading.Event()
    patients = [Patient(rotation, over, number) for number in range(CLIENTS)]
    with busy(patients, over):
        for web in list(rotation.webs):
            rotation.replace(web)
            for worker in workers:
                assert worker.stop(GRACE_SECONDS) == 0
                worker.start()

    booked = {booking["_id"]: booking for patient in patients for booking in patient.booked}
    assert [failure for patient in patients for failure in patient.failures] == []
    assert len(booked) > 5 * CLIENTS
    wait_until(lambda: platform.listen() >= booked.keys())
    assert platform.heard == booked.keys()

    for booking in booked.values():
        platform.pay(booking)
    for worker in workers:
        assert worker.stop(GRACE_SECONDS) == 0
        worker.start()
    wait_until(lambda: all(statuses(patient) == {"SEARCHING"} for patient in patients))


TO_EACH_SECOND_LAST_MIGRATION = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

executor = MigrationExecutor(connection)
graph = executor.loader.graph

def before(leaf):
    return next((parent.key for parent in graph.node_map[leaf].parents if parent.key[0] == leaf[0]), leaf)

executor.migrate([before(leaf) for leaf in graph.leaf_nodes()])
"""


@pytest.fixture
def before_the_release(process_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of processes on a database of their own, where the last migration of each app is missing."""
    name = f"before_{uuid4().hex[:12]}"
    uri = urlsplit(process_environment["MONGODB_URI"])._replace(path=f"/{name}").geturl()
    environment = {**process_environment, "MONGODB_URI": uri}
    manage(environment, "shell", "--command", TO_EACH_SECOND_LAST_MIGRATION)
    manage(environment, "migrate", "--check", expected=1)
    yield environment
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(name)


def test_it_migrates_while_it_serves(before_the_release: dict[str, str], rabbitmq_url: str, tmp_path: Path) -> None:
    platform, over = Platform(rabbitmq_url), threading.Event()
    with service(before_the_release, tmp_path) as (rotation, _):
        patients = [Patient(rotation, over, number) for number in range(CLIENTS)]
        with busy(patients, over):
            wait_until(lambda: all(patient.booked for patient in patients))
            before = sum(len(patient.booked) for patient in patients)
            manage(before_the_release, "migrate", "--noinput")
            during = sum(len(patient.booked) for patient in patients)
            manage(before_the_release, "migrate", "--check")
            manage(before_the_release, "check_indexes")
            rotation.replace(rotation.webs[0])

        booked = {booking["_id"] for patient in patients for booking in patient.booked}
        assert [failure for patient in patients for failure in patient.failures] == []
        assert len(booked) > during > before
        wait_until(lambda: platform.listen() >= booked)


def statuses(patient: Patient) -> set[str]:
    """Every status the patient's visits are in, page by page."""
    found: set[str] = set()
    for page in range(1, len(patient.booked) // 100 + 2):
        found |= {booking["status"] for booking in patient.call("GET", f"/api/bookings?limit=100&page={page}")}
    return found
