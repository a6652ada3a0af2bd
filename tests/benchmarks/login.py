"""What a sign-in costs beside its hash, and whether a refusal tells by its time: `python -m tests.benchmarks.login`.

Signs one patient in, again and again over one connection, against one web process of its own, and after each measures
the same argon2 verification alone. Taking turns, both see the same machine; the medians are taken off each other.

Then it is refused: an unknown address, a wrong password of an account with an argon2 hash, and one of an account that
the monolith left with bcrypt, in turns as well. Their medians may be SAME_TIME apart; beyond that it ends with 1.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
from pymongo import MongoClient
from redis import Redis

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import processes

PATIENT = {"name": "Asha Rao", "email": "asha@example.com", "phone": "9876543210", "password": "Secret414002x"}
LEGACY = {**PATIENT, "email": "ravi@example.com", "phone": "9876543211"}
WRONG = "Wrong414002x"
REFUSED = {
    "unknown address": "nobody@example.com",
    "argon2, wrong password": PATIENT["email"],
    "bcrypt, wrong password": LEGACY["email"],
}
SAME_TIME = 1.10
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Stack:
    """One web process with an empty database, limits on: no client is refused, but attempts are counted."""

    web: processes.Running
    mongo: MongoClient[dict[str, Any]]
    redis: Redis


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """The processes, and connections that prepare what is measured."""
    with ExitStack() as stack:
        mongo = stack.enter_context(MongoServer(folder / "mongodb", database="ours"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        environment = processes.service_environment(
            mongo.uri, redis.uri, RATE_LIMIT_ENABLED="true", RATE_LIMIT_REQUESTS="1000000"
        )
        processes.manage(environment, "migrate", "--verbosity", "0")
        web = stack.enter_context(processes.web(environment, folder / "web.log"))
        yield Stack(web, stack.enter_context(MongoClient(mongo.uri)), Redis.from_url(redis.uri))


def posted(connection: http.client.HTTPConnection, path: str, body: dict[str, Any], status: int) -> None:
    """Send `body`; raises RuntimeError for another answer than `status`."""
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != status:
        raise RuntimeError(f"{path} answered {answer.status}: {text[:500]!r}")


def hash_alone() -> Callable[[], object]:
    """The verification of the patient's password, as the web process does it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    from patients.passwords import PatientArgon2Hasher, password_hash

    encoded = password_hash(PATIENT["password"])
    # A thread of a pool, as in gunicorn: memory of threads is taken and given back in another way than the main one's.
    pool = ThreadPoolExecutor(1)
    return lambda: pool.submit(PatientArgon2Hasher().verify, PATIENT["password"], encoded).result()


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def connected(stack: Stack) -> http.client.HTTPConnection:
    address = urlsplit(stack.web.url)
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)


def measured(stack: Stack, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each sign-in, and of each hash between them."""
    connection = connected(stack)
    posted(connection, "/api/patients/register", PATIENT, 201)
    known = {key: PATIENT[key] for key in ("email", "password")}
    verify = hash_alone()
    pairs = [
        (milliseconds(lambda: posted(connection, "/api/patients/login", known, 200)), milliseconds(verify))
        for _ in range(WARM_UP + times)
    ]
    logins, hashes = zip(*pairs[WARM_UP:], strict=True)
    return list(logins), list(hashes)


def refused(stack: Stack, times: int) -> dict[str, list[float]]:
    """Milliseconds of refused sign-ins by what stands behind the address. Which comes first changes each time."""
    connection = connected(stack)
    posted(connection, "/api/patients/register", LEGACY, 201)
    hashed = bcrypt.hashpw(LEGACY["password"].encode(), bcrypt.gensalt(10)).decode()
    stack.mongo.get_default_database()["patients"].update_one(
        {"email": LEGACY["email"]}, {"$set": {"password": hashed}}
    )
    taken: dict[str, list[float]] = {name: [] for name in REFUSED}
    for number in range(WARM_UP + times):
        names = list(REFUSED)
        for name in names[number % 3 :] + names[: number % 3]:
            stack.redis.flushall()  # five failures would shut the door
            guess = {"email": REFUSED[name], "password": WRONG}
            taken[name].append(milliseconds(partial(posted, connection, "/api/patients/login", guess, 401)))
    return {name: each[WARM_UP:] for name, each in taken.items()}


def first_refusals(stack: Stack) -> list[float]:
    """Milliseconds of the first two refusals that a process gives: neither makes a hash that the other has."""
    connection = connected(stack)
    guess = {"email": REFUSED["unknown address"], "password": WRONG}
    return [milliseconds(lambda: posted(connection, "/api/patients/login", guess, 401)) for _ in range(2)]


def main() -> None:
    """Measure and print; exit 1 when a refusal can be told by its time."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=200)
    times = options.parse_args().times
    with tempfile.TemporaryDirectory(prefix="booking-login-") as folder, running(Path(folder)) as stack:
        first, second = first_refusals(stack)
        logins, hashes = measured(stack, times)
        refusals = {name: statistics.median(each) for name, each in refused(stack, times).items()}
    login, hashed = statistics.median(logins), statistics.median(hashes)
    print(f"{len(logins)} sign-ins on {processes.machine()}; commit {processes.commit()}")
    print(f"sign-in {login:.1f} ms, hash alone {hashed:.1f} ms, the rest {login - hashed:.1f} ms (medians; bound 5 ms)")
    print(f"the first refusal of a process {first:.1f} ms, its second {second:.1f} ms")
    for name, median in refusals.items():
        print(f"refused: {name:24} {median:.1f} ms")
    ratio = max(refusals.values()) / min(refusals.values())
    print(f"slowest to quickest refusal {ratio:.3f} (bound {SAME_TIME:.2f})")
    raise SystemExit(ratio > SAME_TIME)


if __name__ == "__main__":
    main()
