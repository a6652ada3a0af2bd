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

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from booking_service.operations.gunicorn_worker import BookingWorker

ONE_THREAD = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLONESHOT", 0)


class WaitingConnections:
    """Connections whose next request has not come yet, in the order in which they began to wait."""

    def __init__(self, keepalive: float) -> None:
        self._keepalive = keepalive
        self._readable = select.epoll()
        self._waiting: dict[int, Any] = {}
        self._stopped_at = math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, conn: Any) -> None:
        """A new connection waits for its first request."""
        self._wait(conn)
        self._readable.register(conn.sock, ONE_THREAD)

    def give_back(self, conn: Any) -> None:
        """A connection that was taken waits for its next request."""
        self._wait(conn)
        self._readable.modify(conn.sock, ONE_THREAD)

    def take(self) -> Any:
        """A connection with something to read, for this thread alone; None when another one was quicker."""
        ((descriptor, _),) = self._readable.poll(maxevents=1)
        return self._waiting.pop(descriptor, None)

    def take_expired(self) -> list[Any]:
        """Those that have waited too long, for the caller to close. Called by one thread only, the one that adds."""
        now, expired = time.monotonic(), []
        for descriptor, conn in list(self._waiting.items()):
            if self._end_of(conn) > now:
                break
            if self._waiting.pop(descriptor, None) is not None:
                expired.append(conn)
        return expired

    def take_all(self) -> list[Any]:
        """All of them, for the caller to close."""
        return [conn for fd, conn in list(self._waiting.items()) if self._waiting.pop(fd, None) is not None]

    def stop(self) -> None:
        """From now on nobody waits longer than STOP_KEEPALIVE_LINGER: who waits now, and who is given back later.

        An answer that took long has promised to keep its connection before anybody knew of the end, so a client may
        be about to send the next request on it.
        """
        self._stopped_at = time.monotonic()

    def _wait(self, conn: Any) -> None:
        conn.waits_since = time.monotonic()
        self._waiting[conn.sock.fileno()] = conn

    def _end_of(self, conn: Any) -> float:
        lingers_until = max(conn.waits_since, self._stopped_at) + STOP_KEEPALIVE_LINGER
        return float(min(conn.waits_since + self._keepalive, lingers_until))


class FollowersWorker(BookingWorker):
    """Accepts on the main thread, which also closes what waited too long; answers on `threads` others."""

    def init_process(self) -> None:
        self._waiting = WaitingConnections(self.cfg.keepalive)
        super().init_process()

    @property
    def max_keepalived(self) -> int:
        """gunicorn closes connections after their answers where it keeps so many; it does not know of those that we do.

        Otherwise as many idle clients as there are connections at most would lock everybody else out.
        """
        return self.worker_connections - self.cfg.threads - len(self._waiting)

    @max_keepalived.setter
    def max_keepalived(self, most: int) -> None:
        """What gunicorn works out once at the start."""

    def run(self) -> None:
        for number in range(self.cfg.threads):
            Thread(target=self._serve, name=f"web-{number}", daemon=True).start()
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        """A connection that was just accepted."""
        self._waiting.add(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        for conn in self._waiting.take_all() if force else self._waiting.take_expired():
            self.nr_conns -= 1
            conn.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """gunicorn calls this once, when it stops."""
        self._waiting.stop()

    def _serve(self) -> None:
        while True:
            conn = self._waiting.take()
            if conn is not None:
                self._answer(conn)

    def _answer(self, conn: Any) -> None:
        """Answer what has come, then keep the connection or close it."""
        try:
            if self._answered_and_kept(conn):
                self._waiting.give_back(conn)
                return
            conn.close(graceful=True)
        except Exception as error:  # noqa: BLE001 - most often the socket is closed; this thread must go on
            self.log.debug("Closing connection. %s", type(error).__name__)
            conn.close()
        self.method_queue.defer(self._forget)

    def _answered_and_kept(self, conn: Any) -> bool:
        """What was read along with a request is the next one, pipelined, and not readable any more."""
        conn.data_ready = True
        while self.handle(conn):
            if not conn.parser.unreader.buf.getvalue():
                return True
        return False

    def _forget(self) -> None:
        """On the main thread, which alone counts."""
        self.nr_conns -= 1
