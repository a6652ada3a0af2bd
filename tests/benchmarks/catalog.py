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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from http.client import HTTPConnection
from itertools import count, islice, product
from pathlib import Path
from statistics import median
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import django
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from redis import Redis

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import processes

K = TypeVar("K")
FEW, MANY = 30, 1_000
ROUNDS, REQUESTS = 5, 60
PROMISED, PROMISED_SLOTS = 1.5, 3.0
EVERYWHERE, RARE, NOWHERE = "available at home", "thrice only", "unheard of"
RARE_SERVICES = 3
LIST = "/api/services?limit=20"
# A month with so many visits in each city, of which services; a day has STARTS.
BOOKED = {0: "baby-care", 200: "nebulization", 2_000: "blood-pressure-check"}
DAYS, STARTS, SEATS = 31, 32, 5


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

    def book(self) -> None:
        """Let a seat be taken, or given back, in that process."""
        self._tell("book")

    def change(self) -> None:
        """Let staff change a service, in a process that is not the one we ask."""
        self._tell("change")

    def _tell(self, what: str) -> None:
        assert self.staff.stdin
        assert self.staff.stdout
        self.staff.stdin.write(f"{what}\n")
        self.staff.stdin.flush()
        if self.staff.stdout.readline() != "done\n":
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


def month_of_slots(slug: str = "wound-dressing", city: str = "&city=Pune") -> str:
    first = first_day()
    return f"/api/services/{slug}/slots?from={first}&to={first + timedelta(days=DAYS - 1)}{city}"


def first_day() -> date:
    return (datetime.now(UTC) + timedelta(days=2)).date()


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


def taken(visits: int, city: str) -> Question:
    """A month of a service with SEATS in each of its cities and so many visits in each."""
    where = f"&city={city}" if city else ""
    title = f"31 days of slots, {SEATS} seats, {visits:,} visits in a city, {'one city' if city else 'all cities'}"
    return Question(title, repeated(month_of_slots(BOOKED[visits], where)))


TAKEN = [taken(visits, city) for visits in BOOKED for city in ("Pune", "")]
JUST_BOOKED = Question(f"{TAKEN[-2].title}, after each booking", TAKEN[-2].paths, Side.book)
SLOTS = (
    (LIST_KEPT, SLOTS_KEPT),
    *((LIST_KEPT, question) for question in TAKEN),
    (LIST_BUILT, SLOTS_BUILT),
    (LIST_BUILT, Question(f"{TAKEN[-1].title}, nothing cached", TAKEN[-1].paths, Side.forget)),
)


def book(database: Database[dict[str, Any]], slug: str, visits: int) -> None:
    """Give the service SEATS in each of its cities, and its month so many visits of 30 minutes in each: some starts
    have all seats taken, others none."""
    terms = {"availability.capacityPerSlot": SEATS, "serviceDetails.duration": 30}
    database["servicecatalogs"].update_one({"slug": slug}, {"$set": terms})
    service = database["servicecatalogs"].find_one({"slug": slug}) or {}
    opens = datetime.combine(first_day(), clock(6), ZoneInfo("Asia/Kolkata"))
    claims = []
    for city, number in product(service["availability"]["availableCities"], range(visits)):
        start = number // SEATS * 7 % (DAYS * STARTS)
        at = opens + timedelta(days=start // STARTS, minutes=start % STARTS * 30)
        first_cell = int(at.timestamp()) // 300
        claims += [f"seat:{service['name']}:{city.casefold()}:{number % SEATS}:{first_cell + n}" for n in range(6)]
    if claims:
        gone = datetime.now(UTC) + timedelta(days=DAYS * 2)
        database["slotclaims"].insert_many(
            [{"_id": claim, "booking": ObjectId(), "expiresAt": gone} for claim in claims]
        )


def fill(uri: str, services: int) -> None:
    """The seed and copies of it, `services` in all; RARE_SERVICES of them say so."""
    with MongoClient[dict[str, Any]](uri) as client:
        collection = (database := client.get_default_database())["servicecatalogs"]
        for visits, slug in BOOKED.items():
            book(database, slug, visits)
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


def medians(asked: Mapping[K, tuple[Side, Question]], rounds: int) -> dict[K, float]:
    """Of each the median of the rounds' medians, asked in turn; the first round only warms up."""
    found: dict[K, list[float]] = {key: [] for key in asked}
    paths = {key: question.paths() for key, (_, question) in asked.items()}
    for number in range(rounds + 1):
        times: dict[K, list[float]] = {key: [] for key in asked}
        for _ in range(REQUESTS):
            for key, (side, question) in asked.items():
                question.before(side)
                times[key] += [side.ask(path) for path in islice(paths[key], 1)]
        for key in asked if number else ():
            found[key].append(median(times[key]))
    return {key: median(values) for key, values in found.items()}


def line(title: str, first: float, second: float, promised: float) -> str:
    ratio = second / first
    verdict = "✓" if ratio <= promised else "missed"
    return f"| {title} | {first:.2f} | {second:.2f} | {ratio:.2f} (≤ {promised:g}) | {verdict} |"


def unbound(title: str, first: float, second: float) -> str:
    return f"| {title} | {first:.2f} | {second:.2f} | {second / first:.2f} | |"


def is_missed(row: str) -> bool:
    return row.endswith("| missed |")


def table(sides: dict[int, Side], rounds: int) -> Iterator[str]:
    yield f"| median of a request (ms) | {FEW} services | {MANY:,} | ratio | |"
    yield "|---|--:|--:|--:|---|"
    for question in QUESTIONS:
        few, many = medians({size: (side, question) for size, side in sides.items()}, rounds).values()
        yield line(question.title, few, many, PROMISED)
    few, many = medians({size: (side, SEARCH_BUILT) for size, side in sides.items()}, rounds).values()
    yield unbound(SEARCH_BUILT.title, few, many)
    yield ""
    yield "| median of a request (ms) | list | slots | ratio | |"
    yield "|---|--:|--:|--:|---|"
    for listed, question in SLOTS:
        asked = {name: (sides[MANY], one) for name, one in (("list", listed), ("slots", question))}
        first, second = medians(asked, rounds).values()
        yield line(f"{question.title}, against a {listed.title}", first, second, PROMISED_SLOTS)
    first, second = medians({"list": (sides[MANY], LIST_KEPT), "slots": (sides[MANY], JUST_BOOKED)}, rounds).values()
    yield unbound(JUST_BOOKED.title, first, second)


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
    """For each line that comes in rename a service, or take a seat and give it back with the next; and say so."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    django.setup()
    from booking_service.api.callers import SYSTEM
    from catalog import services

    [listed], _ = services.services_page(services.Shelf(), skip=0, limit=1)
    bookings = alternating_bookings()
    for number, wanted in enumerate(sys.stdin):
        if wanted == "book\n":
            next(bookings)
        else:
            service = services.service_document(name=listed["name"])
            assert service
            service["displayName"] = f"Renamed {number} times"
            services.service_update(actor=SYSTEM, service_id=service["_id"], version=service["__v"], document=service)
        print("done", flush=True)


def alternating_bookings() -> Iterator[None]:
    """A visit at nine on the second evening is booked, and cancelled, and so on: its claims alone."""
    from booking_service.djongo import transaction
    from bookings import slot_guard
    from catalog import services

    service, booking_id = services.service_find(BOOKED[max(BOOKED)]), ObjectId()
    at = datetime.combine(first_day() + timedelta(days=1), clock(21), ZoneInfo("Asia/Kolkata"))
    need = slot_guard.Need("person:benchmark", at, at + timedelta(minutes=30), service.name, "Pune", SEATS)
    while True:
        held = transaction.run(slot_guard.take, booking_id, need)
        yield
        transaction.run(slot_guard.give_back, booking_id, held)
        yield


def main() -> int:
    """Fill, measure, print; 1 if a bound was missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--staff", action="store_true", help="play staff; the benchmark starts this itself")
    wanted = options.parse_args()
    if wanted.staff:
        play_staff()
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mongo = stack.enter_context(MongoServer(folder / "mongodb"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        sides = {size: started(stack, mongo, redis, folder, size) for size in (FEW, MANY)}
        lines = list(table(sides, wanted.rounds))
    sys.stdout.write("\n".join([*lines, "", f"Commit {processes.commit()}; {processes.machine()}."]) + "\n")
    return int(any(map(is_missed, lines)))


if __name__ == "__main__":
    sys.exit(main())
