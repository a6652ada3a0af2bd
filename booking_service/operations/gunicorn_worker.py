"""gunicorn's threaded worker, with our envelope for what is no HTTP, responses in one piece, and a clean stop."""

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers import gthread

from booking_service.api.renderers import encode
from booking_service.api.request_id import bind_request_id, current_request_id

# So long a thread waits for the client of a request, and so long a new connection may say nothing.
CLIENT_SECONDS = 10
# What a view left of a body is read up to so many bytes; of a larger one the connection ends with the answer.
UNREAD_BYTES = 65_536


def write_error(client: Any, status: int, reason: str, message: str) -> None:
    """What gunicorn answers to a request it cannot read: the envelope, without quoting the request."""
    error = {"success": False, "message": f"{reason}.", "code": reason.upper().replace(" ", "_")}
    body = encode({**error, "requestId": bind_request_id()})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-Request-ID: {current_request_id()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode("latin-1") + body)


class ClientSocket(socket.socket):
    """A client's connection, for which a thread waits no longer than `patience`: to read and to send, taken together.

    When it is used up, what has come is still read and what fits is still sent, and BlockingIOError raised instead of
    waiting. The kernel keeps the time of each single call, so the last one may take CLIENT_SECONDS more.
    """

    patience = 0.0  # seconds

    def __init__(self, accepted: socket.socket) -> None:
        """Take over ``accepted``, which is of no use any more."""
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", CLIENT_SECONDS, 0))

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data: bytes = self._patiently(super().recv, size, flags)
        return data

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._patiently(super().send, rest, flags) :]

    def settimeout(self, seconds: float | None, /) -> None:
        """Only where that is another one: gunicorn says three times a request what is so already."""
        if seconds != self.gettimeout():
            super().settimeout(seconds)

    def setblocking(self, blocking: bool, /) -> None:
        """As `settimeout`."""
        self.settimeout(None if blocking else 0.0)

    def is_silent(self) -> bool:
        """Whether there is nothing to read."""
        try:
            return not super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True

    def _patiently(self, call: Callable[[Any, int], Any], argument: Any, flags: int) -> Any:
        began = time.monotonic()
        try:
            return call(argument, flags if self.patience > 0 else flags | socket.MSG_DONTWAIT)
        finally:
            self.patience -= time.monotonic() - began


class ClientConnection(gthread.TConn):
    """gunicorn's connection over our socket."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, ClientSocket(sock), client, server)


class WholeResponse(wsgi.Response):
    """Keeps the head until there is a body to send it with."""

    headers_sent: bool
    _head = b""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take them as they are: Django has looked at each when it was set, and nobody here sets a proxy's."""
        self.headers = headers
        self.response_length = next((int(value) for name, value in headers if name == "Content-Length"), None)

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        self._send(data)

    def close(self) -> None:
        self.send_headers()
        if self._head:
            self._send(b"")
        super().close()

    def sendfile(self, respiter: Any) -> bool:
        """Files go through ``write``, which sends the head with them."""
        return False

    def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self.sock.sendall(head + data)


class BookingWorker(gthread.ThreadWorker):
    """The stock worker, which answers nothing in plain text, waits for nobody without end and cuts nobody off."""

    def init_process(self) -> None:
        gthread.TConn = ClientConnection
        wsgi.Response = WholeResponse
        util.write_error = write_error
        # gunicorn would look up twenty of them for every request, through two functions each.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Answer one request of the connection; true if it is kept."""
        conn.sock.patience = CLIENT_SECONDS
        return super().handle(conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Read what the view left of the body; false if the connection must end.

        The stock one gives the socket a timeout for that, which a client that drips begins anew with each byte.
        """
        if not (keepalive and conn.parser.finish_body(max_bytes=UNREAD_BYTES)):
            return False
        conn.parser.mesg = None  # or it would look for the rest of this body again before the next request
        return True

    def set_accept_enabled(self, enabled: bool) -> None:
        """A stopping worker takes the connections that are queued and closes the queue.

        The stock one leaves it open for seconds, for connections that nobody will answer.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._accept_queued(listener)
                listener.close()

    def _accept_queued(self, listener: Any) -> None:
        """Take every connection that is queued; each ``accept`` takes one, or none when there is none."""
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)
