"""The loops of the processes: work while there is some, sleep until woken, back off while a server is away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from types import FrameType

import structlog
from django.conf import settings
from django.db import DatabaseError

from . import depth
from .backoff import backoff_seconds
from .broker import BrokerUnavailableError, Subscription
from .consumer import Consumer, WorkerBrokeError
from .models import Lane
from .repositories import outbox_changes
from .topology import topology

log = structlog.get_logger(__name__)

AWAY = (BrokerUnavailableError, DatabaseError)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
QUIET = timedelta(seconds=10)  # how long one wait of the change stream lasts when nothing happens
POLL_SECONDS = 1.0
LAST_MESSAGE_SECONDS = 25.0  # below what an orchestrator grants after SIGTERM


def set_on_signals(*events: threading.Event) -> None:
    """Make SIGTERM and SIGINT set `events`: the one that says stop, and those that somebody may be waiting for."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for event in events:
            event.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


class Wakeups(threading.Thread):
    """Follows the outbox's change stream and wakes the lane of every row that is committed.

    While the stream is down the lanes' own sweep goes on. When it is back both are woken: they may have missed some.
    Whatever else goes wrong ends the whole process: without wake-ups it would only be slow, and nobody would know.
    """

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__(name="outbox-wakeups", daemon=True)
        self._stopping = stopping
        self.failed = False  # whether a thread broke
        self.lanes = {lane: threading.Event() for lane in Lane}

    def run(self) -> None:
        with self.breaking():
            self._watch()

    def stop(self) -> None:
        """Let every lane end; their threads see it when they wake."""
        self._stopping.set()
        for woken in self.lanes.values():
            woken.set()

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """What this thread runs ends the process if it breaks: half a publisher would go unnoticed."""
        try:
            yield
        except BaseException:
            self.failed = True
            self.stop()
            raise

    def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._follow()
                failures = 0
            except DatabaseError as error:
                failures += 1
                log.warning("outbox_not_watched", error=type(error).__name__)
                self._stopping.wait(backoff_seconds(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE))

    def _follow(self) -> None:
        for lane in outbox_changes(wait=QUIET):
            for woken in [lane] if lane else Lane:
                self.lanes[woken].set()
            if self._stopping.is_set():
                return


def drain(step: Callable[[], int], woken: threading.Event, stopping: threading.Event, *, name: str) -> None:
    """Call `step` for as long as it finds work, then again when woken and every EVENTS_SWEEP_SECONDS.

    The sweep finds what no commit tells of: rows whose back-off or lease has ended. To stop, set `stopping`, then
    `woken`.
    """
    failures = 0
    while not stopping.is_set():
        woken.clear()
        try:
            found = step()
            failures = 0
        except AWAY as error:
            failures += 1
            log.warning("lane_backs_off", lane=name, error=type(error).__name__, reason=str(error), failures=failures)
            stopping.wait(backoff_seconds(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE))
            continue
        if not found and not stopping.is_set():
            woken.wait(settings.EVENTS_SWEEP_SECONDS)


def consume_until(stopping: threading.Event) -> None:
    """Consume, subscribing again whenever the broker or the queue went away, until told to stop.

    Raises:
        WorkerBrokeError: half a consumer would go unnoticed.
    """
    failures = 0
    while not stopping.is_set():
        try:
            subscription = Subscription(settings.RABBITMQ_URL, topology(), prefetch=settings.EVENTS_PREFETCH)
            failures = 0
            consume(subscription, stopping)
        except BrokerUnavailableError as error:
            failures += 1
            log.warning("consumer_backs_off", reason=str(error), failures=failures)
            stopping.wait(backoff_seconds(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE))


def consume(subscription: Subscription, stopping: threading.Event) -> None:
    """Consume from one subscription until told to stop.

    Raises:
        BrokerUnavailableError: the subscription is gone.
        WorkerBrokeError: what the worker had in hand comes again, to another process.
    """
    consumer = Consumer(subscription, topology(), threads=settings.EVENTS_CONSUMER_THREADS)
    look_at = monotonic()
    try:
        while not stopping.is_set():
            consumer.work(POLL_SECONDS)
            if monotonic() >= look_at:
                depth.note(subscription.depths())
                look_at = monotonic() + depth.LOOK_SECONDS
        consumer.stop(LAST_MESSAGE_SECONDS)
    except (BrokerUnavailableError, WorkerBrokeError):
        consumer.abandon(LAST_MESSAGE_SECONDS)
        subscription.close()
        raise
