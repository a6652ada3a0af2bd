"""The environment and the servers of a test run; tests/conftest.py imports this before Django reads its settings.

`TEST_MONGODB_URI`, `TEST_REDIS_URL` and `TEST_RABBITMQ_URL` name running servers; what they do not name is started on a
free port when the first test asks for it. Never `MONGODB_URI` and the like: a test run empties what it is given.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from booking_service.devstack.servers import MongoServer, RabbitServer, RedisServer, Server, ServerMissing

if "DJANGO_SETTINGS_MODULE" in os.environ and "ENVIRONMENT" not in os.environ:
    raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests choose their own settings and servers.")

KINDS: dict[str, type[Server]] = {"MONGODB_URI": MongoServer, "REDIS_URL": RedisServer, "RABBITMQ_URL": RabbitServer}
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
own: dict[str, Server] = {}


def _choose_servers() -> None:
    folder = Path(tempfile.mkdtemp(prefix="booking-tests-"))
    for name, kind in KINDS.items():
        given = os.environ.get(f"TEST_{name}")
        if not given:
            own[name] = kind(folder / kind.name)
        os.environ[name] = given or own[name].uri
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _share_of_worker(number: int) -> None:
    """A worker of xdist uses the servers its controller started: its own Redis database, its own virtual host."""
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].rpartition('/')[0]}/{number + 1}"
    if not os.environ.get("TEST_RABBITMQ_URL"):
        os.environ["RABBITMQ_URL"] += WORKER


def server_uri(name: str) -> str:
    """The URI of a server that runs; starts it first if it is ours. Raises ServerMissing."""
    if name in own:
        own[name].start()
    return os.environ[name]


def servers_start(workers: int) -> None:
    """Start all of them before the workers of xdist do, with a virtual host for each; RabbitMQ where there is one."""
    for name, server in own.items():
        try:
            server_uri(name)
        except ServerMissing:
            if name != "RABBITMQ_URL":
                raise
            os.environ["TEST_WITHOUT_BROKER"] = "1"
            continue
        if isinstance(server, RabbitServer):
            for number in range(workers):
                server.control("add_vhost", f"gw{number}")
                server.control("set_permissions", "-p", f"gw{number}", "guest", ".*", ".*", ".*")


def servers_stop() -> None:
    """Stop the servers this run started."""
    for server in own.values():
        server.stop()


# whitenoise warns of a folder that is not there.
Path(__file__).resolve().parents[1].joinpath(".local", "static").mkdir(parents=True, exist_ok=True)
os.environ["ENVIRONMENT"] = "test"
os.environ["DJANGO_SETTINGS_MODULE"] = "booking_service.settings"
os.environ["PASSWORD_HASHES_AT_ONCE"] = "100"  # threads of a test that sign in together stand for several processes
if WORKER:
    _share_of_worker(int(WORKER.removeprefix("gw")))
else:
    _choose_servers()
