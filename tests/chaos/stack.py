"""Servers and processes for runs that may kill any of them: own MongoDB, Redis, RabbitMQ, our commands as processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Self

import psutil

from booking_service.devstack.servers import MongoServer, RabbitServer, RedisServer

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """One of our commands, started again under the same name after it was killed."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._arguments, self._environment, self._log = arguments, environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    def start(self) -> Self:
        with self._log.open("ab") as log:
            self._said_before = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def is_running(self) -> bool:
        return self.running.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self.running.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.running.kill()
        self.running.wait()

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; the exit code. A process that is still coming up is let come up: until it listens it ends by it."""
        self.send(signal.SIGCONT)
        self.wait_for("er_started")  # as publisher and consumer say when they listen
        self.send(signal.SIGTERM)
        return self.running.wait(seconds)

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Wait until the log says `text`, since the last start."""
        until = monotonic() + seconds
        while text.encode() not in self._log.read_bytes()[self._said_before :]:
            waited_long = monotonic() > until or self.running.poll() is not None
            assert not waited_long, f"no {text!r} in the log:\n{self.log[-2000:]}"
            sleep(0.02)

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.running.pid).cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
            self.kill()


class Stack:
    """The servers, running, and this process set up to use them through Django."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.mongo, self.rabbit = MongoServer(folder / "mongo"), RabbitServer(folder / "rabbit")
        self.redis = RedisServer(folder / "redis")
        self._settings = settings
        self._open = ExitStack()
        self._numbers: dict[str, int] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "booking_service.settings",
            "ENVIRONMENT": "test",
            "MONGODB_URI": self.mongo.uri,
            "REDIS_URL": self.redis.uri,
            "RABBITMQ_URL": self.rabbit.uri,
            "PYTHONUNBUFFERED": "1",
            **self._settings,
        }

    def __enter__(self) -> Self:
        for server in (self.mongo, self.redis, self.rabbit):
            self._open.enter_context(server)
        self.run("migrate", "--verbosity", "0")
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def lies_behind(self, rabbitmq_url: str) -> None:
        """Our processes reach RabbitMQ by this address; so does this one once it is set up."""
        self._settings["RABBITMQ_URL"] = rabbitmq_url

    def use(self) -> None:
        """Set Django up in this process, on these servers. Once in a process."""
        os.environ.update(self.environment)
        import django

        django.setup()
        logging.getLogger("pika").setLevel(logging.CRITICAL)  # the participants are told of every fault by an exception

    def run(self, *arguments: str) -> str:
        """Run one of our commands to its end."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def spawn(self, *arguments: str, **settings: str) -> Process:
        """Start one of our commands; it ends with the stack."""
        number = self._numbers[arguments[0]] = self._numbers.get(arguments[0], 0) + 1
        process = Process(
            list(arguments), {**self.environment, **settings}, self.folder / f"{arguments[0]}-{number}.log"
        )
        self._open.callback(process.close)
        return process.start()
