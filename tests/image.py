"""`make image`: the Dockerfile without a Docker engine.

Performs its steps one by one in an empty folder, a folder for each stage, with paths such as /app moved into it and a
fresh virtualenv as the base image's /usr/local. Then measures what the image would hold, and starts the web server from
it in production, without privileges, on a tree that is read-only but for a temporary folder.

    python -m tests.image [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from booking_service.devstack.servers import MongoServer, RedisServer, free_port

PROJECT = Path(__file__).resolve().parent.parent
BASE_MEGABYTES = 131  # python:3.11-slim-bookworm, uncompressed
LARGEST_MEGABYTES = 250
START_SECONDS = 30
MOVED_FOLDERS = ("/usr/local", "/build", "/wheels", "/installed", "/app")


def say(text: str) -> None:
    """A line of progress, at once."""
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


@dataclass
class Stage:
    """One FROM of the Dockerfile and what has come of it."""

    name: str
    root: Path
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    user: str = ""

    def moved(self, path: str) -> Path:
        """Where a path of the image lies in the folder."""
        return self.root / str(Path(self.workdir, path)).lstrip("/")

    def in_place(self, text: str) -> str:
        """A command with the image's absolute paths moved into the folder."""
        pattern = rf"(?<![\w./])({'|'.join(MOVED_FOLDERS)})(?=[/\s]|$)"
        return re.sub(pattern, lambda match: f"{self.root}{match[1]}", text)

    @property
    def process_environment(self) -> dict[str, str]:
        """The environment of its commands: little more than the path, as in a container."""
        kept = {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "HOME") if name in os.environ}
        return {**kept, "PATH": f"{self.root}/usr/local/bin:/usr/bin:/bin", **self.environment}


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its text, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def build(dockerfile: str, folder: Path) -> Stage:
    """Performs the Dockerfile; the last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage("", folder)
    for word, text in instructions(dockerfile):
        say(f"{word} {text}")
        match word:
            case "FROM":
                stage = new_stage(text, folder, len(stages))
                stages[stage.name] = stage
            case "WORKDIR":
                stage.workdir = text
                stage.moved("").mkdir(parents=True, exist_ok=True)
            case "ENV":
                stage.environment.update(dict(pair.split("=", 1) for pair in shlex.split(text)))
            case "COPY":
                copy(text, stage, stages)
            case "RUN":
                run(text, stage)
            case "USER":
                stage.user = text
            case "CMD":
                stage.command = json.loads(text)
            case "EXPOSE" | "HEALTHCHECK":
                pass
            case _:
                sys.exit(f"Dockerfile: {word} is not understood here")
    return stage


def new_stage(text: str, folder: Path, number: int) -> Stage:
    name = text.partition(" AS ")[2] or str(number)
    stage = Stage(name, folder / name)
    venv.create(stage.root / "usr" / "local", with_pip=True)
    return stage


def run(command: str, stage: Stage) -> None:
    """A RUN, by a shell in the stage's folder."""
    subprocess.run(
        ["/bin/sh", "-ec", stage.in_place(command)], cwd=stage.moved(""), env=stage.process_environment, check=True
    )


def copy(text: str, stage: Stage, stages: dict[str, Stage]) -> None:
    """A COPY, from the project as .dockerignore shows it or from another stage."""
    words = text.split()
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).removeprefix("--from=")]
        sources = [origin.moved(word) for word in words[:-1]]
        ignored = None
    else:
        sources = [PROJECT / word for word in words[:-1]]
        ignored = ignore_rules()
    for source in sources:
        target = stage.moved(words[-1])
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored, symlinks=True)
        else:
            shutil.copy2(source, target / source.name if target.is_dir() else target)


def ignore_rules():
    """For shutil: what .dockerignore leaves out."""
    patterns = [line.strip() for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.strip()]

    def ignored(folder: str, names: list[str]) -> list[str]:
        inside = Path(folder).relative_to(PROJECT)
        return [name for name in names if is_ignored(str(inside / name), patterns)]

    return ignored


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """By the rules of .dockerignore that this project uses: a path from the root, or **/ and a name."""
    return any(
        fnmatch.fnmatch(Path(path).name, pattern[3:]) if pattern.startswith("**/") else fnmatch.fnmatch(path, pattern)
        for pattern in patterns
    )


# --- what came of it -----------------------------------------------------------------------------------------------
def added_megabytes(stage: Stage) -> float:
    """What the stage adds to its base: packages, code and static files, without the virtualenv's own pip."""
    own = re.compile(r"site-packages/(pip|setuptools|pkg_resources|_distutils_hack|distutils-precedence)")
    files = [path for path in stage.root.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files if not own.search(str(path))) / 1e6


def start_and_ask(stage: Stage, folder: Path) -> None:
    """The image's default command in production, against real servers of its own."""
    writable = folder / "tmp"
    writable.mkdir()
    make_read_only(stage.root)
    check_nothing_can_be_written(stage)
    with MongoServer(folder / "mongo") as mongo, RedisServer(folder / "redis") as redis:
        port = free_port()
        environment = {**stage.process_environment, **production(mongo.uri, redis.uri, port), "TMPDIR": str(writable)}
        for command in ("migrate --verbosity 0", "migrate --check", "seed_catalog"):
            say(f"manage.py {command}")
            subprocess.run(
                unprivileged(["python", "manage.py", *command.split()]),
                cwd=stage.moved(""),
                env=environment,
                check=True,
            )
        server = subprocess.Popen(unprivileged(stage.command), cwd=stage.moved(""), env=environment)
        try:
            ask(port)
        finally:
            server.terminate()
            say(f"SIGTERM -> exit code {server.wait(40)}")


def ask(port: int) -> None:
    """What probes, Prometheus and clients ask; a probe names the pod's address as the host."""
    for path in ("/health/live", "/health/ready", "/api/services", "/metrics", "/static/unfold/css/styles.css"):
        say(f"GET {path} -> {wait_for(f'http://127.0.0.1:{port}{path}')}")
    health = [sys.executable, "-m", "booking_service.operations.container_health"]
    subprocess.run(health, cwd=PROJECT, env={**os.environ, "PORT": str(port)}, check=True)
    say("HEALTHCHECK -> healthy")


def make_read_only(folder: Path) -> None:
    """As the root file system is where the image runs."""
    subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)


def unprivileged(command: Sequence[str]) -> list[str]:
    """The command without root's power to write to what is read-only."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *command]


def check_nothing_can_be_written(stage: Stage) -> None:
    """Otherwise what follows would show nothing."""
    attempt = unprivileged(["touch", str(stage.moved("written"))])
    if subprocess.run(attempt, capture_output=True, check=False).returncode == 0:
        sys.exit("The tree could be written to.")


def production(mongodb: str, redis: str, port: int) -> dict[str, str]:
    secret = "an-invented-secret-for-this-one-run-of-the-image"
    return {
        "ENVIRONMENT": "production",
        "MONGODB_URI": mongodb,
        "REDIS_URL": redis,
        "RABBITMQ_URL": "amqp://127.0.0.1:1/",
        **dict.fromkeys(("SECRET_KEY", "JWT_SECRET", "SERVICE_SECRET"), secret),
        **dict.fromkeys(("MAIN_API_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL"), "https://partner.invalid"),
        "ALLOWED_HOSTS": "booking.example.com",
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
    }


def wait_for(url: str) -> int:
    """The status of a GET, once somebody listens. The host it names is an address that ALLOWED_HOSTS does not know."""
    request = urllib.request.Request(url, headers={"Host": "10.1.2.3:3001"})
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.image", description="Perform the Dockerfile in a folder.")
    parser.add_argument("--keep", type=Path, help="build in this empty folder and leave it there")
    folder = parser.parse_args().keep or Path(tempfile.mkdtemp(prefix="booking-image-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    try:
        stage = build((PROJECT / "Dockerfile").read_text(), folder)
        added = added_megabytes(stage)
        say(f"image: {BASE_MEGABYTES} MB base + {added:.0f} MB = {BASE_MEGABYTES + added:.0f} MB")
        if BASE_MEGABYTES + added >= LARGEST_MEGABYTES:
            sys.exit(f"That is not under {LARGEST_MEGABYTES} MB.")
        start_and_ask(stage, folder)
    finally:
        if not parser.parse_args().keep:
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
