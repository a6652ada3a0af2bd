"""wrk, and what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `token` a bearer's, `body` JSON."""

    method: str
    path: str
    token: str | None = None
    body: str | None = None

    def as_lua(self) -> str:
        parts = (self.method, self.path, self.token, self.body)
        return "{" + ", ".join("nil" if part is None else f"[==[{part}]==]" for part in parts) + "}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run measured; latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float
    requests: int
    refused: int
    broken: int


class LoadFailed(Exception):
    """wrk did not run, or not every answer was a 2xx."""


def measure(url: str, calls: Iterable[Call], *, seconds: int, connections: int = 16) -> Figures:
    """Send `calls` in a circle for `seconds` over `connections`. Raises LoadFailed unless every answer was a 2xx."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("return {\n" + ",\n".join(call.as_lua() for call in calls) + "\n}\n")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
        run = subprocess.run(command, env={**os.environ, "CALLS": script.name}, capture_output=True, text=True)
    line = next((line for line in run.stdout.splitlines() if line.startswith("FIGURES ")), None)
    if line is None:
        raise LoadFailed(f"wrk failed: {(run.stderr or run.stdout).strip()[-500:]}")
    found = json.loads(line.removeprefix("FIGURES "))
    if found["refused"] or found["broken"]:
        raise LoadFailed(f"{found['refused']} answers were no 2xx, {found['broken']} connections broke")
    return Figures(
        per_second=found["requests"] / found["seconds"],
        **{name: found[name] for name in ("p50", "p99", "requests", "refused", "broken")},
    )
