"""What can go wrong with servers and processes. Each fault proves that it bit and ends with all running again."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep
from typing import Any

import psutil

from booking_service.devstack.servers import Server, ServerError
from tests.chaos.proxy import Proxy
from tests.chaos.stack import Process, Stack

LEASE_SECONDS = 5
SILENT_SECONDS = 6  # longer than publishers wait for a confirm
OTHER_SERVICE, FULL = "another-service", "a-full-queue"
BITE_SECONDS = 40  # publishers and consumers back off for ten seconds at most, on a machine that is busy


@dataclass
class Faults:
    """Everything that a run may break, and how often it did. `bites` counts what came of it."""

    stack: Stack
    network: Proxy
    publishers: list[Process]
    consumers: list[Process]
    random: Random
    counts: dict[str, int] = field(default_factory=dict)
    bites: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> dict[str, Callable[[], None]]:
        return {
            "broker killed": self.broker_killed,
            "MongoDB killed": self.mongodb_killed,
            "publisher killed": self.publisher_killed,
            "consumer killed": self.consumer_killed,
            "publisher frozen past its lease": self.publisher_frozen,
            "consumer stopped": self.consumer_stopped,
            "connections reset": self.connections_reset,
            "network silent": self.network_silent,
            "queue deleted": self.queue_deleted,
            "memory alarm": self.memory_alarm,
            "queue full": self.queue_full,
        }

    def strike(self, name: str) -> None:
        """Let one fault strike. Raises AssertionError when it did not bite: such a run would prove nothing."""
        self.kinds[name]()
        self.counts[name] = self.counts.get(name, 0) + 1

    def broker_killed(self) -> None:
        closed = self._connected()
        self.stack.rabbit.kill()
        sleep(self.random.uniform(0, 2))
        started(self.stack.rabbit)
        self._closed_since(closed)

    def mongodb_killed(self) -> None:
        self.stack.mongo.kill()
        assert not self.stack.mongo.is_ready(), "MongoDB still answers"
        sleep(self.random.uniform(0, 2))
        started(self.stack.mongo)

    def publisher_killed(self) -> None:
        self._killed(self.random.choice(self.publishers))

    def consumer_killed(self) -> None:
        self._killed(self.random.choice(self.consumers))

    def _killed(self, process: Process) -> None:
        self._is_running(process)
        process.kill()
        process.start()

    def _is_running(self, process: Process) -> None:
        assert process.is_running, f"it had ended by itself: {process.log[-2000:]}"

    def publisher_frozen(self) -> None:
        frozen = self.random.choice(self.publishers)
        self._is_running(frozen)
        frozen.send(signal.SIGSTOP)
        sleep(LEASE_SECONDS + 2)
        assert psutil.Process(frozen.running.pid).status() == psutil.STATUS_STOPPED, "it went on"
        frozen.send(signal.SIGCONT)

    def consumer_stopped(self) -> None:
        """SIGTERM in the middle of its messages; anything but exit code 0 ends the run."""
        consumer = self.random.choice(self.consumers)
        self._is_running(consumer)
        code = consumer.stop(seconds=40)
        assert code == 0, f"a stopped consumer exited with {code}: {consumer.log[-2000:]}"
        consumer.start()

    def connections_reset(self) -> None:
        closed = self._connected()
        assert self.network.reset(), "nobody was connected"
        self._closed_since(closed)

    def network_silent(self) -> None:
        """Nothing passes and nobody is told. Publishers give up first, as their confirms do not come."""
        closed = self._connected()
        with self.network.silent():
            sleep(SILENT_SECONDS)
        self._closed_since(closed)

    def queue_deleted(self) -> None:
        """What was in the queue goes with it: its publisher sends that again at the end, with the same ids."""
        from events.topology import topology

        eventually(lambda: self._exists(topology().queue), "our queue is not there")
        self._on_broker(lambda channel: channel.queue_delete(topology().queue))
        eventually(lambda: self._exists(topology().queue), "nobody made our queue again")
        self.bites["queues made again"] += 1

    def memory_alarm(self) -> None:
        self._connected()
        self.stack.rabbit.control("set_vm_memory_high_watermark", "absolute", "1")
        self.bites["connections blocked"] += eventually(self._blocked, "the alarm blocks nobody")
        sleep(3)
        self.stack.rabbit.control("set_vm_memory_high_watermark", "0.4")

    def queue_full(self) -> None:
        """A second service has a queue that takes one message and that nobody reads: it refuses every other event."""
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        try:
            self._on_broker(lambda channel: channel.queue_declare(FULL, durable=True, arguments=full))
            self._on_broker(lambda channel: channel.queue_bind(FULL, "booking.events", "#"))
            eventually(refused_rows, "the full queue refused nothing")
            sleep(3)
            self.bites["events refused"] += refused_rows()
        finally:
            self._on_broker(lambda channel: channel.queue_delete(FULL))

    # --- whether it bit --------------------------------------------------------------------------------------------
    def _connected(self) -> int:
        """Wait until somebody is connected; how many connections have been closed so far."""
        eventually(lambda: self.network.open, "nobody connects")
        return self.network.closed

    def _closed_since(self, closed: int) -> None:
        eventually(lambda: self.network.closed > closed, "no connection was closed")
        self.bites["connections closed"] += self.network.closed - closed

    def _blocked(self) -> int:
        """Connections that the broker does not read from, or would not if they published."""
        return self.stack.rabbit.control("list_connections", "--quiet", "state").count("block")

    def _on_broker(self, work: Callable[[Any], Any]) -> Any:
        from events.broker import short_channel

        with short_channel(self.stack.rabbit.uri) as channel:
            return work(channel)

    def _exists(self, queue: str) -> bool:
        from events.broker import BrokerUnavailableError

        try:
            self._on_broker(lambda channel: channel.queue_declare(queue, passive=True))
        except BrokerUnavailableError:
            return False
        return True


def started(server: Server) -> None:
    """Start a server that was killed; again when another process has one of its ports for a moment."""
    for tries_left in reversed(range(5)):
        try:
            server.start()
            return
        except ServerError:
            if not tries_left:
                raise
            sleep(2)


def refused_rows() -> int:
    """Events that the broker has refused and that wait for another try."""
    from django.db import connection

    from events.publisher import REASONS, Outcome

    outbox: Any = connection.database["outbox"]  # type: ignore[attr-defined]
    return int(outbox.count_documents({"status": "WAITING", "lastError": REASONS[Outcome.NACKED]}))


def eventually(condition: Callable[[], int], otherwise: str) -> int:
    """The first true value of `condition`. Raises AssertionError, saying `otherwise`, when there is none in time."""
    until = monotonic() + BITE_SECONDS
    while not (value := condition()):
        assert monotonic() < until, otherwise
        sleep(0.1)
    return value
