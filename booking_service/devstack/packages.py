"""What the servers need of Debian's packages, installed where this user may install them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from booking_service.devstack.servers import MongoServer, RabbitServer, ServerMissing

LIBRARY_OF_MONGOD, ITS_PACKAGE = "libcurl.so.4", "libcurl4"


def missing_packages(servers: set[type]) -> list[str]:
    """The Debian packages without which one of `servers` cannot start here."""
    packages = []
    if RabbitServer in servers and not _has_rabbitmq():
        packages.append("rabbitmq-server")
    if MongoServer in servers and not shutil.which("mongod") and not _has_library(LIBRARY_OF_MONGOD):
        packages.append(ITS_PACKAGE)
    return packages


def _has_rabbitmq() -> bool:
    try:
        RabbitServer.binary()
    except ServerMissing:
        return False
    return True


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return sys.platform != "linux"  # other systems' packages carry what they need
    return True


def packages_install(packages: list[str], log: Path) -> bool:
    """Install `packages` with apt as root or by passwordless sudo; whether that worked. apt writes to `log`."""
    apt = _apt()
    if not apt:
        return False
    # A package's own service stays off: this devstack runs its own node.
    environment = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    steps = (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages])
    with log.open("ab") as output:
        results = [
            subprocess.run(
                [*apt[:-1], *environment, apt[-1], *step],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
            for step in steps
        ]
    return results[-1].returncode == 0


def _apt() -> list[str]:
    if not shutil.which("apt-get"):
        return []
    if os.geteuid() == 0:
        return ["apt-get"]
    may_sudo = (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    )
    return ["sudo", "-n", "apt-get"] if may_sudo else []
