"""Where the time of each endpoint goes: a flame graph of each under load, and its share by part of the code.

`python -m tests.benchmarks.flames FOLDER` writes <endpoint>.svg and .txt (collapsed stacks) there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import compare, processes
from tests.benchmarks.load import measure

SECONDS = 6
PY_SPY = str(Path(sys.executable).with_name("py-spy"))
# The innermost frame whose file holds the pattern names the part; the first that fits wins.
PARTS = (
    ("gunicorn", r"gunicorn|operations/gunicorn"),
    ("JSON", r"api/(renderers|envelope|parsers)"),
    ("MongoDB driver", r"pymongo|bson|booking_service/djongo"),
    ("validation", r"rest_framework/(fields|serializers|validators)|serializers\.py"),
    ("sign-in", r"patients/(authentication|sign_in|tokens)|jwt|simplejwt"),
    ("log and metrics", r"structlog|logging|prometheus|operations/"),
    ("Redis", r"redis"),
    ("our views and services", r"(bookings|catalog|patients|events)/"),
    ("our API layer", r"booking_service/api/"),
    ("REST framework", r"rest_framework"),
    ("Django", r"django/"),
)


def part_of(stack: list[str]) -> str:
    """The part of the code that a sample belongs to: the innermost frame that is anybody's."""
    for frame in reversed(stack):
        for name, pattern in PARTS:
            if re.search(pattern, frame):
                return name
    return "other"


def samples(collapsed: Path) -> Iterator[tuple[list[str], int]]:
    """The stacks that py-spy saw, outermost frame first, and how often."""
    for line in collapsed.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack.split(";"), int(count)


def shares(collapsed: Path) -> Counter[str]:
    """Samples by part of the code."""
    found: Counter[str] = Counter()
    for stack, count in samples(collapsed):
        found[part_of(stack)] += count
    return found


def record(process: int, output: Path, *, form: str) -> None:
    """Watch the process for SECONDS; only threads that hold the interpreter count."""
    watching = ["--gil", "--rate", "400", "--nonblocking", "--full-filenames", "--duration", str(SECONDS)]
    command = [PY_SPY, "record", *watching, "--pid", str(process), "--format", form, "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Load each endpoint once for its table and once for its picture."""
    pictures = Path(sys.argv[1])
    pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        MongoServer(Path(name, "mongodb"), database="ours") as mongo,
        RedisServer(Path(name, "redis")) as redis,
    ):
        environment = processes.service_environment(mongo.uri, redis.uri)
        processes.manage(environment, "migrate", "--verbosity", "0")
        compare.fill_ours(mongo.uri)
        with processes.web(environment, Path(name, "web.log")) as side:
            for endpoint in compare.endpoints():
                _one(endpoint, side, pictures)


def _one(endpoint: compare.Endpoint, side: processes.Running, pictures: Path) -> None:
    stacks = pictures / f"{_file_name(endpoint.title)}.txt"
    worker = (side.process.children() or [side.process])[0].pid
    for form, output in (("raw", stacks), ("flamegraph", stacks.with_suffix(".svg"))):
        load = Thread(target=measure, args=(side.url, endpoint.calls()), kwargs={"seconds": SECONDS + 2})
        load.start()
        record(worker, output, form=form)
        load.join()
    found = shares(stacks)
    text = ", ".join(f"{part} {100 * count / found.total():.0f} %" for part, count in found.most_common())
    sys.stdout.write(f"{endpoint.title}: {text}\n")


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


if __name__ == "__main__":
    main()
