"""From broker to effect. `receive` reads a message, `take_effect` does what it says, `Consumer` settles it.

The effect and the inbox row are one transaction, and the ack comes after the commit: a message that comes twice finds
its row and does nothing. One consumer handles messages about one booking one after the other, in the order they came to
it; those of different bookings side by side. Between consumers, and after a retry, there is no order, and the handlers
bear any.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from queue import SimpleQueue
from time import monotonic
from typing import Any, NoReturn

import structlog

from booking_service.api.errors import InvalidInput, NotFound, ServiceError, Unprocessable
from booking_service.api.request_id import bind_request_id
from booking_service.djongo import transaction
from booking_service.djongo.errors import is_unreachable
from booking_service.operations import metrics

from .broker import Delivery, Subscription, Topology, text
from .exceptions import AlreadyDoneError, BrokenMessageError
from .handlers import HANDLERS, REFUSED
from .repositories import database_answers, inbox_add
from .schemas import CONSUMED_BY_NAME

log = structlog.get_logger(__name__)

LARGEST_BODY = 64 * 1024
ATTEMPT, REASON, DIED_AT, EXCHANGE, ROUTING_KEY = (
    "x-attempt",
    "x-reason",
    "x-died-at",
    "x-origin-exchange",
    "x-origin-routing-key",
)
UNKNOWN = "unknown"  # what a message of no type of ours is counted as
PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
CONFLICT_SECONDS = 1.0  # then the retry queue waits better, and the worker is free for other bookings


class Fate(StrEnum):
    """What becomes of a message."""

    DONE = "done"
    DUPLICATE = "duplicate"
    RETRY = "retried"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A message's fate and, where it failed, why; never anything the message said."""

    fate: Fate
    reason: str = ""
    database_down: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A message that keeps its contract."""

    id: str
    type: str
    facts: Mapping[str, Any]
    correlation_id: str
    digest: str = ""

    @property
    def aggregate_id(self) -> str:
        return str(self.facts["bookingId"])

    @property
    def names(self) -> dict[str, str]:
        """What a log line calls it by."""
        return {"type": self.type, "message_id": loggable(self.id), "aggregate_id": self.aggregate_id}


def loggable(name: str) -> str:
    """`name` if it looks like an id, else a hash that finds it again: what others send may be a person, or a line."""
    return name if not name or PLAIN_ID.fullmatch(name) else f"sha256:{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def show_counters() -> None:
    """Show the count of every fate of every type, before the first message."""
    metrics.begin_at_zero(metrics.EVENTS_CONSUMED, [*CONSUMED_BY_NAME, UNKNOWN], Fate)


# --- one message ---------------------------------------------------------------------------------------------------
def receive(delivery: Delivery) -> Event:
    """Check size, JSON, type, where it was published, and schema.

    Raises:
        BrokenMessageError: any of them is wrong; says which.
    """
    if len(delivery.body) > LARGEST_BODY:
        raise BrokenMessageError("larger than 64 KB")
    body = parse(delivery.body)
    named = body.get("event") if isinstance(body, dict) else None
    contract = CONSUMED_BY_NAME.get(delivery.type or str(named))
    if contract is None:
        raise BrokenMessageError("unknown type")
    if origin(delivery) != (contract.exchange, contract.name):
        raise BrokenMessageError("not from its exchange")
    if violation := contract.violation(body):
        raise BrokenMessageError(f"schema: {violation}")
    digest = hashlib.sha256(delivery.body).hexdigest()
    return Event(
        id=delivery.message_id or f"sha256:{digest}",
        type=contract.name,
        facts=body["data"],
        correlation_id=delivery.correlation_id,
        digest=digest,
    )


def parse(body: bytes) -> Any:
    """The JSON in `body`, numbers with a fraction as Decimal.

    Raises:
        BrokenMessageError: it is none, or holds a number that JSON does not know or that is past all bounds.
    """
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=refuse_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BrokenMessageError("not JSON") from error


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def take_effect(event: Event) -> Verdict:
    """Do what `event` says, once: the effect and the inbox row in one transaction.

    What our rules refuse (an unknown booking, an amount that differs) is dead: it would be refused again. Whatever else
    fails may go better later. `event` has its shape; a day that no calendar has shows only now.
    """
    bind_request_id(event.correlation_id)
    try:
        transaction.run_within(CONFLICT_SECONDS, _effect_and_inbox_row, event)
    except AlreadyDoneError as done:
        if done.digest not in ("", event.digest):
            log.warning("message_id_used_twice", **event.names)
        return Verdict(Fate.DUPLICATE)
    except BrokenMessageError as broken:
        return Verdict(Fate.DEAD, str(broken))
    except (NotFound, Unprocessable, InvalidInput) as refusal:
        return refused(event, refusal)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is tried again
        return failed(event, error)
    return Verdict(Fate.DONE)


def refused(event: Event, refusal: ServiceError) -> Verdict:
    """Dead; whoever must know of the refusal is told, outside the transaction that it undid."""
    try:
        REFUSED.get(event.type, nobody_is_told)(event.facts, refusal)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is tried again
        return failed(event, error)
    return Verdict(Fate.DEAD, refusal.code)


def nobody_is_told(_facts: Mapping[str, Any], _refusal: ServiceError) -> None:
    """Most refusals concern nobody but the reader of the dead queue."""


def failed(event: Event, error: Exception) -> Verdict:
    """To be tried again. A refusal of ours says why by its code, anything else by its class."""
    if not isinstance(error, ServiceError):
        log.exception("event_handler_failed", **event.names)
    reason = getattr(error, "code", type(error).__name__)
    return Verdict(Fate.RETRY, str(reason), database_down=is_unreachable(error))


def _effect_and_inbox_row(event: Event) -> None:
    inbox_add(event.id, type=event.type, correlation_id=event.correlation_id, digest=event.digest)
    HANDLERS[event.type](event.facts)


# --- settling ------------------------------------------------------------------------------------------------------
def settle(subscription: Subscription, topology: Topology, delivery: Delivery, verdict: Verdict) -> Fate:
    """Let go of what is done; move what failed to the next retry queue, and what failed for good to the dead one.

    Raises:
        BrokerUnavailableError: it comes again, and finds its inbox row if it took effect.
    """
    attempt = min(attempt_of(delivery), len(topology.retry_queues))
    if verdict.fate in (Fate.DONE, Fate.DUPLICATE):
        subscription.settled(delivery)
        return verdict.fate
    headers = {REASON: verdict.reason, ATTEMPT: attempt + 1, **origin_headers(delivery)}
    if verdict.fate is Fate.RETRY and attempt < len(topology.retry_queues):
        subscription.move(delivery, topology.retry_queues[attempt], headers)
        return Fate.RETRY
    subscription.move(delivery, topology.dead_queue, {**headers, DIED_AT: datetime.now(UTC).isoformat()})
    return Fate.DEAD


def attempt_of(delivery: Delivery) -> int:
    """How often the message has failed before; 0 for nonsense in the header."""
    attempt = 0 if delivery.exchange else delivery.headers.get(ATTEMPT, 0)
    return attempt if isinstance(attempt, int) and attempt >= 0 else 0


def origin(delivery: Delivery) -> tuple[str, str]:
    """The exchange that the message was first published to, and its routing key.

    The exchange of a copy is nameless, and nobody but us publishes to our queues through that one: there our headers
    count. What came through another exchange can have them from anybody.
    """
    if delivery.exchange:
        return delivery.exchange, text(delivery.routing_key)
    match delivery.headers.get("x-death"):  # what the broker noted when it moved the message
        case [{"exchange": str(exchange), "routing-keys": [str(routing_key), *_]}, *_] if exchange:
            return exchange, routing_key
    return text(delivery.headers.get(EXCHANGE)), text(delivery.headers.get(ROUTING_KEY))


def origin_headers(delivery: Delivery) -> dict[str, str]:
    """What a copy carries of where the message was first published."""
    exchange, routing_key = origin(delivery)
    return {EXCHANGE: exchange, ROUTING_KEY: routing_key}


# --- many messages -------------------------------------------------------------------------------------------------
class WorkerBrokeError(RuntimeError):
    """A worker's thread ended by what nobody foresaw; the log says by what."""


class Worker(threading.Thread):
    """Handles messages one after the other. After `stop` it finishes the one in hand and starts none."""

    def __init__(
        self, number: int, finished: Callable[[Delivery, Event, Verdict], None], broke: Callable[[], None]
    ) -> None:
        super().__init__(name=f"consumer-{number}", daemon=True)
        self._finished, self._broke = finished, broke
        self._waiting: SimpleQueue[tuple[Delivery, Event] | None] = SimpleQueue()
        self._stopping = False

    def submit(self, delivery: Delivery, event: Event) -> None:
        self._waiting.put((delivery, event))

    def stop(self) -> None:
        self._stopping = True
        self._waiting.put(None)

    def run(self) -> None:
        try:
            self._handle_messages()
        except BaseException:
            log.exception("worker_broke")
            self._broke()

    def _handle_messages(self) -> None:
        while (work := self._waiting.get()) and not self._stopping:
            delivery, event = work
            began = monotonic()
            verdict = take_effect(event)
            metrics.EVENTS_HANDLER_SECONDS.labels(event.type).observe(monotonic() - began)
            log.info("event_handled", **event.names, fate=verdict.fate.value, reason=verdict.reason)
            self._finished(delivery, event, verdict)


class Consumer:
    """One subscription and its workers. The thread that calls `work` owns the connection; workers only handle."""

    def __init__(self, subscription: Subscription, topology: Topology, *, threads: int) -> None:
        self._subscription, self._topology = subscription, topology
        self._done: SimpleQueue[tuple[Delivery, Event, Verdict]] = SimpleQueue()
        self._held: deque[tuple[Delivery, Event]] = deque()  # while the database is away
        self._database_down = self._woken = self._broken = False
        self._workers = [Worker(number, self._finished, self._broke) for number in range(threads)]
        for worker in self._workers:
            worker.start()

    def _finished(self, delivery: Delivery, event: Event, verdict: Verdict) -> None:
        self._done.put((delivery, event, verdict))
        if not self._woken:  # one wake-up is enough for many
            self._woken = True
            self._subscription.wake()

    def _broke(self) -> None:
        self._broken = True
        self._subscription.wake()

    def work(self, seconds: float) -> None:
        """Take in what came within `seconds`, settle what is finished.

        Raises:
            BrokerUnavailableError: make a new subscription; what was in hand comes again.
            WorkerBrokeError: end the process; half a consumer would go unnoticed.
        """
        for delivery in self._subscription.poll(seconds):
            self._take_in(delivery)
        self._settle_finished()
        self._subscription.ack_settled()
        if self._broken:
            raise WorkerBrokeError
        if self._held and database_answers():
            self._database_down = False
            self._hand_out()

    def _take_in(self, delivery: Delivery) -> None:
        try:
            event = receive(delivery)
        except BrokenMessageError as broken:
            self._settle(delivery, delivery.type, Verdict(Fate.DEAD, str(broken)))
            return
        except Exception as error:
            log.exception("message_not_read", message_id=loggable(delivery.message_id))
            self._settle(delivery, delivery.type, Verdict(Fate.DEAD, type(error).__name__))
            return
        self._held.append((delivery, event))
        if not self._database_down:
            self._hand_out()

    def _hand_out(self) -> None:
        while self._held:
            delivery, event = self._held.popleft()
            self._workers[hash(event.aggregate_id) % len(self._workers)].submit(delivery, event)

    def _settle_finished(self) -> None:
        self._woken = False
        while not self._done.empty():
            delivery, event, verdict = self._done.get()
            self._database_down = verdict.database_down
            self._settle(delivery, event.type, verdict)

    def _settle(self, delivery: Delivery, type: str, verdict: Verdict) -> None:
        fate = settle(self._subscription, self._topology, delivery, verdict)
        known = type if type in CONSUMED_BY_NAME else UNKNOWN
        metrics.EVENTS_CONSUMED.labels(known, fate.value).inc()
        if verdict.reason:
            facts = {"type": known, "fate": fate.value, "reason": verdict.reason}
            names = {"message_id": loggable(delivery.message_id), "requestId": loggable(delivery.correlation_id)}
            log.warning("event_failed", **facts, **names)

    def stop(self, seconds: float) -> None:
        """Ask for no more, let each worker finish the message in hand, settle those, close."""
        self._subscription.stop_consuming()
        self.abandon(seconds)
        self._settle_finished()
        self._subscription.ack_settled(all_of_them=True)
        self._subscription.close()

    def abandon(self, seconds: float) -> None:
        """Let each worker finish the message in hand, start no other; waits up to `seconds` for all of them."""
        until = monotonic() + seconds
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(max(0.0, until - monotonic()))
