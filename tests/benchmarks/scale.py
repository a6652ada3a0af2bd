"""`make bench-scale`: a million bookings of 100,000 patients against ten thousand of a thousand, on one MongoDB.

Medians of single requests in turn, deep pages against the first, and every command that MongoDB profiles meanwhile.
Then what the issue asks of one process: start, the login beyond its hash, memory after 100,000 requests.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import django
from pymongo import MongoClient

from booking_service.devstack.servers import HOST, MongoServer, RedisServer
from tests.benchmarks import compare, population, processes
from tests.benchmarks.load import Call, measure

SMALL, LARGE = 10_000, 1_000_000
OF_A_PATIENT = 10
READERS = 200
DEEP_PATIENT, DEEP_BOOKINGS = 0, 2_000
PROMISED, PROMISED_DEEP = 1.3, 2.0
MEMORY_REQUESTS, MOST_MEMORY_MB = 100_000, 150
OURS = ("nursebookings", "patients", "servicecatalogs", "slotclaims", "outbox")


@dataclass(frozen=True, slots=True)
class Measured:
    """A line of the table: the median (ms) with few bookings and with many, and what is promised of their ratio."""

    title: str
    small: float
    large: float
    promised: float

    def __str__(self) -> str:
        ratio = self.large / self.small
        verdict = "✓" if ratio <= self.promised else "missed"
        return f"| {self.title} | {self.small:.2f} | {self.large:.2f} | {ratio:.2f} (≤ {self.promised:g}) | {verdict} |"


class MainApi(BaseHTTPRequestHandler):
    """Knows everybody as a nurse."""

    def do_GET(self) -> None:
        person = {"_id": self.path.rpartition("/")[2], "role": "NURSE", "name": "Nurse", "isActive": True}
        body = json.dumps({"success": True, "data": {**person, "categories": ["NURSING"], "skillLevel": "BASIC"}})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal shows figures."""


def fill(uri: str, bookings: int) -> None:
    """A migrated database with that many bookings, a tenth as many patients, half as many providers; and one patient
    with enough of them for deep pages."""
    patients = bookings // OF_A_PATIENT
    compare.fill_ours(uri, patients=patients, visits=bookings)
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client.get_default_database()["nursebookings"]
        deep = islice(population.bookings(bookings + DEEP_BOOKINGS, 1), bookings, None)
        collection.insert_many([population.ours_booking(document) for document in deep], ordered=False)


def measurements(size: int) -> dict[str, list[Call]]:
    """What is asked, by its name; spread evenly over patients."""
    patients = size // OF_A_PATIENT
    step = patients // READERS
    readers = [1 + number * step for number in range(READERS - 1)]
    tokens = {number: compare.token(number) for number in (*readers, DEEP_PATIENT)}
    deep = [f"/api/bookings?limit=20&page={page}" for page in (1, 50, 100)]
    return {
        "list": [Call("GET", "/api/bookings?limit=20", tokens[n]) for n in readers],
        "read": [Call("GET", f"/api/bookings/{population.identity(7, n)}", tokens[n]) for n in readers],
        "upcoming": [Call("GET", "/api/bookings/upcoming", tokens[n]) for n in readers],
        "history": [Call("GET", "/api/bookings/history", tokens[n]) for n in readers],
        "provider list": [
            Call(
                "GET", "/api/bookings/provider/me", compare.provider_token(n * (size // population.OF_A_PROVIDER // 50))
            )
            for n in range(50)
        ],
        "create": list(islice(compare.booking_calls(), 8_000)),
        **{f"deep page {path.rpartition('=')[2]}": [Call("GET", path, tokens[DEEP_PATIENT])] for path in deep},
    }


def medians(running: dict[int, processes.Running], *, rounds: int, seconds: int) -> dict[str, dict[int, float]]:
    """The median latency of each measurement on each side: one connection, in alternating rounds."""
    calls = {size: measurements(size) for size in running}
    creating = {size: iter(calls[size]["create"]) for size in running}
    found: dict[str, dict[int, list[float]]] = {}
    for title in calls[SMALL]:
        for number in range(rounds + 1):
            for size, side in running.items():
                wanted = list(islice(creating[size], 1_500)) if title == "create" else calls[size][title]
                figures = measure(side.url, wanted, seconds=seconds, connections=1)
                if number:
                    found.setdefault(title, {}).setdefault(size, []).append(figures.p50)
        compare.say(f"  {title}: {found[title]}")
    return {title: {size: median(values) for size, values in by_size.items()} for title, by_size in found.items()}


def collection_scans(uri: str, ask: Callable[[], object]) -> list[str]:
    """The commands on our collections that read without an index while `ask` runs, by MongoDB's own profiler."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client.get_default_database()
        database.command("profile", 2)
        try:
            ask()
        finally:
            database.command("profile", 0)
        names = [f"{database.name}.{name}" for name in OURS]
        scans = database["system.profile"].find({"ns": {"$in": names}, "planSummary": "COLLSCAN"})
        return sorted({f"{scan['ns']} {json.dumps(scan['command'], default=str)[:200]}" for scan in scans})


def login_beyond_hash(url: str) -> float:
    """Milliseconds that a login takes beside checking its argon2 hash (the median of both)."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    django.setup()
    from patients.passwords import password_hash, password_is_right

    body = json.dumps({"email": "patient7@example.com", "password": "Secret123x"})
    login = Call("POST", "/api/patients/login", None, body)
    measure(url, [login], seconds=1, connections=1)  # the first one replaces the monolith's hash
    whole = measure(url, [login], seconds=6, connections=1).p50
    stored, times = password_hash("Secret123x"), []
    for _ in range(60):
        began = time.perf_counter()
        password_is_right("Secret123x", stored)
        times.append((time.perf_counter() - began) * 1000)
    return whole - median(times)


def memory_after(side: processes.Running) -> tuple[float, float]:
    """Megabytes after a tenth of MEMORY_REQUESTS, and after all of them."""
    calls = [call for name in ("list", "read", "upcoming") for call in measurements(SMALL)[name]]
    calls += [Call("GET", "/api/services"), Call("GET", "/api/patients/profile", compare.token(5))]
    done, early = 0, 0.0
    while done < MEMORY_REQUESTS:
        done += measure(side.url, calls, seconds=5).requests
        if not early and done >= MEMORY_REQUESTS / 10:
            early = side.memory_mb()
    return early, side.memory_mb()


def table(found: dict[str, dict[int, float]], large: int) -> Iterator[str]:
    """Few against many, then deep pages against the first."""
    yield f"| median of a request (ms) | {SMALL:,} bookings | {large:,} | ratio | |"
    yield "|---|--:|--:|--:|---|"
    for title, by_size in found.items():
        if not title.startswith("deep"):
            yield str(Measured(title, by_size[SMALL], by_size[large], PROMISED))
    first = found["deep page 1"][large]
    for page in (50, 100):
        title = f"page {page} of {DEEP_BOOKINGS // 20}, against the first"
        yield str(Measured(title, first, found[f"deep page {page}"][large], PROMISED_DEEP))


def main() -> None:
    """Fill, measure, print, keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--bookings", type=int, default=LARGE, help="of the larger side")
    options.add_argument("--memory", action="store_true", help="also 100,000 requests, start and login")
    options.add_argument("--keep", action="store_true", help="write docs/benchmark-scale.md")
    wanted = options.parse_args()
    try:
        processes.require_tools()
    except processes.ToolMissing as missing:
        sys.exit(str(missing))
    main_api = ThreadingHTTPServer((HOST, 0), MainApi)
    Thread(target=main_api.serve_forever, daemon=True).start()
    lines = run(wanted, f"http://{HOST}:{main_api.server_port}")
    sys.stdout.write("\n".join(lines) + "\n")
    if wanted.keep:
        head = "# A million bookings against ten thousand\n\n"
        (compare.DOCS / "benchmark-scale.md").write_text(head + "\n".join(lines) + "\n")


def run(wanted: argparse.Namespace, main_api: str) -> list[str]:
    """Everything, as the lines of the report."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mongo = stack.enter_context(MongoServer(folder / "mongodb"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        running, uris = {}, {}
        for number, size in enumerate((SMALL, wanted.bookings)):
            uri = uris[size] = mongo.uri.replace("/patient_booking?", f"/bookings_{size}?")
            redis_uri = f"{redis.uri.rpartition('/')[0]}/{number}"
            environment = processes.service_environment(uri, redis_uri, MAIN_API_URL=main_api)
            processes.manage(environment, "migrate", "--verbosity", "0")
            began = datetime.now(UTC)
            fill(uri, size)
            compare.say(f"  {size:,} bookings filled in {(datetime.now(UTC) - began) // timedelta(seconds=1)} s")
            running[size] = stack.enter_context(processes.web(environment, folder / f"web{size}.log"))
        lines = list(table(medians(running, rounds=wanted.rounds, seconds=wanted.seconds), wanted.bookings))
        lines += ["", *_scans(uris[wanted.bookings], running[wanted.bookings], wanted.bookings)]
        if wanted.memory:
            lines += ["", *_of_one_process(running[SMALL])]
    return [*lines, "", f"Commit {processes.commit()}; {processes.machine()}; {processes.versions()}."]


def _scans(uri: str, side: processes.Running, size: int) -> list[str]:
    def ask() -> None:
        for title, calls in measurements(size).items():
            fresh = list(islice(compare.booking_calls(start=60), 400)) if title == "create" else calls
            measure(side.url, fresh, seconds=1, connections=1)

    scans = collection_scans(uri, ask)
    return [f"Collection scans (profiler level 2): {len(scans)}.", *(f"- `{scan}`" for scan in scans)]


def _of_one_process(side: processes.Running) -> list[str]:
    early, late = memory_after(side)
    return [
        f"Start: answers after {side.started_in:.1f} s (≤ 3).",
        f"Login beyond its hash: {login_beyond_hash(side.url):.1f} ms (< 5).",
        f"Memory after {MEMORY_REQUESTS // 10:,} requests {early:.0f} MB, after {MEMORY_REQUESTS:,} {late:.0f} MB "
        f"(< {MOST_MEMORY_MB}).",
    ]


if __name__ == "__main__":
    main()
