"""`make run`: the servers, a prepared database, and every process of the Procfile beside the stand-in partners."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from honcho.environ import parse_procfile
from honcho.manager import Manager

from booking_service.devstack.servers import HOST, ServerError, free_port, port_is_free
from booking_service.devstack.stack import Stack, running_stack

DEFAULT_PORT = "3001"
PARTNER_PORTS = {"MAIN_API_URL": 3900, "PAYMENT_SERVICE_URL": 3901, "NOTIFICATION_SERVICE_URL": 3902}
START_SECONDS, STOP_SECONDS = 60, 10


def service_run(folder: Path) -> int:
    """Run until a signal or until a process ends by itself; the exit code is 0 only after a signal."""
    port = _free_web_port()
    Path(".local", "static").mkdir(parents=True, exist_ok=True)  # whitenoise complains about a folder that is not there
    with running_stack(folder) as stack:
        environment = _environment(port, stack)
        stack.wait_for("MONGODB_URI", "REDIS_URL")
        password = _prepare(environment)
        stack.wait_for("RABBITMQ_URL")
        stack.keep_running()
        _write_addresses(folder, environment, stack)
        manager = _processes(environment, folder)
        threading.Thread(target=_say_where_to_look, args=(port, stack, password), daemon=True).start()
        _loop(manager, stack)
    signalled = manager.returncode in {130, 143}
    return 0 if signalled else 1


def _free_web_port() -> int:
    word = os.environ.get("PORT") or DEFAULT_PORT
    if not word.isdecimal() or not 0 < int(word) < 65536:
        raise ServerError(f"PORT must be a number from 1 to 65535, not {word!r}.")
    if not port_is_free(int(word)):
        raise ServerError(
            f"Port {word} is in use: stop what listens there, or choose another: `make run PORT={int(word) + 1}`."
        )
    return int(word)


def _environment(port: int, stack: Stack) -> dict[str, str]:
    """What every process gets: the servers, and a stand-in for each partner that has no URL."""
    partners = {
        name: f"http://{HOST}:{usual if port_is_free(usual) else free_port()}"
        for name, usual in PARTNER_PORTS.items()
        if not os.environ.get(name)
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **partners, **stack.uris, "PORT": str(port), "PATH": path, "PYTHONUNBUFFERED": "1"}


def _prepare(environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "booking_service.devstack.prepare"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "The database was not prepared."
        )
    return done.stdout.strip()


def _write_addresses(folder: Path, environment: dict[str, str], stack: Stack) -> None:
    """For `make demo` and for shells: where the running service, its servers and the stand-in partners are."""
    addresses = {"SERVICE_URL": f"http://{HOST}:{environment['PORT']}", **stack.uris}
    if stand_ins := _stand_ins(environment):
        addresses["STAND_IN_URL"] = stand_ins[0]
    lines = [f"{name}={shlex.quote(uri)}\n" for name, uri in addresses.items()]
    (folder / "addresses.env").write_text("".join(lines))


def _stand_ins(environment: dict[str, str]) -> list[str]:
    return [environment[name] for name in PARTNER_PORTS if not os.environ.get(name)]


def _processes(environment: dict[str, str], folder: Path) -> Manager:
    manager = Manager()
    for name, command in parse_procfile(Path("Procfile").read_text()).processes.items():
        manager.add_process(name, f"exec {command}", env=environment)
    if _stand_ins(environment):
        command = f"exec python -m booking_service.devstack.partners --folder {shlex.quote(str(folder))}"
        manager.add_process("partners", command, env=environment)
    return manager


def _loop(manager: Manager, stack: Stack) -> None:
    """Run the processes until one ends or a signal comes; however the loop ends, none of them is left."""
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))  # a closed terminal
    try:
        manager.loop()
    finally:
        servers = stack.pids
        trees = [_tree(process) for process in psutil.Process().children() if process.pid not in servers]
        left = [process for tree in trees for process in tree]
        for process in left:
            process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=STOP_SECONDS)
        for process in stubborn:
            process.kill()


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [*process.children(recursive=True), process]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _say_where_to_look(port: int, stack: Stack, password: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port):
        if time.monotonic() > deadline:
            print(
                f"The service has not answered on port {port} for {START_SECONDS} s; its lines above say why.",
                flush=True,
            )
            return
        time.sleep(0.1)
    url = f"http://{HOST}:{port}"
    staff = (
        f"user admin, password {password} (shown this once)"
        if password
        else "user admin, password as shown the first time"
    )
    lines = [
        "",
        "  The patient booking service is running.",
        f"  API     {url}/  described at {url}/api/docs",
        f"  Admin   {url}/admin/  {staff}",
        f"  Health  {url}/health  metrics at {url}/metrics",
        *(f"  {name}={uri}" for name, uri in stack.uris.items()),
        *(f"  {note}" for note in stack.notes),
        "  `make demo` in another terminal walks through a booking. Ctrl-C stops everything.",
        "",
    ]
    print("\n".join(lines), flush=True)
