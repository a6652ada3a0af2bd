"""HTTP servers on loopback that behave as a partner should not."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

STOP_AFTER_SECONDS = 20
Behaviour = Callable[[socket.socket, "LoopbackPartner"], None]


@dataclass
class ReceivedRequest:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class LoopbackPartner:
    """Answers each request by the next of `behaviours`, the last one again and again; keeps what it was asked."""

    behaviours: list[Behaviour]
    requests: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def behave(self, *behaviours: Behaviour) -> None:
        with self._lock:
            self.behaviours = list(behaviours)

    def stop(self) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, UnicodeDecodeError):
            stream = connection.makefile("rb")
            while (request := _read_request(stream)) is not None:
                with self._lock:
                    self.requests.append(request)
                    behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
                behaviour(connection, self)


def _read_request(stream) -> ReceivedRequest | None:
    first = stream.readline().decode()
    if not first:
        return None
    method, path, _ = first.split()
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return ReceivedRequest(method, path, headers, stream.read(int(headers.get("content-length", 0))))


def raw(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def answers(data: object, status: str = "200 OK", **headers: str) -> Behaviour:
    body = json.dumps({"success": True, "data": data}).encode()
    return lambda connection, server: connection.sendall(raw(status, body, Content_Type="application/json", **headers))


def refuses(status: str, body: bytes = b"{}", **headers: str) -> Behaviour:
    return lambda connection, server: connection.sendall(raw(status, body, Content_Type="application/json", **headers))


def hangs(connection: socket.socket, server: LoopbackPartner) -> None:
    server.stopped.wait(STOP_AFTER_SECONDS)


def resets(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # close() would wait for the stream that reads requests


def _drips(connection: socket.socket, server: LoopbackPartner, before: bytes, drop: bytes) -> None:
    connection.sendall(before)
    ends = time.monotonic() + STOP_AFTER_SECONDS
    while time.monotonic() < ends and not server.stopped.wait(0.05):
        connection.sendall(drop)


def drips_status(connection: socket.socket, server: LoopbackPartner) -> None:
    _drips(connection, server, b"HTTP/1.1 200 ", b"O")


def drips_headers(connection: socket.socket, server: LoopbackPartner) -> None:
    _drips(connection, server, b"HTTP/1.1 200 OK\r\nX-Long: ", b"a")


def drips_body(connection: socket.socket, server: LoopbackPartner) -> None:
    _drips(connection, server, b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{", b" ")


def drips_chunks(connection: socket.socket, server: LoopbackPartner) -> None:
    _drips(connection, server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def continues_forever(connection: socket.socket, server: LoopbackPartner) -> None:
    _drips(connection, server, b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def sends_html(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(raw("200 OK", b"<html>Welcome to nginx</html>", Content_Type="text/html"))


def sends_a_gigabyte(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(raw("200 OK", Content_Length=str(2**30)))
    _gigabyte(connection)


def sends_a_chunked_gigabyte(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    _gigabyte(connection, chunked=True)


def sends_a_chunk_of_minus_one(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    _gigabyte(connection)


def sends_a_gigabyte_after_the_last_chunk(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(2**17):
        connection.sendall((b"x" * 126 + b"\r\n") * 64)


def redirects_with_a_gigabyte(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(raw("302 Found", Location="http://127.0.0.1/", Content_Length=str(2**30)))
    _gigabyte(connection)


def _gigabyte(connection: socket.socket, chunked: bool = False) -> None:
    mebibyte = b" " * 2**20
    for _ in range(1024):
        connection.sendall(b"100000\r\n" + mebibyte + b"\r\n" if chunked else mebibyte)


def sends_endless_headers(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.stopped.is_set():
        connection.sendall(b"X-More: more\r\n" * 100)


def closes_in_the_middle(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(raw("200 OK", b'{"success": true, "da', Content_Length="500"))
    connection.shutdown(socket.SHUT_RDWR)


def speaks_no_http(connection: socket.socket, server: LoopbackPartner) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def redirects_to(url: str) -> Behaviour:
    return lambda connection, server: connection.sendall(raw("302 Found", Location=url))
