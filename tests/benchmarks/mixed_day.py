"""`make load`: a mixed day at a fixed rate against every process of the service, on servers of its own.

First it finds what the machine can do (`verdict` says what that means), then runs `--share` of it for `--minutes`.
Patients come at a fixed rate and do not wait for one another. Half of the new visits are paid for over RabbitMQ while
it runs; stand-in partners take refunds and notifications, and tell of them over RabbitMQ. It reports latencies, errors,
memory and both lanes of the outbox, and fails when something is not as it should be. `--keep` writes docs/load.md.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import psutil
from bson import ObjectId
from pika.exceptions import ChannelClosedByBroker
from pymongo import MongoClient

from booking_service.devstack.servers import HOST, MongoServer, RabbitServer, RedisServer, free_port
from tests.benchmarks import compare, processes
from tests.benchmarks.verdict import Left, Memory, Run, Verdict

PATIENTS = 8_000
USERS_AT_FULL_SPEED = 32
FULL_SPEED_SECONDS = STEP_SECONDS = 20
STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
SAMPLE_SECONDS = 5.0
DRAIN_SECONDS = 30
QUEUE = "patient-booking.events"
LANES = ("BROKER", "PARTNER")
ADDRESSES = ("MAIN_API_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL")
PAGE = processes.ROOT / "docs" / "load.md"


@dataclass(frozen=True, slots=True)
class Command:
    """A Python command beside web, and what its log says once it is ready."""

    name: str
    arguments: tuple[str, ...]
    ready: str


WORKERS = (
    Command("publish_events", ("manage.py", "publish_events"), "publisher_started"),
    Command("consume_events", ("manage.py", "consume_events"), "consumer_started"),
)


@dataclass(slots=True)
class Day:
    """The servers and processes of one run, and what was sampled while it ran."""

    url: str
    database: Any
    rabbitmq_url: str
    processes: dict[str, psutil.Process]
    memory: dict[str, list[float]] = field(default_factory=dict)
    backlog: list[dict[str, int]] = field(default_factory=list)
    paid: int = 0
    patients: Iterator[int] = field(default_factory=count)

    def sample(self) -> None:
        """Note each process's memory in MB and the events that wait."""
        for name, process in self.processes.items():
            family = process.children(recursive=True) or [process]
            self.memory.setdefault(name, []).append(sum(p.memory_info().rss for p in family) / 2**20)
        self.backlog.append(self.waiting())

    def waiting(self) -> dict[str, int]:
        """Unsent rows of the outbox by lane."""
        outbox = self.database["outbox"]
        return {lane: outbox.count_documents({"status": "WAITING", "lane": lane}) for lane in LANES}


@contextmanager
def stack(folder: Path) -> Iterator[Day]:
    """MongoDB, Redis, RabbitMQ, stand-in partners, web and both workers, over an invented catalog and its patients."""
    with ExitStack() as running:
        mongo = running.enter_context(MongoServer(folder / "mongo"))
        redis = running.enter_context(RedisServer(folder / "redis"))
        rabbit = running.enter_context(RabbitServer(folder / "rabbit"))
        environment = service_environment(mongo.uri, redis.uri, rabbit.uri)
        processes.manage(environment, "migrate")
        compare.fill_ours(mongo.uri, patients=PATIENTS)
        listen(rabbit.uri)
        running.enter_context(command(partners(folder), environment, folder))
        web = running.enter_context(processes.web(environment, folder / "web.log"))
        workers = {one.name: running.enter_context(command(one, environment, folder)) for one in WORKERS}
        wait_for_consumer(rabbit.uri)
        database = running.enter_context(MongoClient[dict[str, Any]](mongo.uri)).get_default_database()
        yield Day(web.url, database, rabbit.uri, {"web": web.process, **workers})


def service_environment(mongodb: str, redis: str, rabbitmq: str) -> dict[str, str]:
    """The deployment's own number of web processes, and partners on this machine.

    As in production but for its name: there an answer of a stand-in is refused.
    """
    addresses = {name: f"http://{HOST}:{free_port()}" for name in ADDRESSES}
    like = {"ENVIRONMENT": "development", "LOG_FORMAT": "json", "RABBITMQ_URL": rabbitmq, **addresses}
    made = processes.service_environment(mongodb, redis, **like)
    del made["WEB_CONCURRENCY"]
    return made


def partners(folder: Path) -> Command:
    """The stand-ins of the devstack, whose memory lies in the folder."""
    arguments = ("-m", "booking_service.devstack.partners", "--folder", str(folder))
    return Command("partners", arguments, "stand-in notifications: at")


def wait_for_consumer(rabbitmq_url: str) -> None:
    """Return once our queue is consumed: what is published before it is there reaches nobody."""
    give_up_at = time.monotonic() + processes.START_SECONDS
    while time.monotonic() < give_up_at:
        with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection, suppress(ChannelClosedByBroker):
            if connection.channel().queue_declare(QUEUE, passive=True).method.consumer_count:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Nobody consumes {QUEUE}.")


def listen(rabbitmq_url: str) -> None:
    """A queue of another service, which keeps the newest thousand: events that nobody takes stay in the outbox."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("another-service", durable=True, arguments={"x-max-length": 1000})
        for exchange in ("booking.events", "patient.events"):
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.queue_bind("another-service", exchange, "#")


@contextmanager
def command(one: Command, environment: dict[str, str], folder: Path) -> Iterator[psutil.Process]:
    """Runs until it is told to stop, from when it is ready; one that ended before, or not with 0, is an error."""
    file = folder / f"{one.name}.log"
    with file.open("wb") as log:
        line = [sys.executable, "-u", *one.arguments]
        process = subprocess.Popen(line, cwd=processes.ROOT, env=environment, stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + processes.START_SECONDS
        while one.ready not in file.read_text() and process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        ended_by_itself = process.poll()
        process.terminate()
        if ended_by_itself is not None or process.wait(30) != 0:
            raise RuntimeError(f"{one.name} ended with {process.returncode}: {file.read_text()[-2000:]}")


def locust(day: Day, folder: Path, *more: str, users: int, per_user: float, seconds: float) -> Run:
    """Run the locust file for `users` patients of whom each makes `per_user` requests a second, 0: without pause.

    `more` are options of locust.
    """
    tokens = folder / "tokens"
    tokens.write_text("\n".join(compare.token(number) for number in islice(day.patients, users)))
    line = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
    line += ["-H", day.url, "-u", str(users), "-r", str(users), "-t", f"{seconds:.0f}s", "--csv", str(folder / "run")]
    line += ["--exit-code-on-error", "0", *more]
    environment = {**os.environ, "LOAD_TOKENS": str(tokens), "LOAD_RATE_PER_USER": str(per_user)}
    with (folder / "locust.log").open("wb") as log:
        subprocess.run(line, env=environment, stdout=log, stderr=log, check=True)
    return Run(rows_of(folder / "run_stats.csv"), users * per_user)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as rows:
        return list(csv.DictReader(rows))


def failures(folder: Path) -> list[str]:
    """What failed in the last run of locust, a line each."""
    rows = rows_of(folder / "run_failures.csv")
    return [f"{row['Occurrences']} x {row['Method']} {row['Name']}: {row['Error']}" for row in rows]


@contextmanager
def meanwhile(work: Callable[[], None], every: float) -> Iterator[None]:
    """Call `work` every so many seconds in a thread while the block runs; what it raises is raised at the end."""
    over, broken = threading.Event(), []

    def loop() -> None:
        try:
            while not over.wait(every):
                work()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that would not notice otherwise
            broken.append(error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if broken:
        raise RuntimeError(f"{getattr(work, '__name__', work)} broke off while the load ran") from broken[0]


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


def drained(day: Day) -> dict[str, int]:
    """What is left in the outbox once its lanes are empty, or after DRAIN_SECONDS."""
    give_up_at = time.monotonic() + DRAIN_SECONDS
    while any((left := day.waiting()).values()) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return left


def unpaid(day: Day) -> int:
    """Payments that were sent and had no effect on their visit within DRAIN_SECONDS."""
    found = {"payment.transactionId": {"$regex": "^load_"}}
    give_up_at = time.monotonic() + DRAIN_SECONDS
    while (took := day.database["nursebookings"].count_documents(found)) < day.paid and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return day.paid - took


def capacity(day: Day, folder: Path) -> float:
    """The highest rate that holds: from what comes of 32 patients without a pause downwards.

    Those find how many answers there are when somebody always waits for one. Patients who come at that rate whatever
    the answers take would queue up without end, so a rate counts only when it was tried with such patients.
    """
    most = without_errors(
        locust(day, folder, users=USERS_AT_FULL_SPEED, per_user=0, seconds=FULL_SPEED_SECONDS), folder
    )
    for share in STEPS:
        drained(day)
        rate = round(most.per_second * share)
        # All come in the first second, which is a twentieth of the step: it counts from then on.
        run = locust(day, folder, "--reset-stats", users=rate, per_user=1, seconds=STEP_SECONDS)
        tried = without_errors(run, folder)
        verdict = "it can" if tried.holds else "too many"
        say(f"{rate} requests/s: {tried.per_second:.0f} came, p95 {tried.p95:.0f} ms: {verdict}")
        if tried.holds:
            return rate
    sys.exit(f"The machine cannot do {rate} requests/s: is it busy?")


def without_errors(run: Run, folder: Path) -> Run:
    if run.failed:
        sys.exit("Requests failed while it was sought what the machine can do:\n" + "\n".join(failures(folder)))
    return run


def say(text: str) -> None:
    """Progress, for the one who waits."""
    sys.stderr.write(f"{text}\n")


def measure(day: Day, folder: Path, *, minutes: float, share: float) -> Verdict:
    """Find what the machine can do, run `share` of it, and wait until everything has finished."""
    with payments(day):
        most = capacity(day, folder)
        drained(day)
        with meanwhile(day.sample, every=SAMPLE_SECONDS):
            run = locust(day, folder, users=round(most * share), per_user=1, seconds=minutes * 60)
    memory = [Memory(name, samples, SAMPLE_SECONDS) for name, samples in day.memory.items()]
    waiting = drained(day)
    left = Left(waiting, day.database["outbox"].count_documents({"status": "DEAD"}), unpaid(day))
    return Verdict(run, most, minutes, memory, day.backlog, day.paid, left)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--share", type=float, default=0.7, help="of what the machine can do")
    options.add_argument("--keep", action="store_true", help="write docs/load.md")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="booking-load-") as name, stack(Path(name)) as day:
        verdict = measure(day, Path(name), minutes=chosen.minutes, share=chosen.share)
        page = verdict.markdown(processes.machine(), processes.commit())
        print(page, *failures(Path(name)), sep="\n")
    if chosen.keep:
        PAGE.write_text(f"# A mixed day\n\n`make load`, {datetime.now(UTC):%d %B %Y}: {page}")
    if faults := verdict.faults():
        sys.exit("Not as it should be: " + "; ".join(faults))


if __name__ == "__main__":
    main()
