"""What a newcomer does: `make run` in one terminal, `make demo` in another, Ctrl-C; and what can be wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from booking_service.devstack.servers import HOST, RedisServer, free_port

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("MONGODB_URI", "REDIS_URL", "RABBITMQ_URL", "ENVIRONMENT", "CI", "LOG_FORMAT")
START_SECONDS = 90


def newcomers_environment() -> dict[str, str]:
    """Without what the tests say about servers."""
    return {name: value for name, value in os.environ.items() if name not in NAMES}


class Devstack:
    """`python -m booking_service.devstack`, which is all that `make` calls, in a folder and on a port of its own."""

    def __init__(self, folder: Path, output: Path, port: int | None = None) -> None:
        self.folder, self.output = folder, output
        self.port = port or free_port()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "booking_service.devstack", "--folder", str(self.folder), command],
                env={**newcomers_environment(), "PORT": str(self.port), "WEB_CONCURRENCY": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=ROOT,
            )
        self._started.append(process)
        return process

    def call(self, command: str, **environment: str) -> tuple[int, list[str]]:
        """The exit code and the lines of a command that ends by itself, told beside the one that runs."""
        beside = Devstack(self.folder, self.folder.with_suffix(f".{command}"), self.port)
        code = beside.start(command, **environment).wait(timeout=240)
        return code, beside.output.read_text().splitlines()

    def read_until(self, text: str) -> str:
        """What the started command has said, once that includes `text`."""
        deadline = time.monotonic() + START_SECONDS
        while text not in (said := self.output.read_text()):
            assert time.monotonic() < deadline, said
            assert self._started[-1].poll() is None, said
            time.sleep(0.1)
        return said

    def follow_the_readme(self) -> str:
        """What the commands of "Try it" print."""
        section = (ROOT / "README.md").read_text().partition("## Try it")[2].partition("\n## ")[0]
        script = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
        here = script.replace("127.0.0.1:3001", f"{HOST}:{self.port}").replace(".venv/bin/python", sys.executable)
        here = here.replace("booking_service.devstack send", f"booking_service.devstack --folder {self.folder} send")
        done = subprocess.run(
            ["bash", "-e", "-c", here],
            cwd=ROOT,
            env=newcomers_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._started[-1].terminate()
        return self._started[-1].wait(timeout=60)

    def end(self) -> None:
        """Whatever a failed test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)

    @property
    def processes(self) -> list[str]:
        """Whatever still runs and was told of our folder or port."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            words = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
            is_ours = any(str(self.folder) in word for word in words) or str(self.port) in words
            if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or []))
        return found


@pytest.fixture
def devstack(tmp_path: Path) -> Iterator[Devstack]:
    made = Devstack(tmp_path / "data", tmp_path / "output")
    yield made
    made.end()
    assert made.processes == []


@pytest.mark.broker
def test_it_runs_demonstrates_and_stops(devstack: Devstack) -> None:
    # Given nothing but the checkout
    devstack.start("run")
    # When it runs
    said = devstack.read_until("Ctrl-C stops everything")
    # Then it says where to look, and what it says is true
    assert f"http://{HOST}:{devstack.port}/api/docs" in said
    assert "password" in said
    assert "(shown this once)" in said
    assert requests.get(f"http://{HOST}:{devstack.port}/health", timeout=5).json()["database"] == "connected"
    # And the port is taken, which the next one says in one line
    other = Devstack(devstack.folder.with_name("other"), devstack.output, devstack.port)
    code, lines = other.call("run")
    assert (code, len(lines)) == (1, 1)
    assert f"make run PORT={devstack.port + 1}" in lines[0]
    # And the demo finds everything as it should be
    code, lines = devstack.call("demo")
    assert (code, lines[-1]) == (0, "All of it as it should be."), "\n".join(lines)
    # And so do the README's commands
    printed = devstack.follow_the_readme()
    assert '"code":' not in printed, printed
    assert "}PAID\n" in printed
    assert '"status":"CANCELLED"' in printed
    # And SIGTERM ends all of it
    assert devstack.stop() == 0


@pytest.mark.broker
def test_it_starts_the_servers_alone_and_keeps_their_data(devstack: Devstack) -> None:
    devstack.start("stack")
    names = [line.partition("=")[0] for line in devstack.read_until("RABBITMQ_URL=").splitlines()]
    assert names == ["MONGODB_URI", "REDIS_URL", "RABBITMQ_URL"]
    code, lines = devstack.call("stack")
    assert (code, lines) == (1, ["Another `make run` or `make stack` works in data: stop that one."])
    assert devstack.stop() == 0
    assert (devstack.folder / "mongodb" / "WiredTiger").exists()


def test_it_fails_loudly_when_the_demo_finds_no_service(devstack: Devstack) -> None:
    code, lines = devstack.call("demo")
    assert (code, len(lines)) == (1, 1)
    assert "`make run` first" in lines[0]
    code, lines = devstack.call(
        "demo", SERVICE_URL=f"http://{HOST}:{devstack.port}", RABBITMQ_URL="amqp://127.0.0.1:1/"
    )
    assert (code, len(lines)) == (1, 1)
    assert "does not answer: is `make run` running?" in lines[0]


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({"PORT": "http"}, "PORT must be a number from 1 to 65535, not 'http'."),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "start it, or unset REDIS_URL to get one"),
        ({"MONGODB_URI": "mongodb://127.0.0.1:1/booking"}, "start it, or unset MONGODB_URI to get one"),
        ({"RABBITMQ_URL": "amqp://127.0.0.1:1/"}, "start it, or unset RABBITMQ_URL to get one"),
    ],
)
def test_it_names_the_cure_before_it_starts_anything(
    devstack: Devstack, environment: dict[str, str], cure: str
) -> None:
    code, lines = devstack.call("run", **environment)
    assert (code, len(lines)) == (1, 1)
    assert cure in lines[0]
    assert not (devstack.folder / "mongodb").exists()


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({"RATE_LIMIT_ENABLED": "maybe"}, "RATE_LIMIT_ENABLED must be true or false, not 'maybe'."),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT must be development, test or production, not 'staging'."),
        ({"JWT_SECRET": "short"}, "JWT_SECRET must have at least 32 bytes."),
    ],
)
@pytest.mark.broker
def test_it_names_the_broken_setting(
    devstack: Devstack, rabbitmq_url: str, environment: dict[str, str], cure: str
) -> None:
    with RedisServer(devstack.folder / "redis") as redis:
        code, lines = devstack.call("run", RABBITMQ_URL=rabbitmq_url, REDIS_URL=redis.uri, **environment)
    assert (code, lines) == (1, [cure])
