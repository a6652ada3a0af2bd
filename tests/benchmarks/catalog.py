"""`python -m tests.benchmarks.catalog`: 1,000 services against 30, and a month of slots against a list.

Two web processes on one MongoDB and one Redis of their own, asked in turn, one request at a time over one connection.
Each has beside it a process of staff, who change a service when a question says so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import count, islice, product
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote, urlsplit

import django
from bson import ObjectId
from pymongo import MongoClient
from redis import Redis

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import processes

FEW, MANY = 30, 1_000
ROUNDS, REQUESTS = 5, 60
PROMISED, PROMISED_SLOTS = 1.5, 3.0
EVERYWHERE, RARE, NOWHERE = "available at home", "thrice only", "unheard of"
RARE_SERVICES = 3
LIST = "/api/services?limit=20"


@dataclass(frozen=True, slots=True)
class Side:
    """One web process and what it keeps its answers in."""

    connection: HTTPConnection
    redis: Redis
    staff: subprocess.Popen[str]

    def ask(self, path: str) -> float:
        """Milliseconds until the whole answer to GET `path` was here."""
        began = time.perf_counter()
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        return took

    def forget(self) -> None:
        """Let the next request find nothing cached."""
        self.redis.flushdb()

    def change(self) -> None:
        """Let staff change a service, in a process that is not the one we ask."""
        assert self.staff.stdin
        assert self.staff.stdout
        self.staff.stdin.write("change\n")
        self.staff.stdin.flush()
        if self.staff.stdout.readline() != "changed\n":
            raise RuntimeError("the process of staff has ended")


@dataclass(frozen=True, slots=True)
class Question:
    """A row of the table: what is asked again and again, and what is done before each time."""

    title: str
    paths: Callable[[], Iterator[str]]
    before: Callable[[Side], None] = lambda side: None


def repeated(path: str) -> Callable[[], Iterator[str]]:
    return lambda: (path for _ in count())


def spellings(text: str) -> Iterator[str]:
    """Searches for `text` that are not cached: each spelling in capital and small letters is an answer of its own."""
    letters = [(letter, letter.upper()) if letter.isalpha() else (letter,) for letter in text]
    return (search("".join(spelling)) for spelling in product(*letters))


def search(text: str) -> str:
    return f"/api/services/search?q={quote(text)}"


def month_of_slots() -> str:
    first = (datetime.now(UTC) + timedelta(days=2)).date()
    return f"/api/services/wound-dressing/slots?city=Pune&from={first}&to={first + timedelta(days=30)}"


LIST_KEPT, LIST_BUILT = (
    Question("list, cached", repeated(LIST)),
    Question("list, not cached", repeated(LIST), Side.forget),
)
SLOTS_KEPT = Question("31 days of slots, service cached", repeated(month_of_slots()))
SLOTS_BUILT = Question("31 days of slots, nothing cached", repeated(month_of_slots()), Side.forget)
SEARCH_BUILT = Question("search, nothing cached", repeated(search(RARE)), Side.forget)
QUESTIONS = (
    LIST_KEPT,
    LIST_BUILT,
    Question("search that all match, cached", repeated(search(EVERYWHERE))),
    Question("search that all match, not cached", lambda: spellings(EVERYWHERE)),
    Question("search that three match, not cached", lambda: spellings(RARE)),
    Question("search that none match, not cached", lambda: spellings(NOWHERE)),
    Question("first search after a change", repeated(search(RARE)), Side.change),
    SLOTS_KEPT,
    SLOTS_BUILT,
)


def fill(uri: str, services: int) -> None:
    """The seed and copies of it, `services` in all; RARE_SERVICES of them say so."""
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client.get_default_database()["servicecatalogs"]
        seeded = list(collection.find(sort=[("sortOrder", 1)]))
        copies = [copy_of(seeded[number % len(seeded)], number) for number in range(len(seeded), services)]
        collection.insert_many(copies)
        everywhere = [{"$set": {"longDescription": {"$concat": ["$longDescription", f" {EVERYWHERE}"]}}}]
        collection.update_many({}, everywhere)
        rare = [service["_id"] for service in seeded[:RARE_SERVICES]]
        collection.update_many({"_id": {"$in": rare}}, {"$push": {"seo.keywords": RARE}})


def copy_of(service: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        **service,
        "_id": ObjectId(),
        "name": f"{service['name']}_{number}",
        "slug": f"{service['slug']}-{number}",
        "displayName": f"{service['displayName']} {number}",
        "sortOrder": number,
    }


def medians(sides: dict[int, Side], question: Question, rounds: int) -> dict[int, float]:
    """Of each side the median of the rounds' medians; the first round only warms up."""
    found: dict[int, list[float]] = {size: [] for size in sides}
    paths = {size: question.paths() for size in sides}
    for number in range(rounds + 1):
        times: dict[int, list[float]] = {size: [] for size in sides}
        for _ in range(REQUESTS):
            for size, side in sides.items():
                question.before(side)
                times[size] += [side.ask(path) for path in islice(paths[size], 1)]
        for size in sides if number else ():
            found[size].append(median(times[size]))
    return {size: median(values) for size, values in found.items()}


def line(title: str, first: float, second: float, promised: float) -> str:
    ratio = second / first
    verdict = "✓" if ratio <= promised else "missed"
    return f"| {title} | {first:.2f} | {second:.2f} | {ratio:.2f} (≤ {promised:g}) | {verdict} |"


def table(sides: dict[int, Side], rounds: int) -> Iterator[str]:
    found = {question.title: medians(sides, question, rounds) for question in (*QUESTIONS, SEARCH_BUILT)}
    few, many = found[SEARCH_BUILT.title].values()
    yield f"| median of a request (ms) | {FEW} services | {MANY:,} | ratio | |"
    yield "|---|--:|--:|--:|---|"
    for question in QUESTIONS:
        yield line(question.title, found[question.title][FEW], found[question.title][MANY], PROMISED)
    yield f"| {SEARCH_BUILT.title} | {few:.2f} | {many:.2f} | {many / few:.2f} | |"
    yield ""
    yield "| median of a request (ms) | list | slots | ratio | |"
    yield "|---|--:|--:|--:|---|"
    for listed, slots in ((LIST_KEPT, SLOTS_KEPT), (LIST_BUILT, SLOTS_BUILT)):
        title = f"{slots.title}, against a {listed.title}"
        yield line(title, found[listed.title][MANY], found[slots.title][MANY], PROMISED_SLOTS)


def started(stack: ExitStack, mongo: MongoServer, redis: RedisServer, folder: Path, size: int) -> Side:
    """A web process on a database of its own with `size` services."""
    uri = mongo.uri.replace("/patient_booking?", f"/services_{size}?")
    redis_uri = f"{redis.uri.rpartition('/')[0]}/{int(size == MANY)}"
    environment = processes.service_environment(uri, redis_uri)
    processes.manage(environment, "migrate", "--verbosity", "0")
    processes.manage(environment, "seed_catalog")
    fill(uri, size)
    web = stack.enter_context(processes.web(environment, folder / f"web{size}.log"))
    address = urlsplit(web.url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=10)
    return Side(connection, Redis.from_url(redis_uri), stack.enter_context(staff(environment)))


@contextmanager
def staff(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process of staff; it ends with what it reads from."""
    command = [sys.executable, "-m", "tests.benchmarks.catalog", "--staff"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=processes.ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield process


def play_staff() -> None:
    """Rename a service for each line that comes in, and say so."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    django.setup()
    from booking_service.api.callers import SYSTEM
    from catalog import services

    [listed], _ = services.services_page(services.Shelf(), skip=0, limit=1)
    for number, _ in enumerate(sys.stdin):
        service = services.service_document(name=listed["name"])
        assert service
        service["displayName"] = f"Renamed {number} times"
        services.service_update(actor=SYSTEM, service_id=service["_id"], version=service["__v"], document=service)
        print("changed", flush=True)


def main() -> None:
    """Fill, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--staff", action="store_true", help="play staff; the benchmark starts this itself")
    wanted = options.parse_args()
    if wanted.staff:
        play_staff()
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mongo = stack.enter_context(MongoServer(folder / "mongodb"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        sides = {size: started(stack, mongo, redis, folder, size) for size in (FEW, MANY)}
        lines = list(table(sides, wanted.rounds))
    sys.stdout.write("\n".join([*lines, "", f"Commit {processes.commit()}; {processes.machine()}."]) + "\n")


if __name__ == "__main__":
    main()
