"""What a sign-in costs beside its hash: `python -m tests.benchmarks.login`.

Signs one patient in, again and again over one connection, against one web process of its own, and after each measures
the same argon2 verification alone. Taking turns, both see the same machine; the medians are taken off each other.
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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import processes

PATIENT = {"name": "Asha Rao", "email": "asha@example.com", "phone": "9876543210", "password": "Secret414002x"}
WARM_UP = 20


@contextmanager
def running(folder: Path) -> Iterator[processes.Running]:
    """One web process with an empty database."""
    with ExitStack() as stack:
        mongo = stack.enter_context(MongoServer(folder / "mongodb", database="ours"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        environment = processes.service_environment(mongo.uri, redis.uri)
        processes.manage(environment, "migrate", "--verbosity", "0")
        yield stack.enter_context(processes.web(environment, folder / "web.log"))


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


def measured(side: processes.Running, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each sign-in, and of each hash between them."""
    address = urlsplit(side.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    posted(connection, "/api/patients/register", PATIENT, 201)
    known = {key: PATIENT[key] for key in ("email", "password")}
    verify = hash_alone()
    pairs = [
        (milliseconds(lambda: posted(connection, "/api/patients/login", known, 200)), milliseconds(verify))
        for _ in range(WARM_UP + times)
    ]
    logins, hashes = zip(*pairs[WARM_UP:], strict=True)
    return list(logins), list(hashes)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=200)
    with tempfile.TemporaryDirectory(prefix="booking-login-") as folder, running(Path(folder)) as side:
        logins, hashes = measured(side, options.parse_args().times)
    login, hashed = statistics.median(logins), statistics.median(hashes)
    print(f"{len(logins)} sign-ins on {processes.machine()}; commit {processes.commit()}")
    print(f"sign-in {login:.1f} ms, hash alone {hashed:.1f} ms, the rest {login - hashed:.1f} ms (medians; bound 5 ms)")


if __name__ == "__main__":
    main()
