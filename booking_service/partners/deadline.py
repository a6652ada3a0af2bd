"""HTTP connections on which everything together ends by a deadline, and by a size.

`requests` takes a time limit for each read, so a server that drips a byte at a time holds a caller for as long as it
likes: in the headers as well as in the body. Here each read and write on the socket is given only what is left of the
call's time. Looking up a name in the DNS is the one step that the operating system alone limits (`resolv.conf`).

What arrives is counted here as well: `http.client` takes a chunk of the size -1 for all that comes, and skips what
follows the last chunk for as long as something comes.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

POOLS = 4  # hosts whose connection a thread keeps; there are three partners
_thread = threading.local()


class Deadline:
    """A moment by which a call has to be over, how much of the time may be spent on connecting, and how many bytes may
    arrive."""

    def __init__(self, seconds: float, connect_seconds: float, most_bytes: int) -> None:
        self._ends = time.monotonic() + seconds
        self._bytes_left = most_bytes
        self.connect_seconds = connect_seconds

    @property
    def remaining(self) -> float:
        """Seconds left; 0 or less when it has passed."""
        return self._ends - time.monotonic()

    def check(self) -> float:
        """Seconds left; raises `TimeoutError` when there are none."""
        remaining = self.remaining
        if remaining <= 0:
            raise TimeoutError("the call's time is over")
        return remaining

    def count(self, received: int) -> int:
        """`received` bytes have arrived; raises `ValueError` when they are too many."""
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise ValueError("the answer is too long")
        return received

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Every connection of this module that this thread uses in the body obeys this deadline."""
        _thread.deadline = self
        try:
            yield
        finally:
            del _thread.deadline


def _deadline() -> Deadline:
    deadline: Deadline = _thread.deadline
    return deadline


class _TimedSocket(socket.socket):
    """A socket that gives each operation the time that is left of the call."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_deadline().check())
        return _deadline().count(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_deadline().check())
        super().sendall(*args, **kwargs)


class _TimedTLSSocket(ssl.SSLSocket):
    """The same, encrypted; the handshake is one operation to Python, so its time is limited as a whole."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_deadline().check())
        return _deadline().count(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_deadline().check())
        super().sendall(*args, **kwargs)

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_deadline().check())
        super().do_handshake(block)


def _connect(connection: HTTPConnection) -> socket.socket:
    """A connected socket; all addresses of the host share the one time for connecting."""
    deadline = _deadline()
    ends = Deadline(min(deadline.connect_seconds, deadline.check()), deadline.connect_seconds, most_bytes=0)
    try:
        addresses = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        sock = _TimedSocket(family, kind, protocol)
        try:
            sock.settimeout(ends.check())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "connecting took too long") from failure
    raise NewConnectionError(connection, "no address could be connected to") from failure


class _TimedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TimedTLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    def connect(self) -> None:
        # A context of its own: one that is shared would go on trusting every authority it was ever told of.
        self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = _TimedTLSSocket
        super().connect()


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TimedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


class DeadlineAdapter(HTTPAdapter):
    """For a `requests.Session`: connections that obey the thread's `Deadline`, nothing retried behind our back."""

    def __init__(self) -> None:
        super().__init__(pool_connections=POOLS, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedTLSPool}
