"""Where the time of each endpoint goes: a flame graph of each under load, and its share by part of the code.

`python -m tests.benchmarks.flames FOLDER` writes <endpoint>.svg and shares.txt there. `--code CHECKOUT` watches the
code of another checkout, on the same visits: an older commit's, say, to compare with.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from booking_service.devstack.servers import MongoServer, RedisServer
from tests.benchmarks import compare, flame_graph, processes
from tests.benchmarks.load import measure

WARMING, SECONDS = 2, 15
PY_SPY = str(Path(sys.executable).with_name("py-spy"))


def record(process: int, collapsed: Path) -> None:
    """Watch the process for SECONDS; only threads that hold the interpreter count.

    It stops for each look: of one that runs on, a tenth of the stacks would be read without their callers. Looks
    that follow closer see the same one again whenever the machine has something else to do.
    """
    watching = ["--gil", "--rate", "200", "--function", "--duration", str(SECONDS)]
    command = [PY_SPY, "record", *watching, "--pid", str(process), "--format", "raw", "--output", str(collapsed)]
    subprocess.run(command, check=True, capture_output=True)


def watch(endpoint: compare.Endpoint, side: processes.Running, collapsed: Path) -> Counter[flame_graph.Stack]:
    """The stacks of the web process while `endpoint` is asked. Raises LoadFailed, NoSamples."""
    worker = (side.process.children() or [side.process])[0].pid
    measure(side.url, endpoint.calls(), seconds=WARMING)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(measure, side.url, endpoint.calls(), seconds=SECONDS + 2)
        record(worker, collapsed)
        load.result()
    return flame_graph.stacks(collapsed.read_text())


def shares(title: str, found: Counter[flame_graph.Stack]) -> str:
    """One line: the endpoint, and the share of each part of the code, the largest first."""
    parts = flame_graph.shares(found)
    return f"{title}: " + ", ".join(f"{part} {100 * n / parts.total():.0f} %" for part, n in parts.most_common())


def file_name(title: str) -> str:
    """`get-api-bookings-id.svg` of `GET /api/bookings/:id`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".svg"


def main() -> None:
    """Load each endpoint once, for its picture and its line of the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--code", type=Path, default=processes.ROOT, help="the checkout whose code is watched")
    wanted = options.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        MongoServer(Path(name, "mongodb"), database="ours") as mongo,
        RedisServer(Path(name, "redis")) as redis,
    ):
        environment = processes.service_environment(mongo.uri, redis.uri)
        processes.manage(environment, "migrate", "--verbosity", "0", code=wanted.code)
        compare.fill_ours(mongo.uri)
        with processes.web(environment, Path(name, "web.log"), code=wanted.code) as side:
            draw_all(side, wanted.folder, f"commit {processes.commit(wanted.code)}", Path(name, "collapsed"))


def draw_all(side: processes.Running, folder: Path, commit: str, collapsed: Path) -> None:
    """Watch and draw one endpoint after the other."""
    table = []
    for endpoint in compare.endpoints():
        found = watch(endpoint, side, collapsed)
        title = f"{endpoint.title}: {commit}, {datetime.now(UTC):%Y-%m-%d}"
        Path(folder, file_name(endpoint.title)).write_text(flame_graph.svg(title, found))
        table.append(shares(endpoint.title, found) + "\n")
        sys.stdout.write(table[-1])
        sys.stdout.flush()
    Path(folder, "shares.txt").write_text("".join(table))


if __name__ == "__main__":
    main()
