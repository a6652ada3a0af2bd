"""What can go wrong with servers and processes. Each fault ends with everything running again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from subprocess import CalledProcessError
from time import sleep

from tests.chaos.stack import Process, Stack

LEASE_SECONDS = 5
OTHER_SERVICE = "another-service"


@dataclass
class Faults:
    """Everything that a run may break, and how often it did."""

    stack: Stack
    publishers: list[Process]
    consumers: list[Process]
    random: Random
    counts: dict[str, int] = field(default_factory=dict)

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
            "queue deleted": self.queue_deleted,
            "memory alarm": self.memory_alarm,
            "queue full": self.queue_full,
        }

    def strike(self, name: str) -> None:
        self.kinds[name]()
        self.counts[name] = self.counts.get(name, 0) + 1

    def broker_killed(self) -> None:
        self.stack.rabbit.kill()
        sleep(self.random.uniform(0, 2))
        self.stack.rabbit.start()

    def mongodb_killed(self) -> None:
        self.stack.mongo.kill()
        sleep(self.random.uniform(0, 2))
        self.stack.mongo.start()

    def publisher_killed(self) -> None:
        self._killed(self.random.choice(self.publishers))

    def consumer_killed(self) -> None:
        self._killed(self.random.choice(self.consumers))

    def _killed(self, process: Process) -> None:
        process.kill()
        process.start()

    def publisher_frozen(self) -> None:
        frozen = self.random.choice(self.publishers)
        frozen.send(signal.SIGSTOP)
        sleep(LEASE_SECONDS + 2)
        frozen.send(signal.SIGCONT)

    def consumer_stopped(self) -> None:
        """SIGTERM in the middle of its messages; anything but exit code 0 ends the run."""
        consumer = self.random.choice(self.consumers)
        code = consumer.stop(seconds=40)
        assert code == 0, f"a stopped consumer exited with {code}: {consumer.log[-2000:]}"
        consumer.start()

    def connections_reset(self) -> None:
        self._control("close_all_connections", "a reset")

    def queue_deleted(self) -> None:
        """What was in the queue goes with it: its publisher sends that again at the end, with the same ids."""
        from events.broker import BrokerUnavailableError, short_channel
        from events.topology import topology

        with suppress(BrokerUnavailableError), short_channel(self.stack.rabbit.uri) as channel:
            channel.queue_delete(topology().queue)

    def memory_alarm(self) -> None:
        self._control("set_vm_memory_high_watermark", "absolute", "1")
        sleep(4)
        self._control("set_vm_memory_high_watermark", "0.4")

    def queue_full(self) -> None:
        policy = '{"max-length": 1, "overflow": "reject-publish"}'
        self._control("set_policy", "full", f"^{OTHER_SERVICE}$", policy, "--apply-to", "queues")
        sleep(3)
        self._control("clear_policy", "full")

    def _control(self, *arguments: str) -> None:
        with suppress(CalledProcessError):
            self.stack.rabbit.control(*arguments)
