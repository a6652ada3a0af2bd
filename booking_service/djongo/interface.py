"""How the driver's connections wait for MongoDB: in one call of the kernel, which keeps the time itself.

The driver sets a timeout before each part of an answer and the former one after it, and Python waits for the socket
before it reads: ten calls of the kernel for a command of one, at each of which another thread may take the interpreter.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo.network_layer import NetworkingInterface

R = TypeVar("R")

READ_AHEAD_BYTES = 16_384


class KernelTimedInterface(NetworkingInterface):
    """In place of the driver's, whose methods it has: for a plain socket.

    Reads as much of an answer as has come, so that its head and its body are one call. Two timeouts that differ, the
    driver's for sending and the one for receiving, stand beside each other in the kernel and need not be changed.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._timeout = sock.gettimeout()
        self._set: dict[int, float | None] = {socket.SO_RCVTIMEO: None, socket.SO_SNDTIMEO: None}
        self._store = memoryview(bytearray(READ_AHEAD_BYTES))
        self._ahead = self._store[:0]
        sock.settimeout(None)

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    @property
    def get_conn(self) -> Any:
        return self

    def recv_into(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as what has come goes; 0 at the end. Raises TimeoutError."""
        if not self._ahead:
            if len(buffer) >= READ_AHEAD_BYTES:
                return self._in_time(socket.SO_RCVTIMEO, self.conn.recv_into, buffer)
            self._ahead = self._store[: self._in_time(socket.SO_RCVTIMEO, self.conn.recv_into, self._store)]
        taken = min(len(buffer), len(self._ahead))
        buffer[:taken] = self._ahead[:taken]
        self._ahead = self._ahead[taken:]
        return taken

    def sendall(self, data: bytes) -> None:
        """Raises TimeoutError when the kernel takes nothing for that long."""
        self._in_time(socket.SO_SNDTIMEO, self.conn.sendall, data)

    def _in_time(self, option: int, call: Callable[[Any], R], argument: Any) -> R:
        if self._set[option] != self._timeout:
            self._set_in_kernel(option)
        try:
            return call(argument)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def _set_in_kernel(self, option: int) -> None:
        microseconds = 0 if self._timeout is None else max(1, int(self._timeout * 1e6))  # 0 is without end
        self.conn.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", *divmod(microseconds, 1_000_000)))
        self._set[option] = self._timeout


def wait_in_kernel(connection: Any) -> None:
    """Have a connection that is checked out wait so from now on, unless TLS stands between it and the kernel."""
    interface = connection.conn
    if type(interface) is NetworkingInterface and type(interface.conn) is socket.socket:
        connection.conn = KernelTimedInterface(interface.conn)
