"""The threads of a web process take turns in waiting for the next request (the leader/followers pattern).

gunicorn's threaded worker hands each request from its main thread to a pool and back through a pipe: four changes of
threads where one will do, a fifth of a request that asks MongoDB once. Here every thread waits for the next readable
connection itself and gives it back when it has answered. It needs epoll; where there is none (macOS), the stock way
serves as well, only slower.

What is scarce is a connection: it is waiting, or in the hands of one thread. Taking it out of `_waiting` is one step
of the interpreter, so a thread and the main thread that closes what waited too long never both have it.
"""

from __future__ import annotations

import math
import select
import time
from threading import Thread
from typing import Any

from booking_service.operations.gunicorn_worker import BookingWorker

ONE_THREAD = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLONESHOT", 0)


class WaitingConnections:
    """Connections whose next request has not come yet."""

    def __init__(self) -> None:
        self._readable = select.epoll()
        self._waiting: dict[int, Any] = {}
        self._until_at_most = math.inf

    def add(self, conn: Any, until: float) -> None:
        """A new connection waits for its first request, at most until then (monotonic clock)."""
        self._wait(conn, until)
        self._readable.register(conn.sock, ONE_THREAD)

    def give_back(self, conn: Any, until: float) -> None:
        """A connection that was taken waits for its next request."""
        self._wait(conn, until)
        self._readable.modify(conn.sock, ONE_THREAD)

    def take(self) -> Any:
        """A connection with something to read, for this thread alone; None when another one was quicker."""
        ((descriptor, _),) = self._readable.poll(maxevents=1)
        return self._waiting.pop(descriptor, None)

    def take_expired(self) -> list[Any]:
        """Those that have waited too long, for the caller to close. Called by one thread only, the one that adds."""
        now = time.monotonic()
        late = [(fd, conn) for fd, conn in list(self._waiting.items()) if self._end_of(conn) <= now]
        return [conn for fd, conn in late if self._waiting.pop(fd, None) is not None]

    def end_by(self, deadline: float) -> None:
        """From now on nobody waits longer than until then."""
        self._until_at_most = deadline

    def _wait(self, conn: Any, until: float) -> None:
        conn.timeout = until
        self._waiting[conn.sock.fileno()] = conn

    def _end_of(self, conn: Any) -> float:
        return min(conn.timeout, self._until_at_most)


class FollowersWorker(BookingWorker):
    """Accepts on the main thread, which also closes what waited too long; answers on `threads` others."""

    def init_process(self) -> None:
        self._waiting = WaitingConnections()
        super().init_process()

    def run(self) -> None:
        for number in range(self.cfg.threads):
            Thread(target=self._serve, name=f"web-{number}", daemon=True).start()
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        """A connection that was just accepted."""
        self._waiting.add(conn, time.monotonic() + self.cfg.keepalive)

    def murder_keepalived(self, force: bool = False) -> None:
        if force:
            self._waiting.end_by(0)
        for conn in self._waiting.take_expired():
            self.nr_conns -= 1
            conn.close()

    def _cap_keepalive(self, deadline: float) -> None:
        self._waiting.end_by(deadline)

    def _serve(self) -> None:
        while True:
            conn = self._waiting.take()
            if conn is not None:
                self._answer(conn)

    def _answer(self, conn: Any) -> None:
        """Answer what has come; what was read along with it is a pipelined request, and not readable any more."""
        conn.data_ready = True
        while self.handle(conn):
            if not conn.parser.unreader.buf.getvalue():
                self._waiting.give_back(conn, time.monotonic() + self.cfg.keepalive)
                return
        conn.close(graceful=True)
        self.method_queue.defer(self._forget)

    def _forget(self) -> None:
        """On the main thread, which alone counts."""
        self.nr_conns -= 1
