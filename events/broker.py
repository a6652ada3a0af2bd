"""RabbitMQ: the only importer of pika. Connections belong to one process and one thread and are never shared.

`PublishingConnection` pipelines: it sends many messages, then waits for their confirms. `Subscription` consumes, and
moves messages to the retry and dead queues with a confirm before it acks. A web process imports nothing of this.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pika
import pika.data
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from .limits import DELIVERY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika.adapters.blocking_connection import BlockingChannel
    from pika.channel import Channel
    from pika.frame import Method
    from pika.spec import Basic, BasicProperties

HEARTBEAT_SECONDS = 30
BLOCKED_SECONDS = 20  # a memory or disk alarm: give the connection up after this, the rows wait in the outbox
CONNECT_SECONDS = 5
CLOSE_SECONDS = 1
CONFIRM_SECONDS = 10  # shorter than an outbox lease, so a batch is given up while it is still ours
UNLIMITED_DELIVERIES = 2_000_000_000  # for the dead queue: looking at a dead letter must not lose it
PERSISTENT = 2
COPIED_TEXTS = ("content_type", "content_encoding", "correlation_id", "message_id", "type", "app_id")
# The middle one, of a broker that accepts a connection and then says nothing, is no AMQPError.
CONNECTION_ERRORS = (AMQPError, AMQPConnectorException, OSError)

logging.getLogger("pika").setLevel(logging.CRITICAL)  # it narrates every connection; what fails is logged by who called


def decode_table(encoded: bytes, offset: int, *, strictly: Any = pika.data.decode_table) -> tuple[dict[Any, Any], int]:
    """What pika reads headers with, patched: a table that it cannot read is empty.

    pika raises where one header is past Python's calendar, or nested without end; that would close the connection each
    time the message comes.
    """
    try:
        table: tuple[dict[Any, Any], int] = strictly(encoded, offset)
    except Exception:  # noqa: BLE001 - whatever it is, the size of a table stands before it
        return {}, offset + 4 + struct.unpack_from(">I", encoded, offset)[0]
    return table


pika.data.decode_table = decode_table


class BrokerUnavailableError(Exception):
    """The broker cannot be reached, closed the connection, or does not confirm. What was in flight is unknown."""


class Outcome(StrEnum):
    """What became of a published message. UNKNOWN: it may or may not be in the broker; send it again."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it goes out; the same event always makes the same one. What AMQP cannot say raises when it is
    made: sending it would end the connection, and everybody's messages with it."""

    id: str
    type: str
    exchange: str
    routing_key: str
    body: bytes
    timestamp: int
    correlation_id: str = ""
    app_id: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.properties().encode()

    def properties(self) -> BasicProperties:
        return pika.BasicProperties(
            message_id=self.id,
            type=self.type,
            app_id=self.app_id or None,
            content_type="application/json",
            delivery_mode=PERSISTENT,
            timestamp=self.timestamp,
            correlation_id=self.correlation_id or None,
            headers=dict(self.headers) or None,
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came in, still unsettled."""

    tag: int
    exchange: str
    routing_key: str
    redelivered: bool
    body: bytes
    properties: BasicProperties

    @property
    def message_id(self) -> str:
        return text(self.properties.message_id)

    @property
    def type(self) -> str:
        return text(self.properties.type)

    @property
    def correlation_id(self) -> str:
        return text(self.properties.correlation_id)

    @property
    def headers(self) -> dict[Any, Any]:
        """As they came: names and values may be anything."""
        return self.properties.headers or {}


def text(value: object) -> str:
    """`value`, or "" for what is no text: pika hands on as bytes what is no UTF-8."""
    return value if isinstance(value, str) else ""


# --- topology ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Topology:
    """What must exist: durable topic exchanges, our quorum queue bound by explicit keys, its retry and dead queues."""

    queue: str
    exchanges: tuple[str, ...]
    bindings: tuple[tuple[str, str], ...]
    retry_delays: tuple[float, ...]

    @property
    def dead_queue(self) -> str:
        return f"{self.queue}.dead"

    @property
    def retry_queues(self) -> tuple[str, ...]:
        return tuple(f"{self.queue}.retry.{delay_name(delay)}" for delay in self.retry_delays)


def delay_name(seconds: float) -> str:
    """`5s`, `30s`, `5m`, `30m`; `250ms` for the short ones of the tests."""
    if seconds >= 60 and seconds % 60 == 0:
        return f"{int(seconds // 60)}m"
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{int(seconds * 1000)}ms"


def declare(channel: BlockingChannel, topology: Topology) -> None:
    """Make whatever is missing of `topology`; what is there already stays as it is.

    Queues hand messages on "at least once": a broker that dies between two queues must not lose the message, and the
    default for dead-lettering may. That needs `reject-publish`, so a full queue refuses and does not drop its oldest.
    """
    for exchange in topology.exchanges:
        channel.exchange_declare(exchange, "topic", durable=True)
    declare_queue(channel, topology.dead_queue, {"x-delivery-limit": UNLIMITED_DELIVERIES})
    hand_on = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once"}
    dead = {**hand_on, "x-dead-letter-routing-key": topology.dead_queue, "x-delivery-limit": DELIVERY_LIMIT}
    declare_queue(channel, topology.queue, dead)
    for queue, delay in zip(topology.retry_queues, topology.retry_delays, strict=True):
        back = {**hand_on, "x-dead-letter-routing-key": topology.queue, "x-message-ttl": int(delay * 1000)}
        declare_queue(channel, queue, back)
    for exchange, routing_key in topology.bindings:
        channel.queue_bind(topology.queue, exchange, routing_key)


def declare_queue(channel: BlockingChannel, queue: str, arguments: dict[str, Any]) -> None:
    quorum = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
    channel.queue_declare(queue, durable=True, arguments={**quorum, **arguments})


# --- connections ---------------------------------------------------------------------------------------------------
def parameters(url: str, *, heartbeat: int = HEARTBEAT_SECONDS, blocked: float = BLOCKED_SECONDS) -> pika.URLParameters:
    made = pika.URLParameters(url)
    made.heartbeat = heartbeat
    made.blocked_connection_timeout = blocked
    made.socket_timeout = made.stack_timeout = CONNECT_SECONDS
    made.connection_attempts = 1  # the callers back off themselves, with jitter
    return made


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Raise whatever pika or the socket raises as BrokerUnavailableError: only its class is told, never an address."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise BrokerUnavailableError(type(error).__name__) from error


def connected(parameters: pika.URLParameters) -> pika.BlockingConnection:
    """An open connection. Raises BrokerUnavailableError.

    pika raises a bare ValueError when a connection is reset in the moment in which it is made.
    """
    try:
        return pika.BlockingConnection(parameters)
    except (*CONNECTION_ERRORS, ValueError) as error:
        raise BrokerUnavailableError(type(error).__name__) from error


@contextmanager
def short_channel(url: str) -> Iterator[BlockingChannel]:
    """A channel on a connection of its own, for declarations, `replay_dead`, and tests."""
    with as_unavailable():
        connection = connected(parameters(url))
        try:
            yield connection.channel()
        finally:
            with suppress(*CONNECTION_ERRORS):
                connection.close()


def declare_topology(url: str, topology: Topology) -> None:
    """Declare `topology` over a short connection.

    Raises:
        BrokerUnavailableError: no broker, or a queue of that name exists with other arguments.
    """
    with short_channel(url) as channel:
        declare(channel, topology)


def depths(url: str, topology: Topology) -> dict[str, int]:
    """How many messages wait in our queue (`events`) and in the dead one (`dead`), over a short connection. What a
    consumer has in hand does not count.

    Raises:
        BrokerUnavailableError: no broker, or one of the queues is not there.
    """
    with short_channel(url) as channel:
        return depths_on(channel, topology)


def depths_on(channel: BlockingChannel, topology: Topology) -> dict[str, int]:
    queues = {"events": topology.queue, "dead": topology.dead_queue}
    declared = {name: channel.queue_declare(queue, passive=True) for name, queue in queues.items()}
    return {name: int(queue.method.message_count) for name, queue in declared.items()}


class ProcessBound:
    """Refuses to work in a process forked after it was made: an inherited connection hangs or corrupts its parent's."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("This broker connection belongs to another process; open one after the fork.")


# --- publishing ----------------------------------------------------------------------------------------------------
class Batch:
    """Messages in flight together; `settle` runs on the connection's thread, `wait` on the publisher's."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.outcomes: dict[str, Outcome] = {}
        self._left = len(messages)
        self._done = threading.Event()
        if not messages:
            self._done.set()

    def settle(self, message_id: str, outcome: Outcome) -> None:
        self.outcomes[message_id] = outcome
        self._left -= 1
        if self._left == 0:
            self._done.set()

    def give_up(self) -> None:
        """The rest stays unknown."""
        self._done.set()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float) -> bool:
        return self._done.wait(seconds)

    def outcome_of(self, message_id: str) -> Outcome:
        return self.outcomes.get(message_id, Outcome.UNKNOWN)


class PublishingConnection(ProcessBound):
    """One connection with publisher confirms, driven by a thread of its own so that heartbeats never wait for us.

    Several batches may be on their way. After BrokerUnavailableError or UNKNOWN outcomes it is closed: open a new one.
    """

    def __init__(
        self,
        url: str,
        *,
        confirm_seconds: float = CONFIRM_SECONDS,
        heartbeat: int = HEARTBEAT_SECONDS,
        blocked: float = BLOCKED_SECONDS,
    ) -> None:
        super().__init__()
        self._parameters = parameters(url, heartbeat=heartbeat, blocked=blocked)
        self._confirm_seconds = confirm_seconds
        self._ready = threading.Event()
        self._over = (
            threading.Lock()
        )  # held to hand work to the loop and to end it, so that no work is handed to a dead one
        self._closed = False
        self._channel: Channel | None = None
        self._batches: list[Batch] = []  # not done yet
        self._in_flight: dict[int, tuple[Batch, str]] = {}  # by delivery tag, in order
        self._returned: set[str] = set()
        self._last_tag = 0
        self._connection: pika.SelectConnection | None = None
        self._thread = threading.Thread(target=self._run, name="broker-publishing", daemon=True)

    @property
    def is_open(self) -> bool:
        return self._ready.is_set() and not self._closed

    def open(self) -> PublishingConnection:
        """Connect and turn confirms on.

        Raises:
            BrokerUnavailableError: not within CONNECT_SECONDS.
        """
        self._thread.start()
        self._ready.wait(CONNECT_SECONDS + 1)
        if not self.is_open:
            self.close()
            raise BrokerUnavailableError("no connection")
        return self

    def send(self, messages: Sequence[Message]) -> Batch:
        """Send all, behind what was sent before; `wait` tells what became of them.

        Raises:
            BrokerUnavailableError: the connection was closed before; nothing was sent.
        """
        self._check_process()
        batch = Batch(messages)
        if not self._schedule(partial(self._send, batch), batch):
            raise BrokerUnavailableError("closed")
        return batch

    def wait(self, batch: Batch) -> None:
        """Wait until each message is confirmed, returned or nacked; what is not in time is UNKNOWN for good."""
        if not batch.wait(self._confirm_seconds):
            self.close()

    def close(self) -> None:
        """Close and wait for the thread; what is in flight becomes UNKNOWN."""
        self._check_process()
        self._schedule(self._shut)
        self._thread.join(timeout=2 * CLOSE_SECONDS)

    def _schedule(self, callback: Callable[[], None], batch: Batch | None = None) -> bool:
        with self._over:
            if self._closed or self._connection is None:
                return False
            if batch is not None:
                self._batches = [*(other for other in self._batches if not other.is_done), batch]
            self._connection.ioloop.add_callback_threadsafe(callback)
            return True

    # Everything below runs on the connection's thread.
    def _run(self) -> None:
        try:
            with suppress(*CONNECTION_ERRORS):
                self._connection = pika.SelectConnection(
                    self._parameters,
                    on_open_callback=self._on_connected,
                    on_open_error_callback=lambda connection, _error: connection.ioloop.stop(),
                    on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
                )
                self._connection.ioloop.start()
        except ValueError:  # as in `connected`
            if self._channel is not None:
                raise
        finally:
            self._finish()

    def _finish(self) -> None:
        with self._over:
            self._closed = True
        for batch in self._batches:
            batch.give_up()
        self._ready.set()
        if self._connection is not None:
            self._connection.ioloop.close()

    def _on_connected(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _channel, _reason: self._shut())
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._ready.set())

    def _send(self, batch: Batch) -> None:
        channel = self._channel
        for message in batch.messages:
            if channel is None or not channel.is_open:
                batch.give_up()
                return
            properties = message.properties()
            channel.basic_publish(message.exchange, message.routing_key, message.body, properties, mandatory=True)
            self._last_tag += 1
            self._in_flight[self._last_tag] = (batch, message.id)

    def _on_return(self, _channel: Channel, _method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
        self._returned.add(properties.message_id)  # the broker returns a message before it acks it

    def _on_confirm(self, frame: Method) -> None:
        outcome = Outcome.NACKED if frame.method.NAME == "Basic.Nack" else Outcome.CONFIRMED
        for tag in self._tags(frame.method.delivery_tag, frame.method.multiple):
            batch, message_id = self._in_flight.pop(tag)
            returned = message_id in self._returned
            self._returned.discard(message_id)
            batch.settle(message_id, Outcome.RETURNED if returned else outcome)

    def _tags(self, tag: int, multiple: bool) -> list[int]:
        if not multiple:
            return [tag] if tag in self._in_flight else []
        return list(takewhile(lambda in_flight: in_flight <= tag, self._in_flight))

    def _shut(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closing or connection.is_closed:
            return
        connection.close()
        connection.ioloop.call_later(CLOSE_SECONDS, connection.ioloop.stop)  # a blocked broker never answers a close


# --- consuming -----------------------------------------------------------------------------------------------------
class Subscription(ProcessBound):
    """One connection that consumes our queue. Everything but `wake` belongs to the thread that made it.

    It starts, and starts again after a crash, with one message at a time: every message that a dying process held
    counts as returned, and DELIVERY_LIMIT returns make it dead. So a message that kills its consumer dies alone, and
    does not take the innocent ones behind it along. The first message that comes for the first time widens it.
    """

    def __init__(
        self,
        url: str,
        topology: Topology,
        *,
        prefetch: int,
        heartbeat: int = HEARTBEAT_SECONDS,
        blocked: float = BLOCKED_SECONDS,
    ) -> None:
        """Connect, declare, consume.

        Raises:
            BrokerUnavailableError: any of that failed.
        """
        super().__init__()
        self._topology, self._prefetch = topology, prefetch
        self._received: deque[Delivery] = deque()
        self._unacked: dict[int, bool] = {}  # whether it is settled, by delivery tag, in order
        self._cancelled = False
        with as_unavailable():
            self._connection = connected(parameters(url, heartbeat=heartbeat, blocked=blocked))
            try:
                self._subscribe()
            except CONNECTION_ERRORS:
                self.close()
                raise

    def _subscribe(self) -> None:
        self._channel = self._connection.channel()
        declare(self._channel, self._topology)
        self._moving = self._connection.channel()
        self._moving.confirm_delivery()
        self._channel.add_on_cancel_callback(self._on_cancel)
        self._narrow = True
        self._consume(1)

    def _consume(self, prefetch: int) -> None:
        self._consuming_one = prefetch == 1
        self._channel.basic_qos(prefetch_count=prefetch)
        self._consumer_tag = self._channel.basic_consume(self._topology.queue, self._on_message)

    def _on_cancel(self, _frame: Method) -> None:
        self._cancelled = True  # somebody deleted the queue

    def _on_message(
        self, _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        self._received.append(
            Delivery(method.delivery_tag, method.exchange, method.routing_key, method.redelivered, body, properties)
        )

    def poll(self, seconds: float) -> list[Delivery]:
        """What has come in within `seconds`, at once when something has or when `wake` is called.

        Raises:
            BrokerUnavailableError: the connection is gone, or the queue is.
        """
        self._check_process()
        with as_unavailable():
            self._connection.process_data_events(seconds)
        if self._cancelled or self._channel.is_closed:
            raise BrokerUnavailableError("the queue was deleted")
        received = list(self._received)
        self._received.clear()
        self._unacked.update((delivery.tag, False) for delivery in received)
        return received

    def wake(self) -> None:
        """Make `poll` return; from any thread."""
        with suppress(*CONNECTION_ERRORS):
            self._connection.add_callback_threadsafe(_nothing)

    def settled(self, delivery: Delivery) -> None:
        """The message needs no more; `ack_settled` tells the broker."""
        self._unacked[delivery.tag] = True
        self._narrow = self._narrow and delivery.redelivered

    def ack_settled(self, *, all_of_them: bool = False) -> None:
        """Ack what is settled: in one go what came before everything that is not, the others one by one.

        Those others wait for the slow one before them, as long as half the window is free: it is most often a moment
        only, and an ack each is what costs most here.

        Raises:
            BrokerUnavailableError: what is not acked comes again.
        """
        with as_unavailable():
            before = list(takewhile(self._unacked.__getitem__, self._unacked))
            self._ack(before, multiple=True)
            waiting = [tag for tag, is_settled in self._unacked.items() if is_settled]
            if all_of_them or 2 * len(waiting) >= self._prefetch:
                for tag in waiting:
                    self._ack([tag], multiple=False)
            if self._consuming_one and not self._narrow and not self._unacked:
                self._channel.basic_cancel(self._consumer_tag)
                self._consume(self._prefetch)

    def _ack(self, tags: Sequence[int], *, multiple: bool) -> None:
        if tags:
            self._channel.basic_ack(tags[-1], multiple=multiple)
        for tag in tags:
            del self._unacked[tag]

    def move(self, delivery: Delivery, queue: str, headers: Mapping[str, Any]) -> None:
        """Put a copy with `headers` and no others into `queue`, confirmed; then the message is settled.

        Raises:
            BrokerUnavailableError: the copy was not confirmed; the message stays unsettled and comes again.
        """
        with as_unavailable():
            publish_copy(self._moving, queue, delivery.body, delivery.properties, headers)
        self.settled(delivery)

    def depths(self) -> dict[str, int]:
        """How many messages wait in our queue (`events`) and in the dead one (`dead`).

        Raises:
            BrokerUnavailableError
        """
        with as_unavailable():
            return depths_on(self._moving, self._topology)

    def stop_consuming(self) -> None:
        """Ask for nothing more; what was received may still be settled."""
        with suppress(*CONNECTION_ERRORS):
            self._channel.basic_cancel(self._consumer_tag)

    def close(self) -> None:
        """Close; unsettled messages go back to the queue."""
        self._check_process()
        with suppress(*CONNECTION_ERRORS):
            self._connection.close()


def _nothing() -> None:
    """What `wake` schedules: that it was scheduled is all that counts."""


def publish_copy(
    channel: BlockingChannel, queue: str, body: bytes, properties: BasicProperties, headers: Mapping[str, Any]
) -> None:
    """Put a copy of a message into `queue`; returns when the broker has it. `channel` has confirms on.

    Of the message's own headers none is kept: `CC` would send the copy elsewhere too, others may be past encoding.

    Raises:
        pika.exceptions.AMQPError: it was refused, returned, or the connection is gone.
    """
    copy = pika.BasicProperties(**{name: text(getattr(properties, name)) or None for name in COPIED_TEXTS})
    copy.delivery_mode, copy.timestamp, copy.headers = PERSISTENT, properties.timestamp, dict(headers)
    channel.basic_publish("", queue, body, properties=copy, mandatory=True)


# --- dead letters --------------------------------------------------------------------------------------------------
def walk_dead(
    url: str,
    topology: Topology,
    choose: Callable[[Delivery], bool],
    headers: Callable[[Delivery], Mapping[str, Any]] | None,
    *,
    limit: int,
) -> int:
    """Look at dead messages, each once, until `limit` are chosen; put those back, each with its `headers` and no
    others; returns how many.

    A message leaves the dead queue only after the copy is confirmed; the others stay, in their order. With None for
    `headers` all stay.

    Raises:
        BrokerUnavailableError: no broker; what was put back by then is back.
    """
    with short_channel(url) as channel:
        declare(channel, topology)
        channel.confirm_delivery()
        waiting = channel.queue_declare(topology.dead_queue, passive=True).method.message_count
        chosen = 0
        while waiting and chosen < limit and (delivery := _get(channel, topology.dead_queue)):
            waiting -= 1
            if not choose(delivery):
                continue
            chosen += 1
            if headers is not None:
                publish_copy(channel, topology.queue, delivery.body, delivery.properties, headers(delivery))
                channel.basic_ack(delivery.tag)
        return chosen  # closing the channel gives the others back


def _get(channel: BlockingChannel, queue: str) -> Delivery | None:
    method, properties, body = channel.basic_get(queue)
    if method is None or properties is None or body is None:
        return None
    return Delivery(method.delivery_tag, method.exchange, method.routing_key, method.redelivered, body, properties)
