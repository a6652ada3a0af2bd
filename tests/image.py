"""`make image`: the Dockerfile without a Docker engine.

Performs its steps one by one in an empty folder, a folder for each stage, with paths such as /app moved into it and a
fresh virtualenv as the base image's /usr/local. Then measures what the image would hold, and starts from it, in
production, the web server, the publisher, the consumer and a job: as the image's user when root runs this, without
privileges, on a tree that is read-only but for a temporary folder.

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
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from booking_service.devstack.servers import MongoServer, RabbitServer, RedisServer, ServerMissing, free_port

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
    """Everything that the image runs, in production, against real servers of its own."""
    writable = folder / "tmp"
    writable.mkdir()
    make_read_only(stage.root)
    give_to(stage, writable)
    check_nothing_can_be_written(stage)
    with ExitStack() as running:
        mongo = running.enter_context(MongoServer(folder / "mongo"))
        redis = running.enter_context(RedisServer(folder / "redis"))
        rabbit = broker(running, folder)
        port = free_port()
        settings = production(mongo.uri, redis.uri, rabbit, port)
        environment = {**stage.process_environment, **settings, "TMPDIR": str(writable)}
        for command in ("migrate --verbosity 0", "migrate --check", "seed_catalog"):
            perform(stage, environment, command)
        with process(stage, environment, stage.command):
            ask(port)
        for command in ("publish_events", "consume_events"):
            metrics = free_port()
            worker = ["python", "manage.py", command]
            with process(stage, {**environment, "EVENTS_METRICS_PORT": str(metrics)}, worker):
                say(f"{command}: GET /metrics -> {wait_for(f'http://127.0.0.1:{metrics}/metrics')}")
        for command in ("sweep_bookings", "send_reminders"):
            perform(stage, environment, command)


def broker(running: ExitStack, folder: Path) -> str:
    """A RabbitMQ, or an address where there is none: the workers must run on without it, too."""
    try:
        return running.enter_context(RabbitServer(folder / "rabbit")).uri
    except ServerMissing as missing:
        say(str(missing))
        return "amqp://127.0.0.1:1/"


def perform(stage: Stage, environment: dict[str, str], command: str) -> None:
    """One management command, from beginning to end."""
    say(f"manage.py {command}")
    line = unprivileged(stage, ["python", "manage.py", *command.split()])
    subprocess.run(line, cwd=stage.moved(""), env=environment, check=True)


@contextmanager
def process(stage: Stage, environment: dict[str, str], command: Sequence[str]) -> Iterator[None]:
    """A process that runs until it is told to stop, and must end by that with 0."""
    started = subprocess.Popen(unprivileged(stage, command), cwd=stage.moved(""), env=environment)
    try:
        yield
        started.terminate()
        code = started.wait(40)
    finally:
        started.kill()
    say(f"SIGTERM -> exit code {code}")
    if code:
        sys.exit(f"{' '.join(command)} did not end content.")


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


def give_to(stage: Stage, folder: Path) -> None:
    """The folder to the image's user, as an emptyDir is in a pod."""
    if os.geteuid() == 0:
        user, group = map(int, stage.user.split(":"))
        os.chown(folder, user, group)


def unprivileged(stage: Stage, command: Sequence[str]) -> list[str]:
    """The command as the image's user, without any power over what is read-only.

    Of root's powers it keeps the one to read: this machine's Python may lie in a folder that is root's alone.
    """
    if os.geteuid() != 0:
        return list(command)
    user, group = stage.user.split(":")
    kept = [f"--{kind}=-all,+dac_read_search" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *kept, "--no-new-privs", *command]


def check_nothing_can_be_written(stage: Stage) -> None:
    """Otherwise what follows would show nothing; nor would it if the image's user could not read its files."""
    attempt = unprivileged(stage, ["touch", str(stage.moved("written"))])
    if subprocess.run(attempt, capture_output=True, check=False).returncode == 0:
        sys.exit("The tree could be written to.")
    closed = [
        path for path in stage.root.rglob("*") if not path.is_symlink() and not path.stat().st_mode & stat.S_IROTH
    ]
    if closed:
        sys.exit(f"The image's user could not read {closed[0]} and {len(closed) - 1} more.")
    who = unprivileged(stage, ["id", "-u"])
    user = subprocess.run(who, capture_output=True, text=True, check=True).stdout.strip()
    say(f"as user {user}, with nothing to write but a temporary folder")


def production(mongodb: str, redis: str, rabbitmq: str, port: int) -> dict[str, str]:
    secret = "an-invented-secret-for-this-one-run-of-the-image"
    return {
        "ENVIRONMENT": "production",
        "MONGODB_URI": mongodb,
        "REDIS_URL": redis,
        "RABBITMQ_URL": rabbitmq,
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
