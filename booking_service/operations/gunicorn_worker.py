"""gunicorn's threaded worker, with our envelope for what is no HTTP, responses in one piece, and a clean stop."""

import socket
import struct
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

from booking_service.api.renderers import encode
from booking_service.api.request_id import bind_request_id, current_request_id

# A client that says nothing for so long in the middle of a request has gone, and its thread is needed. The kernel keeps
# the time: gunicorn makes the socket blocking before each request, whatever Python was told.
STALLED_SECONDS = 10
_STALLED = struct.pack("ll", STALLED_SECONDS, 0)


def write_error(client: Any, status: int, reason: str, message: str) -> None:
    """What gunicorn answers to a request it cannot read: the envelope, without quoting the request."""
    error = {"success": False, "message": f"{reason}.", "code": reason.upper().replace(" ", "_")}
    body = encode({**error, "requestId": bind_request_id()})
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-Request-ID: {current_request_id()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode("latin-1") + body)


class WholeResponse(wsgi.Response):
    """Keeps the head until there is a body to send it with."""

    headers_sent: bool
    _head = b""

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


class BookingWorker(ThreadWorker):
    """The stock worker, which answers nothing in plain text and cuts nobody off when it stops."""

    def init_process(self) -> None:
        wsgi.Response = WholeResponse
        util.write_error = write_error
        super().init_process()

    def handle(self, conn: Any) -> Any:
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _STALLED)
        return super().handle(conn)

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
