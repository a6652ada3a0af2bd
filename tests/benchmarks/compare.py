"""`make bench`: this service beside the yardstick, on the same MongoDB and the same visits, in alternating rounds.

Each side reads the documents in the form that it writes itself: the yardstick's database has the monolith's floats and
the monolith's index, ours what the importer makes of them, with all of our indexes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

import jwt
from pymongo import DESCENDING, MongoClient

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import population, processes, report
from tests.benchmarks.load import Call, Figures, measure

OURS, MONGOOSE, DRIVER = "ours", "mongoose", "driver"
PATIENTS, VISITS = 2_000, 50_000
READERS, BOOKERS = 200, 400
FIRST_DAY = population.EPOCH
BATCH = 5_000
DOCS = processes.ROOT / "docs"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table: what is asked, and the ratios that issue and README promise."""

    title: str
    calls: Callable[[], list[Call]]
    to_mongoose: float
    to_driver: float


def token(number: int) -> str:
    """What both sides accept from patient `number`."""
    now = int(datetime.now(UTC).timestamp())
    claims = {"id": str(population.identity(3, number)), "type": "patient", "iat": now, "exp": now + 86_400}
    return jwt.encode({**claims, "jti": f"{number:032x}"}, processes.SECRET, algorithm="HS256")


def provider_token(number: int) -> str:
    """As the monolith gives one to provider `number`."""
    return jwt.encode({"id": str(population.identity(8, number))}, processes.SECRET, algorithm="HS256")


def endpoints() -> list[Endpoint]:
    """The rows, in the order of the issue."""
    tokens = [token(number) for number in range(READERS)]
    visits = [(tokens[n % PATIENTS], population.identity(7, n)) for n in range(5 * PATIENTS) if n % PATIENTS < READERS]
    new_visits = booking_calls()
    return [
        Endpoint("GET /api/services", lambda: [Call("GET", "/api/services")], 6, 2),
        Endpoint(
            "GET /api/patients/profile", lambda: [Call("GET", "/api/patients/profile", t) for t in tokens], 2.5, 1.2
        ),
        Endpoint(
            "GET /api/bookings?limit=20", lambda: [Call("GET", "/api/bookings?limit=20", t) for t in tokens], 3, 1.2
        ),
        Endpoint("GET /api/bookings/:id", lambda: [Call("GET", f"/api/bookings/{v}", t) for t, v in visits], 2.5, 1.2),
        Endpoint("POST /api/bookings", lambda: list(islice(new_visits, 15_000)), 1.5, 0.7),
    ]


def booking_calls(start: int = 0) -> Iterator[Call]:
    """Visits that nobody has booked yet: another patient each time, then the next hour, from the `start`th on."""
    tokens = [token(number) for number in range(READERS, READERS + BOOKERS)]
    first_day = datetime.now(UTC).date() + timedelta(days=2)
    for place in count(start):
        day, hour = first_day + timedelta(days=place // 15), 6 + place % 15
        for number, text in enumerate(tokens):
            yield Call("POST", "/api/bookings", text, _body(number, f"{day}", f"{hour:02d}:00"))


def _body(number: int, day: str, hour: str) -> str:
    place = {"street": f"{number} Lake Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
    wanted = {
        "serviceType": f"SERVICE_{number % population.SERVICES:03d}",
        "scheduledDate": day,
        "scheduledTime": hour,
        "serviceLocation": {
            "type": "HOME",
            "address": {**place, "coordinates": {"lat": 18.52, "lng": 73.85}},
            "contactPerson": "Family",
            "contactPhone": "9876543210",
        },
        "serviceDetails": {"description": "Wound dressing", "specialInstructions": "Ring twice"},
        "patientCondition": {"age": 40, "mobility": "MOBILE", "consciousness": "CONSCIOUS", "urgency": "ROUTINE"},
    }
    return json.dumps(wanted, separators=(",", ":"))


def fill_peer(uri: str) -> None:
    """The yardstick's database: as the monolith left it, with the indexes that its schemas declared."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        _fill(database["servicecatalogs"], population.services())
        _fill(database["patients"], population.patients(PATIENTS))
        _fill(database["nursebookings"], population.bookings(VISITS, PATIENTS))
        database["servicecatalogs"].create_index("name", unique=True)
        database["patients"].create_index("email", unique=True)
        database["nursebookings"].create_index([("patient", 1), ("createdAt", DESCENDING)])


def fill_ours(uri: str, *, patients: int = PATIENTS, visits: int = VISITS) -> None:
    """Our (migrated) database: the same documents through the importer's conversions."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        _fill(database["servicecatalogs"], map(population.ours_service, population.services()))
        _fill(database["patients"], map(population.ours_patient, population.patients(patients)))
        _fill(database["nursebookings"], map(population.ours_booking, population.bookings(visits, patients)))


def _fill(collection: Any, documents: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(documents, BATCH)):
        collection.insert_many(batch, ordered=False)


@contextmanager
def sides(folder: Path) -> Iterator[dict[str, processes.Running]]:
    """MongoDB and Redis, filled; this service and both modes of the yardstick, running."""
    with ExitStack() as stack:
        mongo = stack.enter_context(MongoServer(folder / "mongodb", database="ours"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        peer_uri = mongo.uri.replace("/ours?", "/peer?")
        environment = processes.service_environment(mongo.uri, redis.uri)
        processes.manage(environment, "migrate", "--verbosity", "0")
        fill_ours(mongo.uri)
        fill_peer(peer_uri)
        yield {
            OURS: stack.enter_context(processes.web(environment, folder / "web.log")),
            MONGOOSE: stack.enter_context(processes.peer(MONGOOSE, peer_uri, folder / "mongoose.log")),
            DRIVER: stack.enter_context(processes.peer(DRIVER, peer_uri, folder / "driver.log")),
        }


def compare(
    running: dict[str, processes.Running], endpoint: Endpoint, *, rounds: int, seconds: int
) -> dict[str, list[Figures]]:
    """Every side once a round, in turn; a short warming round first."""
    found: dict[str, list[Figures]] = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, side in running.items():
            used = side.cpu_seconds()
            figures = measure(side.url, endpoint.calls(), seconds=seconds if number else 2)
            cost = (side.cpu_seconds() - used) / figures.requests * 1e6
            if number:
                found[name].append(figures)
                speed = f"{figures.per_second:7.0f}/s  p99 {figures.p99:.0f} ms"
                say(f"  {endpoint.title}  {name:9} {speed}  {cost:.0f} µs CPU")
    return found


def row(endpoint: Endpoint, found: dict[str, list[Figures]]) -> report.Row:
    """Medians of the rounds, and what they are to one another."""
    rates = {name: median(f.per_second for f in figures) for name, figures in found.items()}
    slowest = {name: median(f.p99 for f in figures) for name, figures in found.items()}
    return report.Row(endpoint.title, rates, slowest, {MONGOOSE: endpoint.to_mongoose, DRIVER: endpoint.to_driver})


def say(text: str) -> None:
    """Progress, for the one who waits."""
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Measure, print the table, and keep it with its plot in docs/."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1, help="how often all of it; each row shows the worst of them")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--only", default="", help="rows whose title holds this text")
    options.add_argument("--keep", action="store_true", help="write docs/benchmark.md, .json and .svg")
    wanted = options.parse_args()
    try:
        processes.require_tools()
    except processes.ToolMissing as missing:
        sys.exit(str(missing))
    processes.install_peer()
    measured = report.Report(
        [one_run(wanted) for _ in range(wanted.runs)], processes.commit(), processes.machine(), processes.versions()
    )
    say("")
    sys.stdout.write(report.markdown(measured))
    if wanted.keep:
        report.keep(measured, DOCS)


def one_run(wanted: argparse.Namespace) -> report.Run:
    """Every endpoint on every side, on servers and data of its own."""
    with tempfile.TemporaryDirectory() as folder, sides(Path(folder)) as running:
        rows = [
            row(endpoint, compare(running, endpoint, rounds=wanted.rounds, seconds=wanted.seconds))
            for endpoint in endpoints()
            if wanted.only in endpoint.title
        ]
        return report.Run(rows, {name: side.memory_mb() for name, side in running.items()})


if __name__ == "__main__":
    main()
