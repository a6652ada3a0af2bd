"""The three servers of a newcomer's machine: those the environment names, and our own for the rest."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from booking_service.devstack.packages import missing_packages, packages_install
from booking_service.devstack.servers import (
    MongoServer,
    RabbitServer,
    RedisServer,
    Server,
    ServerError,
    free_port,
    port_is_free,
)

# Ports of our own beside the usual ones, so that a system's servers are never mistaken for these.
OWN: dict[str, tuple[type[Server], int]] = {
    "MONGODB_URI": (MongoServer, 27117),
    "REDIS_URL": (RedisServer, 6479),
    "RABBITMQ_URL": (RabbitServer, 5772),
}
USUAL_PORTS = {"mongodb": 27017, "redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}
LOOK_EVERY_SECONDS = 1.0
WITHOUT_BROKER = (
    "RabbitMQ is not installed and this user may not install it: the service runs and events wait in the outbox. "
    "`sudo apt-get install rabbitmq-server` (or RABBITMQ_URL) sends them."
)


class Stack:
    """The servers of one `make run` or `make stack`, their data below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uris: dict[str, str] = {}
        self.notes: list[str] = []
        self._servers: dict[str, Server] = {}
        self._pool = ThreadPoolExecutor()
        self._started: dict[str, Future[Server]] = {}
        self._stopping = threading.Event()
        self._keeper: Future[None] | None = None

    def start(self) -> None:
        """Begin to start what the environment does not name; wait_for() says when it is ready. Raises ServerError."""
        named = {name: os.environ[name] for name in OWN if os.environ.get(name)}
        for name, uri in named.items():
            _reach(name, uri)
        self._servers = {name: self._own(name) for name in OWN if name not in named}
        self._install_packages()
        self._started = {name: self._pool.submit(server.start) for name, server in self._servers.items()}
        self.uris = named | {name: server.uri for name, server in self._servers.items()}

    def wait_for(self, *names: str) -> None:
        """Return once these are ready. Raises ServerError with the cure in one line."""
        for name in names:
            if name in self._started:
                self._started[name].result()

    def keep_running(self) -> None:
        """From now on start again whatever of ours ends, with its data and on its port; only stop() ends that."""
        self._keeper = self._pool.submit(self._keep)

    @property
    def pids(self) -> set[int | None]:
        """Our servers' processes at this moment."""
        return {server.pid for server in self._servers.values()}

    def _keep(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            for server in self._servers.values():
                if not server.running:
                    print(f"{server.name} has ended; starting it again.", flush=True)
                    server.start()

    def stop(self) -> None:
        """Stop what start() started."""
        self._stopping.set()
        wait(self._started.values())
        if self._keeper:
            wait([self._keeper])
        list(self._pool.map(lambda server: server.stop(), self._servers.values()))
        self._pool.shutdown()

    def _own(self, name: str) -> Server:
        kind, port = OWN[name]
        return kind(self.folder / kind.name.lower(), port if port_is_free(port) else free_port())

    def _install_packages(self) -> None:
        packages = missing_packages({type(server) for server in self._servers.values()})
        if not packages:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if not packages_install(packages, self.folder / "apt.log"):
            if "rabbitmq-server" in packages:
                del self._servers["RABBITMQ_URL"]
                self.notes.append(WITHOUT_BROKER)
            if others := [package for package in packages if package != "rabbitmq-server"]:
                raise ServerError(
                    f"mongod needs a library that is not here: `sudo apt-get install {' '.join(others)}`."
                )


def _reach(name: str, uri: str) -> None:
    """Refuse a server the environment names that nobody answers for."""
    url = urlsplit(uri)
    first = url.netloc.rpartition("@")[2].split(",")[0]
    host, _, port = first.partition(":")
    if url.scheme not in USUAL_PORTS:
        return  # settings.py judges the scheme; mongodb+srv has no address of its own
    try:
        socket.create_connection((host, int(port or USUAL_PORTS[url.scheme])), timeout=3).close()
    except (OSError, ValueError) as failure:
        kind = OWN[name][0].name
        raise ServerError(
            f"{name} names {first}, where no {kind} answers: start it, or unset {name} to get one."
        ) from failure


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """A starting stack, stopped at the end whatever happens."""
    stack = Stack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
