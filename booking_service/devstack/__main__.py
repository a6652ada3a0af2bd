"""`python -m booking_service.devstack run|stack|demo`, behind `make run`, `make stack` and `make demo`."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from honcho.environ import parse

from booking_service.devstack import demo, run
from booking_service.devstack.servers import ServerError
from booking_service.devstack.stack import running_stack

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".local"


def read_dotenv() -> None:
    """Take from `.env` what the environment does not say itself."""
    file = ROOT / ".env"
    if file.exists():
        for name, value in parse(file.read_text()).items():
            os.environ.setdefault(name, value)


def end_on_signals() -> None:
    """Let SIGTERM and a closed terminal end this process the way Ctrl-C does; a second one is ignored."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)


@contextmanager
def only_one() -> Iterator[None]:
    """Two stacks cannot share one `.local/`."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError("Another `make run` or `make stack` of this folder is running: stop that one.") from None
        yield


def run_service() -> int:
    """Servers, database, processes, until a signal."""
    with only_one():
        return run.service_run(FOLDER)


def run_stack() -> int:
    """The servers alone, their URIs a line each, until a signal."""
    with only_one(), running_stack(FOLDER) as stack:
        stack.wait_for(*stack.uris)
        for name, uri in stack.uris.items():
            print(f"{name}={uri}", flush=True)
        for note in stack.notes:
            print(note, file=sys.stderr)
        signal.pause()
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "run": run_service,
    "stack": run_stack,
    "demo": lambda: demo.main(FOLDER),
}


def main(arguments: list[str]) -> int:
    """Run one command; what goes wrong is one line."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"One of: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    read_dotenv()
    end_on_signals()
    try:
        return COMMANDS[arguments[0]]()
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
