"""The stand-in partners as a process that can be told to fail, and killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from booking_service.devstack.servers import free_port

COMMAND = [sys.executable, "-m", "booking_service.devstack.partners"]
URLS = ("MAIN_API_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL")


class StandIns:
    """The process, its addresses, and how to tell it to fail."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.urls = {name: f"http://127.0.0.1:{free_port()}" for name in URLS}
        self._environment = {**environment, **self.urls}
        self._command = [*COMMAND, "--folder", str(folder)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for url in self.urls.values():
            self._wait_for(url)

    def _wait_for(self, url: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                requests.get(f"{url}/stand-in", timeout=1)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("the stand-ins did not start")

    def tell(self, partner: str, mode: str) -> requests.Response:
        url = self.urls["NOTIFICATION_SERVICE_URL"]
        return requests.post(f"{url}/stand-in/fail", json={"partner": partner, "mode": mode}, timeout=5)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)
