"""The threads of a web process take turns in waiting for the next request (the leader/followers pattern).

gunicorn's threaded worker hands each request from its main thread to a pool and back through a pipe: four changes of
threads where one will do, a fifth of a request that asks MongoDB once. Here every thread waits for the next readable
connection itself and gives it back when it has answered. It needs epoll; where there is none (macOS), the stock way
serves as well, only slower.

What is scarce is a connection: it is waiting, or in the hands of one thread. Taking it out of a dict is one step
of the interpreter, so a thread and the main thread that closes what waited too long never both have it.
"""

from __future__ import annotations

import math
import select
import time
from itertools import count
from threading import Thread
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from booking_service.operations.gunicorn_worker import CLIENT_SECONDS, BookingWorker

MOST_PIPELINED = 100
IN_A_ROW = 8  # answers of a thread before it lets the others in: one that waits for nothing would go on alone for 60 ms
ONE_THREAD = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLONESHOT", 0)


class WaitingConnections:
    """Connections whose next request has not come yet, in the order in which they began to wait.

    One may wait ``keepalive`` seconds, as load balancers rely on, but a new one, whose client has yet to say anything
    at all, ``first`` seconds only: it costs a stranger nothing.
    """

    def __init__(self, *, first: float, keepalive: float) -> None:
        self._first, self._keepalive = first, keepalive
        self._readable = select.epoll()
        self._new: dict[int, Any] = {}
        self._kept: dict[int, Any] = {}
        self._stopped_at = math.inf

    def __len__(self) -> int:
        return len(self._new) + len(self._kept)

    def add(self, conn: Any) -> None:
        """A new connection waits for its first request."""
        _wait(conn, self._new)
        self._readable.register(conn.sock, ONE_THREAD)

    def give_back(self, conn: Any) -> None:
        """A connection that was taken waits for its next request."""
        _wait(conn, self._kept)
        self._readable.modify(conn.sock, ONE_THREAD)

    def take(self) -> Any:
        """A connection with something to read, for this thread alone; None when another one was quicker."""
        ((descriptor, _),) = self._readable.poll(maxevents=1)
        return self._kept.pop(descriptor, None) or self._new.pop(descriptor, None)

    def take_expired(self) -> list[Any]:
        """Those that have waited too long, for the caller to close. Called by one thread only, the one that adds."""
        silent = []
        for conn in self._expired(self._new, self._first):
            if conn.sock.is_silent():
                silent.append(conn)
            else:  # it waits for a thread, not for its client
                self.give_back(conn)
        return silent + self._expired(self._kept, self._keepalive)

    def take_all(self) -> list[Any]:
        """All of them, for the caller to close."""
        return [
            conn for waiting in (self._new, self._kept) for fd, conn in list(waiting.items()) if waiting.pop(fd, None)
        ]

    def stop(self) -> None:
        """From now on nobody waits longer than STOP_KEEPALIVE_LINGER: who waits now, and who is given back later.

        An answer that took long has promised to keep its connection before anybody knew of the end, so a client may
        be about to send the next request on it.
        """
        self._stopped_at = time.monotonic()

    def _expired(self, waiting: dict[int, Any], seconds: float) -> list[Any]:
        now, expired = time.monotonic(), []
        for descriptor, conn in list(waiting.items()):
            if self._end_of(conn, seconds) > now:
                break
            if waiting.pop(descriptor, None) is not None:
                expired.append(conn)
        return expired

    def _end_of(self, conn: Any, seconds: float) -> float:
        lingers_until = max(conn.waits_since, self._stopped_at) + STOP_KEEPALIVE_LINGER
        return float(min(conn.waits_since + seconds, lingers_until))


def _wait(conn: Any, waiting: dict[int, Any]) -> None:
    conn.waits_since = time.monotonic()
    waiting[conn.sock.fileno()] = conn


class FollowersWorker(BookingWorker):
    """Accepts on the main thread, which also closes what waited too long; answers on `threads` others."""

    def init_process(self) -> None:
        keepalive = self.cfg.keepalive
        self._waiting = WaitingConnections(first=min(CLIENT_SECONDS, keepalive), keepalive=keepalive)
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
        for turn in count(1):
            conn = self._waiting.take()
            if conn is not None:
                self._answer(conn)
            if turn % IN_A_ROW == 0:
                time.sleep(0)

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
        """What was read along with a request is the next one, pipelined, and not readable any more.

        Who sends more of them in a row than anybody has a reason to is cut off: others wait for the thread.
        """
        conn.data_ready = True
        for _ in range(MOST_PIPELINED):
            if not self.handle(conn):
                return False
            if not conn.parser.unreader.buf.getvalue():
                return True
        return False

    def _forget(self) -> None:
        """On the main thread, which alone counts."""
        self.nr_conns -= 1
