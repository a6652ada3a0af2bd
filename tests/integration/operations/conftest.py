"""The service as gunicorn serves it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from booking_service.devstack.servers import HOST, free_port
from tests.integration.patients.callers import asha, registered

__all__ = ["asha", "registered"]

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30


class Web:
    """A running gunicorn: its address, its process, and what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://{HOST}:{port}"

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                requests.get(f"{self.url}/health/live", timeout=1)
            except (requests.ConnectionError, requests.Timeout):
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"gunicorn does not answer: {self.log.read_text()}")


@pytest.fixture
def web(process_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Starts gunicorn with the given environment beside the tests' own."""
    started: list[Web] = []

    def start(*, ready: bool = True, **environment: str) -> Web:
        port, log = free_port(), tmp_path / f"gunicorn-{len(started)}.log"
        variables = {**process_environment, "LOG_FORMAT": "json", "PORT": str(port), **environment}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn"], cwd=ROOT, env=variables, stdout=output, stderr=output
            )
        started.append(Web(process, port, log))
        if ready:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
