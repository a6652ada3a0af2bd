"""gunicorn as this service configures it."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from django_redis import get_redis_connection

from booking_service.devstack.servers import HOST
from booking_service.operations.gunicorn_followers import MOST_PIPELINED
from booking_service.operations.gunicorn_worker import CLIENT_SECONDS
from tests.integration.operations.conftest import ROOT, Web
from tests.integration.patients.callers import Account

Start = Callable[..., Web]

LOGIN = b"POST /api/patients/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def raw(web: Web, request: bytes) -> bytes:
    """Everything the server says to ``request`` until it closes the connection."""
    with socket.create_connection((HOST, web.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def lines(web: Web, event: str = "request") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in web.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line.get("event") == event]


def sample(web: Web, name: str) -> float:
    """The value of one line of /metrics."""
    page = requests.get(f"{web.url}/metrics", timeout=10).text
    return float(next((line.split()[-1] for line in page.splitlines() if line.startswith(name)), "0"))


def configured(folder: Path, *lines: str) -> str:
    """The option that makes gunicorn read our configuration with ``lines`` of Python behind it."""
    config = folder / "test.conf.py"
    ours = f"globals().update(run_path({str(ROOT / 'gunicorn.conf.py')!r}))"
    config.write_text("\n".join(["from runpy import run_path", ours, *lines]))
    return f"--config {config}"


def hurried(folder: Path) -> str:
    """The option that leaves clients one second instead of ten."""
    return configured(
        folder, "from booking_service.operations import gunicorn_worker", "gunicorn_worker.CLIENT_SECONDS = 1"
    )


@contextmanager
def repeated(connections: list[socket.socket], step: Callable[[socket.socket], object]) -> Iterator[None]:
    """Take ``step`` with each connection every 0.3 seconds, for as long as the server lets it."""
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(0.3):
            for connection in connections:
                with suppress(OSError):
                    step(connection)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_it_serves_kept_alive_connections(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2")
    connection = http.client.HTTPConnection(HOST, running.port, timeout=10)

    for _ in range(3):
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["success"] is True


def test_it_serves_more_connections_than_threads(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2")

    def several(_: int) -> list[int]:
        with requests.Session() as session:
            return [session.get(f"{running.url}/", timeout=20).status_code for _ in range(5)]

    with ThreadPoolExecutor(12) as pool:
        assert [status for statuses in pool.map(several, range(12)) for status in statuses] == [200] * 60


def test_it_keeps_no_thread_for_connections_that_say_nothing(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2")

    with ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(socket.create_connection((HOST, running.port), timeout=10))
        time.sleep(0.2)  # accepted by now
        began = time.monotonic()
        answer = requests.get(f"{running.url}/health/live", timeout=10)

    assert answer.status_code == 200
    assert time.monotonic() - began < 1


def test_it_closes_connections_that_say_nothing_for_too_long(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS="--keep-alive 1")

    with ExitStack() as stack:
        silent, idle = (stack.enter_context(socket.create_connection((HOST, running.port), timeout=8)) for _ in "12")
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert [idle.recv(1), silent.recv(1)] == [b"", b""]

    assert requests.get(f"{running.url}/health/live", timeout=10).status_code == 200


def test_it_closes_new_connections_that_say_nothing_before_those_it_has_answered(web: Start, tmp_path: Path) -> None:
    running = web(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS=hurried(tmp_path))
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    with ExitStack() as stack:
        silent, idle = (stack.enter_context(socket.create_connection((HOST, running.port), timeout=8)) for _ in "12")
        idle.sendall(request)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert silent.recv(1) == b""
        time.sleep(1)  # now both have waited for longer than a new one may
        idle.sendall(request)
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_it_answers_pipelined_requests_in_order(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1")
    last = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = raw(running, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + last)

    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.index(b"200 OK") < answer.index(b"404 Not Found")


def test_it_cuts_off_who_asks_again_and_again_without_a_pause(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1")

    answer = raw(running, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 500)

    assert MOST_PIPELINED <= answer.count(b"HTTP/1.1 200 OK") < 500


def test_it_is_told_by_no_header_where_it_is_mounted(web: Start) -> None:
    answer = requests.get(f"{web().url}/health/live", headers={"SCRIPT_NAME": "/foo", "PATH_INFO": "/bar"}, timeout=10)

    assert answer.status_code == 200


def test_it_answers_head_with_the_length_and_no_body(web: Start) -> None:
    answer = raw(web(), b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"Content-Length: " in head
    assert body == b""


def test_it_streams_what_has_no_length(web: Start) -> None:
    running = web()

    page = requests.get(f"{running.url}/metrics", timeout=10)

    assert page.headers["Transfer-Encoding"] == "chunked"
    assert "booking_request_seconds" in page.text


def test_it_reads_a_body_that_comes_in_chunks(web: Start) -> None:
    running = web()
    url = f"{running.url}/api/patients/login"
    headers = {"Content-Type": "application/json"}

    small = requests.post(url, data=iter([b'{"emai', b'l": 1}']), headers=headers, timeout=10)
    large = requests.post(url, data=iter([b" " * 6_000] * 2), headers=headers, timeout=10)

    assert {error["field"] for error in small.json()["errors"]} == {"email", "password"}
    assert (large.status_code, large.json()["code"]) == (413, "BODY_TOO_LARGE")


def test_it_limits_what_comes_in_chunks_to_the_admin_too(web: Start) -> None:
    running = web()
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = raw(running, head + b"%X\r\n" % 3_000_000 + b" " * 2_621_441)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"BODY_TOO_LARGE" in answer


@pytest.mark.parametrize("chunks", [b"zz\r\n{}", b"-1\r\n{}", b"0x2\r\n{}", b"2\r\n{}\r\n0\r\nno header\r\n\r\n"])
def test_it_refuses_chunks_that_are_none_and_reads_nothing_behind_them(web: Start, chunks: bytes) -> None:
    running = web()
    smuggled = b"\r\n0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    answer = raw(running, LOGIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + smuggled)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_it_waits_for_nobody_who_stops_in_the_middle_of_a_request(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="3")
    halves = [
        b"GET / HTTP/1.1\r\nHost:",
        LOGIN + b"Content-Length: 50\r\n\r\n{",
        LOGIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ]
    with ExitStack() as stack:
        for half in halves:  # one for each thread
            stalled = stack.enter_context(socket.create_connection((HOST, running.port)))
            stalled.sendall(half)
        answers = requests.get(f"{running.url}/health/live", timeout=4 * CLIENT_SECONDS)

    assert answers.status_code == 200
    assert [line for line in lines(running, "unhandled exception") if line["level"] == "error"] == []
    assert "Traceback" not in running.log.read_text()
    assert "Socket error" not in running.log.read_text()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n", id="head"),
        pytest.param(LOGIN + b"Content-Length: 9000\r\n\r\n{", b" ", id="body"),
        pytest.param(LOGIN + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n", b" ", id="body nobody reads"),
    ],
)
def test_it_waits_for_nobody_who_drips(web: Start, tmp_path: Path, head: bytes, drop: bytes) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS=hurried(tmp_path))

    with ExitStack() as stack:
        dripping = [stack.enter_context(socket.create_connection((HOST, running.port))) for _ in range(3)]
        for connection in dripping:
            connection.sendall(head)
        with repeated(dripping, lambda connection: connection.sendall(drop)):
            time.sleep(0.5)  # every thread has one by now
            answer = requests.get(f"{running.url}/health/live", timeout=20)

    assert answer.status_code == 200
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("bytes_at_once", [0, 4_096])
def test_it_waits_for_nobody_who_does_not_take_the_answers(web: Start, tmp_path: Path, bytes_at_once: int) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS=hurried(tmp_path))

    with ExitStack() as stack:
        slow = [stack.enter_context(socket.socket()) for _ in range(3)]
        for connection in slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect((HOST, running.port))
            connection.sendall(b"GET /api/schema HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        with repeated(slow, lambda connection: connection.recv(bytes_at_once)):
            time.sleep(2)  # what the kernel takes is full by now
            answer = requests.get(f"{running.url}/health/live", timeout=20)

    assert answer.status_code == 200
    assert "Traceback" not in running.log.read_text()


def test_it_gives_a_client_that_takes_its_time_the_whole_answer(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2")
    asked = 30

    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect((HOST, running.port))
        close = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(b"GET /api/schema HTTP/1.1\r\nHost: x\r\n\r\n" * asked + close)
        time.sleep(2)  # nothing more fits, and a thread waits
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1 200 OK") == asked
    assert answer.endswith(b"}")


def test_it_counts_all_processes_in_one_page(web: Start) -> None:
    running = web(WEB_CONCURRENCY="2", WEB_THREADS="2")

    for _ in range(40):
        requests.get(f"{running.url}/", timeout=10)

    count = 'booking_request_seconds_count{method="GET",route="",status="200"}'
    assert [sample(running, count) for _ in range(4)] == [40] * 4


def test_it_keeps_counting_when_a_worker_is_renewed(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1")
    count = 'booking_request_seconds_count{method="GET",route="",status="200"}'
    for _ in range(5):
        requests.get(f"{running.url}/", timeout=10)
    (worker,) = psutil.Process(running.process.pid).children()

    worker.send_signal(signal.SIGTERM)
    worker.wait(10)
    running.wait_until_ready()
    requests.get(f"{running.url}/", timeout=10)

    assert sample(running, count) == 6


def test_it_finishes_requests_in_hand_when_told_to_stop(web: Start) -> None:
    running = web(WEB_CONCURRENCY="2", RATE_LIMIT_ENABLED="false")
    statuses: list[int] = []
    broken: list[BaseException] = []
    stopping = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not stopping.is_set():
                try:
                    statuses.append(session.get(f"{running.url}/api/services", timeout=20).status_code)
                except requests.ConnectionError as error:
                    # A new connection may be refused, then somebody else serves it; one that was made is ours.
                    if "refused" not in str(error).lower():
                        broken.append(error)
                    return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    running.process.send_signal(signal.SIGTERM)
    code = running.process.wait(30)
    stopping.set()
    for thread in threads:
        thread.join()

    assert code == 0
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert broken == []


def begin_login(connection: socket.socket) -> bytes:
    """Send a login but for the last of its body, which is returned: the request is in hand until that comes."""
    body = b'{"email": "nobody@example.com", "password": "Secret123x"}'
    connection.sendall(LOGIN + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-5])
    time.sleep(0.5)  # a thread has it by now
    return body[-5:]


def test_it_answers_what_has_been_in_hand_for_seconds_when_told_to_stop(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1")
    with socket.create_connection((HOST, running.port), timeout=10) as connection:
        rest = begin_login(connection)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(5)
        connection.sendall(rest)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert running.process.wait(10) == 0


def test_it_answers_the_next_request_of_a_connection_that_it_promised_to_keep(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1")
    with socket.create_connection((HOST, running.port), timeout=10) as connection:
        rest = begin_login(connection)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(4)
        connection.sendall(rest)
        first = connection.recv(65536)
        time.sleep(1.2)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        second = connection.recv(65536)

    assert b"Connection: keep-alive" in first
    assert second.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in second
    assert running.process.wait(10) == 0


def test_it_cuts_no_request_when_workers_are_renewed(web: Start) -> None:
    recycled = "--max-requests 60 --max-requests-jitter 20"
    running = web(WEB_CONCURRENCY="2", RATE_LIMIT_ENABLED="false", GUNICORN_CMD_ARGS=recycled)

    def several(_: int) -> list[int]:
        with requests.Session() as session:
            return [session.get(f"{running.url}/", timeout=30).status_code for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for found in pool.map(several, range(8)) for status in found]

    assert statuses == [200] * 800
    assert running.log.read_text().count("Autorestarting worker") >= 5


def test_it_loses_no_thread_to_an_answer_that_breaks_off(web: Start, tmp_path: Path) -> None:
    breaking = configured(tmp_path, 'wsgi_app = "tests.integration.operations.breaking_app:application"')
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS=breaking)

    for _ in range(4):
        with pytest.raises(requests.exceptions.RequestException):
            requests.get(f"{running.url}/breaks", timeout=10)

    assert requests.get(f"{running.url}/health/live", timeout=5).status_code == 200
    running.process.terminate()
    assert running.process.wait(10) == 0


def test_it_locks_nobody_out_when_as_many_as_it_takes_keep_their_connections(web: Start) -> None:
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS="--worker-connections 8")

    with ExitStack() as idle:
        for _ in range(10):
            session = idle.enter_context(requests.Session())
            assert session.get(f"{running.url}/health/live", timeout=5).status_code == 200
        assert requests.get(f"{running.url}/health/live", timeout=5).status_code == 200


def test_it_locks_nobody_out_when_more_than_it_takes_say_nothing(web: Start, tmp_path: Path) -> None:
    options = f"{hurried(tmp_path)} --worker-connections 8"
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS=options)

    with ExitStack() as silent:
        for _ in range(12):
            silent.enter_context(socket.create_connection((HOST, running.port), timeout=10))
        assert requests.get(f"{running.url}/health/live", timeout=15).status_code == 200


@pytest.mark.parametrize("most", [4096, 256])
def test_it_takes_no_more_connections_than_it_may_have_open(web: Start, tmp_path: Path, most: int) -> None:
    config = configured(tmp_path).removeprefix("--config ")
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (256, {most}))\n"
    Path(config).write_text(limit + Path(config).read_text())
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="2", GUNICORN_CMD_ARGS=f"--config {config}")

    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((HOST, running.port), timeout=20)) for _ in range(300)]
        time.sleep(0.5)  # as many as it takes are accepted by now
        for client in clients:
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients:
            with client:
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")

    assert "Too many open files" not in running.log.read_text()


def test_it_logs_the_route_and_nothing_that_was_typed(web: Start) -> None:
    running = web()
    canary = "canary9876543210"

    requests.get(f"{running.url}/api/services/search?q={canary}", timeout=10, headers={"User-Agent": canary})
    requests.get(f"{running.url}/{canary}", timeout=10, headers={"X-Request-ID": "trace-7"})
    requests.post(
        f"{running.url}/api/patients/login", json={"email": f"{canary}@example.com", "password": canary}, timeout=10
    )
    raw(running, f"GET /{canary} HTTP/9.9\r\nHost: x\r\n\r\n".encode())
    raw(running, f"{canary}\r\n\r\n".encode())
    running.process.terminate()
    running.process.wait(30)

    seen = {line["route"]: line for line in lines(running)}
    assert set(seen) >= {"api/services/search", "api/patients/login", "unmatched"}
    assert seen["unmatched"]["requestId"] == "trace-7"
    assert seen["unmatched"]["status"] == 404
    assert seen["api/patients/login"]["milliseconds"] > 0
    assert canary not in running.log.read_text()


def test_it_refuses_what_is_no_http_in_the_envelope(web: Start) -> None:
    running = web()

    answer = raw(running, b"canary\r\n\r\n")

    head, body = answer.split(b"\r\n\r\n", 1)
    refusal = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert refusal["code"] == "BAD_REQUEST"
    assert f"X-Request-ID: {refusal['requestId']}".encode() in head
    assert b"canary" not in answer


def test_it_writes_a_file_for_each_process_when_asked(web: Start, tmp_path: Path) -> None:
    running = web(LOG_FILE=str(tmp_path / "service.log"), LOG_FORMAT="text", WEB_CONCURRENCY="2")

    asked, until = 0, time.monotonic() + 30
    while len(files := sorted(tmp_path.glob("service.*.log"))) < 2 and time.monotonic() < until:
        requests.get(f"{running.url}/", timeout=10)
        asked += 1
        time.sleep(0.02)  # the second process may come up later

    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [file.name for file in files] == ["service.0.log", "service.1.log"]
    assert [line["event"] for line in lines if line.get("route") == ""] == ["request"] * asked


def test_it_says_that_rate_limits_are_off(web: Start) -> None:
    running = web(RATE_LIMIT_ENABLED="false", WEB_CONCURRENCY="1")

    assert "operations.W002" in running.log.read_text()


def test_it_leaves_no_folder_of_metrics_behind(web: Start, tmp_path: Path) -> None:
    running = web(TMPDIR=str(tmp_path))
    assert list(tmp_path.glob("booking-metrics-*"))

    running.process.terminate()
    running.process.wait(30)

    assert not list(tmp_path.glob("booking-metrics-*"))


SLOW_HASHES = """
import argon2, pathlib, time
right, folder = argon2.PasswordHasher.verify, pathlib.Path({folder!r})
def slow(*given):
    (folder / f"hashing-{{time.monotonic_ns()}}").touch()
    while not (folder / "go-on").exists():
        time.sleep(0.01)
    return right(*given)
argon2.PasswordHasher.verify = slow
"""


def attempts_counted() -> dict[bytes, int]:
    """By account and address."""
    redis = get_redis_connection("default")
    return {name: redis.zcard(name) for name in redis.scan_iter("patient-booking:limit:sign-in-*")}


def test_a_burst_of_sign_ins_leaves_threads_for_everybody_else(web: Start, tmp_path: Path, asha: Account) -> None:
    """Two are hashed for as long as this takes; two hundred come meanwhile."""
    slow = configured(tmp_path, *SLOW_HASHES.format(folder=str(tmp_path)).splitlines())
    running = web(WEB_CONCURRENCY="1", WEB_THREADS="4", PASSWORD_HASHES_AT_ONCE="2", GUNICORN_CMD_ARGS=slow)
    known = {"email": asha.email, "password": asha.password}

    def sign_in(_: int) -> requests.Response:
        return requests.post(f"{running.url}/api/patients/login", json=known, timeout=20)

    with ThreadPoolExecutor(202) as pool:
        hashed = [pool.submit(sign_in, number) for number in range(2)]
        until = time.monotonic() + 20
        while len(list(tmp_path.glob("hashing-*"))) < 2:
            assert time.monotonic() < until, "no password is hashed"
            time.sleep(0.02)
        counted = attempts_counted()
        refused = list(pool.map(sign_in, range(200)))
        mine = {"Authorization": f"Bearer {asha.token}"}
        profile = requests.get(f"{running.url}/api/patients/profile", headers=mine, timeout=10)
        health = requests.get(f"{running.url}/health", timeout=10)
        assert attempts_counted() == counted
        assert not any(answer.done() for answer in hashed)
        (tmp_path / "go-on").touch()

    assert {(answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) for answer in refused} == {
        (503, "BUSY", "1")
    }
    assert (profile.status_code, health.status_code) == (200, 200)
    assert [answer.result().status_code for answer in hashed] == [200, 200]
    assert sign_in(0).status_code == 200
