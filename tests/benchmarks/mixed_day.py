"""`make load`: a mixed day at a fixed rate against every process of the service, on servers of its own.

First it finds what the machine can do (the same day without pauses), then runs `--share` of that for `--minutes`. Half
of the new visits are paid for over RabbitMQ while it runs. It reports latencies, errors, memory and the outbox, and
fails when there was an error, memory grew or events stayed behind.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pika
import psutil
from bson import ObjectId
from pymongo import MongoClient

from booking_service.devstack.servers import MongoServer, RabbitServer, RedisServer
from tests.benchmarks import compare, processes

USERS_AT_FULL_SPEED = 32
FULL_SPEED_SECONDS = 30
SAMPLE_SECONDS = 5.0
MEMORY_GROWTH_LIMIT = 1.10
BACKLOG_DRAIN_SECONDS = 30
WORKERS = ("publish_events", "consume_events")


@dataclass(slots=True)
class Day:
    """The servers and processes of one run, and what was sampled while it ran."""

    url: str
    database: Any
    rabbitmq_url: str
    processes: dict[str, psutil.Process]
    memory: dict[str, list[float]] = field(default_factory=dict)
    backlog: list[int] = field(default_factory=list)
    paid: int = 0

    def sample(self) -> None:
        """Note each process's memory in MB and the events that wait."""
        for name, process in self.processes.items():
            family = process.children(recursive=True) or [process]
            self.memory.setdefault(name, []).append(sum(p.memory_info().rss for p in family) / 2**20)
        self.backlog.append(self.waiting())

    def waiting(self) -> int:
        return int(self.database["outbox"].count_documents({"status": "WAITING", "lane": "BROKER"}))


@contextmanager
def stack(folder: Path) -> Iterator[Day]:
    """MongoDB, Redis, RabbitMQ, one web process and both workers, over an invented catalog and its patients."""
    with ExitStack() as running:
        mongo = running.enter_context(MongoServer(folder / "mongo"))
        redis = running.enter_context(RedisServer(folder / "redis"))
        rabbit = running.enter_context(RabbitServer(folder / "rabbit"))
        environment = processes.service_environment(mongo.uri, redis.uri, RABBITMQ_URL=rabbit.uri)
        processes.manage(environment, "migrate")
        compare.fill_ours(mongo.uri)
        listen(rabbit.uri)
        web = running.enter_context(processes.web(environment, folder / "web.log"))
        workers = {name: running.enter_context(worker(name, environment, folder)) for name in WORKERS}
        database = running.enter_context(MongoClient[dict[str, Any]](mongo.uri)).get_default_database()
        yield Day(web.url, database, rabbit.uri, {"web": web.process, **workers})


def listen(rabbitmq_url: str) -> None:
    """A queue of another service, which keeps the newest thousand: events that nobody takes stay in the outbox."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("another-service", durable=True, arguments={"x-max-length": 1000})
        for exchange in ("booking.events", "patient.events"):
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.queue_bind("another-service", exchange, "#")


@contextmanager
def worker(name: str, environment: dict[str, str], folder: Path) -> Iterator[psutil.Process]:
    """A management command that runs until it is told to stop; an exit status other than 0 is an error."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", name], cwd=processes.ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        if process.wait(30) != 0:
            raise RuntimeError(
                f"{name} ended with {process.returncode}: {(folder / f'{name}.log').read_text()[-2000:]}"
            )


def locust(
    day: Day, folder: Path, patients: range, *, users: int, per_user: float, seconds: float
) -> list[dict[str, str]]:
    """Run the locust file for `patients`; its statistics, a row per endpoint and one `Aggregated`."""
    tokens = folder / "tokens"
    tokens.write_text("\n".join(compare.token(number) for number in patients))
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
    command += [
        "-H",
        day.url,
        "-u",
        str(users),
        "-r",
        str(users),
        "-t",
        f"{seconds:.0f}s",
        "--csv",
        str(folder / "run"),
    ]
    environment = {**os.environ, "LOAD_TOKENS": str(tokens), "LOAD_RATE_PER_USER": str(per_user)}
    with (folder / "locust.log").open("wb") as log:
        subprocess.run([*command, "--exit-code-on-error", "0"], env=environment, stdout=log, stderr=log, check=True)
    return rows_of(folder / "run_stats.csv")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as rows:
        return list(csv.DictReader(rows))


@contextmanager
def meanwhile(work: Any, every: float) -> Iterator[None]:
    """Call `work` every so many seconds in a thread while the block runs."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(every):
            work()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def payments(day: Day) -> Iterator[None]:
    """Pay for every second new visit, as the payment service does: an event a visit."""
    newest = ObjectId()
    connection = pika.BlockingConnection(pika.URLParameters(day.rabbitmq_url))
    channel = connection.channel()
    channel.exchange_declare("payment.events", "topic", durable=True)

    def pay() -> None:
        nonlocal newest
        made = list(day.database["nursebookings"].find({"_id": {"$gt": newest}}, {"pricing": 1}).sort("_id", 1))
        for booking in made[::2]:
            channel.basic_publish("payment.events", "payment.completed", *payment_of(booking))
            day.paid += 1
        newest = made[-1]["_id"] if made else newest
        connection.process_data_events()

    with meanwhile(pay, every=1.0):
        yield
    connection.close()


def payment_of(booking: dict[str, Any]) -> tuple[bytes, pika.BasicProperties]:
    """The body and the properties of a `payment.completed` that pays what is payable."""
    paid = {
        "bookingId": str(booking["_id"]),
        "transactionId": f"load_{booking['_id']}",
        "amount": float(booking["pricing"]["payableAmount"].to_decimal()),
        "method": "ONLINE",
    }
    now = datetime.now(UTC).isoformat()
    event = {"event": "payment.completed", "data": paid, "timestamp": now, "service": "payment-service"}
    properties = pika.BasicProperties(
        message_id=str(uuid4()), type="payment.completed", content_type="application/json", delivery_mode=2
    )
    return json.dumps(event).encode(), properties


def memory_growth(samples: list[float]) -> float:
    """The last fifth of the run over its second fifth: the first warms caches up."""
    fifth = max(len(samples) // 5, 1)
    return median(samples[-fifth:]) / median(samples[fifth : 2 * fifth] or samples)


def drained(day: Day) -> bool:
    """Whether the outbox is empty soon after the load has ended."""
    give_up_at = time.monotonic() + BACKLOG_DRAIN_SECONDS
    while day.waiting() and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return day.waiting() == 0


def unpaid(day: Day) -> int:
    """Payments that were sent and had no effect on their visit within BACKLOG_DRAIN_SECONDS."""
    found = {"payment.transactionId": {"$regex": "^load_"}}
    give_up_at = time.monotonic() + BACKLOG_DRAIN_SECONDS
    while (took := day.database["nursebookings"].count_documents(found)) < day.paid and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return day.paid - took


def report(day: Day, rows: list[dict[str, str]], capacity: float, rate: float, minutes: float) -> list[str]:
    """Print the run as tables; what was not as it should be, a line each."""
    print(
        f"\nMixed day: {rate:.0f} requests/s for {minutes:g} min, of {capacity:.0f}/s that {processes.machine()} can do"
    )
    print("with the load, MongoDB, Redis, RabbitMQ and three processes of the service on it.\n")
    print("| request | number | errors | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|---|---|")
    for row in rows:
        name = f"{row['Type']} {row['Name']}".strip()
        print(
            f"| {name} | {row['Request Count']} | {row['Failure Count']} | {row['50%']} | {row['95%']} | {row['99%']} |"
        )
    print("\n| process | MB at first | MB at last | growth |\n|---|---|---|---|")
    for name, samples in day.memory.items():
        print(f"| {name} | {samples[0]:.0f} | {samples[-1]:.0f} | {memory_growth(samples):.2f} |")
    left = unpaid(day)
    print(f"\nEvents waiting: median {median(day.backlog):.0f}, most {max(day.backlog)}.")
    print(f"Payments sent: {day.paid}, without effect: {left}.")
    grown = [name for name, samples in day.memory.items() if memory_growth(samples) > MEMORY_GROWTH_LIMIT]
    faults = {
        f"{rows[-1]['Failure Count']} requests failed": int(rows[-1]["Failure Count"]) > 0,
        f"memory grew: {', '.join(grown)}": bool(grown),
        "events stayed in the outbox": not drained(day),
        f"{left} payments had no effect": left > 0,
    }
    return [text for text, true in faults.items() if true]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--share", type=float, default=0.7, help="of what the machine can do")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="booking-load-") as name, stack(Path(name)) as day:
        folder = Path(name)
        half = compare.PATIENTS // 2
        with payments(day):
            full = locust(day, folder, range(half), users=USERS_AT_FULL_SPEED, per_user=0, seconds=FULL_SPEED_SECONDS)
        capacity = float(full[-1]["Requests/s"])
        rate = capacity * chosen.share
        drained(day)
        with payments(day), meanwhile(day.sample, every=SAMPLE_SECONDS):
            rows = locust(
                day, folder, range(half, 2 * half), users=round(rate), per_user=1, seconds=chosen.minutes * 60
            )
        faults = report(day, rows, capacity, rate, chosen.minutes)
        for failure in rows_of(folder / "run_failures.csv"):
            print(f"{failure['Occurrences']} x {failure['Method']} {failure['Name']}: {failure['Error']}")
    if faults:
        sys.exit("Not as it should be: " + "; ".join(faults))
    print("No errors, no growth, nothing left behind.")


if __name__ == "__main__":
    main()
