"""`python -m booking_service.devstack run|stack|demo|events|send`, behind `make run` and its like."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from honcho.environ import parse

from booking_service.devstack import demo, run
from booking_service.devstack.platform_events import send_event, show_events
from booking_service.devstack.servers import ServerError
from booking_service.devstack.stack import running_stack

ROOT = Path(__file__).resolve().parents[2]


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
def only_one(folder: Path) -> Iterator[None]:
    """Two stacks cannot share one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(f"Another `make run` or `make stack` works in {folder.name}: stop that one.") from None
        yield


def run_service(folder: Path) -> int:
    """Servers, database, processes, until a signal."""
    with only_one(folder):
        return run.service_run(folder)


def run_stack(folder: Path) -> int:
    """The servers alone, their URIs a line each, until a signal."""
    with only_one(folder), running_stack(folder) as stack:
        stack.wait_for(*stack.uris)
        for name, uri in stack.uris.items():
            print(f"{name}={uri}", flush=True)
        for note in stack.notes:
            print(note, file=sys.stderr)
        signal.pause()
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "run": run_service,
    "stack": run_stack,
    "demo": demo.main,
    "events": show_events,
    "send": send_event,
}


def parse_arguments() -> argparse.Namespace:
    """The command, its folder, and for `send` an event."""
    parser = argparse.ArgumentParser(prog="python -m booking_service.devstack")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local", help="where the servers keep their data")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=(function.__doc__ or "").partition("\n")[0])
        if name == "send":
            command.add_argument("name", help="such as payment.completed")
            command.add_argument("data", help="a JSON object")
    return parser.parse_args()


def main() -> int:
    """Run one command; what goes wrong is one line."""
    options = vars(parse_arguments())
    command, folder = COMMANDS[options.pop("command")], options.pop("folder").resolve()
    os.chdir(ROOT)
    read_dotenv()
    end_on_signals()
    try:
        return command(folder, **options)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read the output has gone
        return 1


if __name__ == "__main__":
    sys.exit(main())
