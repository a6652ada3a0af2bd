"""The two sides of a comparison, each one process: this service under gunicorn, the yardstick under Node."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from booking_service.devstack.servers import HOST, free_port

ROOT = Path(__file__).resolve().parents[2]
PEER = Path(__file__).with_name("express-peer")
SECRET = "a-secret-for-benchmarks-only-of-more-than-32-bytes"
START_SECONDS = 30.0


class ToolMissing(Exception):
    """Something that the benchmark needs is not on this machine; the text names the cure."""


@dataclass(frozen=True, slots=True)
class Running:
    """A side that answers at `url`."""

    url: str
    process: psutil.Process
    started_in: float

    def cpu_seconds(self) -> float:
        """Processor time that the side has used so far, its children's included."""
        times = [process.cpu_times() for process in (self.process, *self.process.children())]
        return sum(time.user + time.system for time in times)

    def memory_mb(self) -> float:
        """Resident memory of the process that answers: a gunicorn master's worker, or the process itself."""
        workers = self.process.children() or [self.process]
        return sum(worker.memory_info().rss for worker in workers) / 2**20


def require_tools() -> None:
    """Raises ToolMissing unless node, npm and wrk are there."""
    cures = {"wrk": "apt-get install wrk", "node": "install Node.js 20", "npm": "it comes with Node.js 20"}
    missing = [f"{name} ({cure})" for name, cure in cures.items() if shutil.which(name) is None]
    if missing:
        raise ToolMissing("The benchmark needs " + ", ".join(missing) + ".")


def install_peer() -> None:
    """The yardstick's packages, exactly as its lock file names them."""
    if not (PEER / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=PEER, check=True)


def service_environment(mongodb_uri: str, redis_url: str, **more: str) -> dict[str, str]:
    """As in production, but for the limits that a load test would run into."""
    return {
        **os.environ,
        "ENVIRONMENT": "production",
        "MONGODB_URI": mongodb_uri,
        "REDIS_URL": redis_url,
        "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:5672/",
        "JWT_SECRET": SECRET,
        "SECRET_KEY": SECRET,
        "SERVICE_SECRET": SECRET,
        "MAIN_API_URL": f"http://{HOST}:9",
        "PAYMENT_SERVICE_URL": f"http://{HOST}:9",
        "NOTIFICATION_SERVICE_URL": f"http://{HOST}:9",
        "RATE_LIMIT_ENABLED": "false",
        "WEB_CONCURRENCY": "1",
        **more,
    }


def manage(environment: Mapping[str, str], *arguments: str, code: Path = ROOT) -> None:
    """Run a management command of the service as it stands in the checkout `code`."""
    command = [sys.executable, "manage.py", *arguments]
    run = subprocess.run(command, cwd=code, env=dict(environment), capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"manage.py {' '.join(arguments)} failed: {run.stderr[-2000:]}")


@contextmanager
def web(environment: Mapping[str, str], log: Path, *, code: Path = ROOT) -> Iterator[Running]:
    """The service as it stands in the checkout `code`: gunicorn with its own settings and one worker process."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn"]
    with _running(command, {**environment, "PORT": str(port)}, port, "/health/live", code, log) as side:
        yield side


@contextmanager
def peer(mode: str, mongodb_uri: str, log: Path) -> Iterator[Running]:
    """The yardstick in `mode`: mongoose or driver."""
    port = free_port()
    environment = {**os.environ, "MONGODB_URI": mongodb_uri, "JWT_SECRET": SECRET, "PORT": str(port), "MODE": mode}
    with _running(["node", "server.js"], {**environment, "NODE_ENV": "production"}, port, "/health", PEER, log) as side:
        yield side


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], port: int, probe: str, folder: Path, log: Path
) -> Iterator[Running]:
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://{HOST}:{port}"
        _wait_for(url + probe, process, log)
        yield Running(url, psutil.Process(process.pid), time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer within {START_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}")


def machine() -> str:
    """What the figures were measured on, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    """What ran, in one line."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    return f"Python {platform.python_version()}, Node {node}"


def commit(code: Path = ROOT) -> str:
    """The commit of the checkout that was measured; says so when the tree had changes."""
    text = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=code, capture_output=True, text=True).stdout
    changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=code, capture_output=True, text=True).stdout
    return text.strip() + (" with changes" if changed.strip() else "")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
