"""The outbox's and the inbox's queries.

How order holds: a row is claimed only while it is the first unsent row of its aggregate, and it counts as sent only
once the broker has confirmed it. So the first copy of an event enters the broker after its predecessor's, whatever
leases, clocks or frozen publishers do. Leases only keep publishers from doing each other's work: a publisher that
outlives its lease can send a second copy, never a first one out of order.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from time import sleep
from typing import Any

import structlog
from bson import ObjectId
from django.db import IntegrityError, connection
from pymongo import ReturnDocument, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from booking_service.djongo.errors import translated_errors
from booking_service.djongo.transaction import in_transaction

from .exceptions import AlreadyDoneError, OutsideTransactionError
from .models import AT_ONCE, InboxMessage, Lane, OutboxEvent, Status

log = structlog.get_logger(__name__)

Row = dict[str, Any]

CLAIM_ATTEMPTS, CLAIM_PAUSE = 4, 0.005
LONGEST_KEY = 255
TRANSACTION = "payment.transaction"  # no event, so that no message has its rows

_positions = count()

# Only what a majority has is published: a booking that a crash takes back must not have been told.
_MAJORITY = ReadConcern("majority")
# A claim that a crash takes back costs a second copy at most, so it does not wait for the disk.
_QUICK = WriteConcern(w=1)
_WAITING = Status.WAITING.value
# What publishers rely on in any row, whoever wrote it.
_SHAPE = {
    "_id": ObjectId,
    "lane": str,
    "type": str,
    "aggregateId": str,
    "body": bytes,
    "correlationId": str,
    "dueAt": datetime,
    "attempts": int,
}


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What becomes an outbox row."""

    lane: Lane
    type: str
    aggregate_id: str
    aggregate_version: int
    body: bytes
    event_id: ObjectId
    exchange: str = ""
    routing_key: str = ""


def outbox_add(events: Iterable[NewEvent], *, correlation_id: str, at: datetime) -> None:
    """Write rows in the caller's transaction.

    Raises:
        OutsideTransactionError: there is none.
    """
    if not in_transaction():
        raise OutsideTransactionError
    OutboxEvent.objects.mongo_insert_pipelined([_document(event, correlation_id, at) for event in events])


def _document(event: NewEvent, correlation_id: str, at: datetime) -> Row:
    return {
        "_id": event.event_id,
        "lane": event.lane.value,
        "type": event.type,
        "exchange": event.exchange,
        "routingKey": event.routing_key,
        "aggregateId": event.aggregate_id,
        "aggregateVersion": event.aggregate_version,
        "position": next(_positions),
        "body": event.body,
        "correlationId": correlation_id,
        "status": _WAITING,
        "dueAt": AT_ONCE,
        "leaseOwner": None,
        "attempts": 0,
        "lastError": "",
        "createdAt": at,
        "publishedAt": None,
    }


# --- claiming ------------------------------------------------------------------------------------------------------
def outbox_claim(lane: Lane, *, limit: int, lease: timedelta, type: str = "") -> list[Row]:
    """Take up to `limit` due rows for `lease`; nobody else takes them until it ends.

    In the broker lane these are heads: first unsent rows of different aggregates. In the partner lane order does not
    matter, and they are of one `type`. Each row carries its claim in `leaseOwner`, and has the shape of `_document`:
    one that has not is dead.
    """
    now = datetime.now(UTC)
    with translated_errors():
        for attempt in range(CLAIM_ATTEMPTS):
            rows = _heads(now, limit) if lane is Lane.BROKER else _due(lane, now, limit, type=type)
            claimed = _leased(rows, now, now + lease) if rows else []
            if claimed or not rows:
                return claimed
            sleep(random.uniform(0, CLAIM_PAUSE * 2**attempt))  # noqa: S311 - somebody else was quicker; spread out
        return []


def _heads(now: datetime, limit: int) -> list[Row]:
    """The heads among the first `limit` due rows. Where there is none, among those of other aggregates behind them.

    Due rows whose head is not due must not hide the others: the head backs off, or a publisher has it in hand, and that
    one may be dead.
    """
    looked_at: list[str] = []
    while True:
        due = _due(Lane.BROKER, now, limit, not_of=looked_at)
        aggregates = list({row["aggregateId"] for row in due})
        first = _first_unsent(aggregates)
        heads = [row for row in first if row["dueAt"] <= now]
        if heads or len(due) < limit:
            return heads
        _wait_behind(first, now)
        looked_at += aggregates


def _due(lane: Lane, now: datetime, limit: int, *, type: str = "", not_of: Sequence[str] = ()) -> list[Row]:
    due: Row = {"status": _WAITING, "lane": lane.value, "dueAt": {"$lte": now}}
    if type:
        due["type"] = type
    if not_of:
        due["aggregateId"] = {"$nin": not_of}
    return _sound(_committed().find(due).sort([("dueAt", 1), ("_id", 1)]).limit(limit))


def _first_unsent(aggregates: Sequence[str]) -> list[Row]:
    """The first unsent row of each aggregate, due or not."""
    unsent = _committed().find({"status": _WAITING, "lane": Lane.BROKER.value, "aggregateId": {"$in": aggregates}})
    first: dict[str, Row] = {}
    for row in _sound(unsent.sort([("aggregateId", 1), ("aggregateVersion", 1), ("position", 1)])):
        first.setdefault(row["aggregateId"], row)
    return list(first.values())


def _sound(rows: Iterable[Row]) -> list[Row]:
    """`rows` without those that a hand or a mistake made odd: these are dead, as the others must not wait for them."""
    sound = []
    for row in rows:
        odd = [name for name, kind in _SHAPE.items() if not isinstance(row.get(name), kind)]
        if not odd:
            sound.append(row)
        elif outbox_dead(row, error=f"odd: {', '.join(odd)}"):
            log.error("outbox_row_odd", event_id=str(row["_id"]), odd=odd)
    return sound


def _wait_behind(heads: Sequence[Row], now: datetime) -> None:
    """Make due rows behind a head that backs off due with it, so that they are not looked at again and again.

    Rows behind one that a publisher has in hand stay due: it goes any moment.
    """
    for head in heads:
        if head.get("leaseOwner") is None:
            behind = {"aggregateId": head["aggregateId"], "lane": head["lane"], "status": _WAITING}
            _collection().update_many({**behind, "dueAt": {"$lte": now}}, {"$set": {"dueAt": head["dueAt"]}})


def _leased(rows: Sequence[Row], now: datetime, until: datetime) -> list[Row]:
    owner = uuid.uuid4().hex
    ids = [row["_id"] for row in rows]
    claimed = _collection(_QUICK).update_many(
        {"_id": {"$in": ids}, "status": _WAITING, "dueAt": {"$lte": now}},
        {"$set": {"leaseOwner": owner, "dueAt": until}, "$inc": {"attempts": 1}},
    )
    ours = set(ids) if claimed.modified_count == len(ids) else _owned_by(owner, ids)
    return [{**row, "leaseOwner": owner, "attempts": row["attempts"] + 1} for row in rows if row["_id"] in ours]


def _owned_by(owner: str, ids: Sequence[ObjectId]) -> set[ObjectId]:
    return {row["_id"] for row in _collection().find({"_id": {"$in": list(ids)}, "leaseOwner": owner}, {"_id": 1})}


# --- marking -------------------------------------------------------------------------------------------------------
def outbox_sent(rows: Sequence[Row]) -> None:
    """These rows have arrived. Whoever holds them now: arrived is arrived."""
    if not rows:
        return
    change = {"status": Status.SENT.value, "publishedAt": datetime.now(UTC), "leaseOwner": None, "lastError": ""}
    with translated_errors():
        _collection().update_many({"_id": {"$in": [row["_id"] for row in rows]}, "status": _WAITING}, {"$set": change})


def outbox_postpone(due: Mapping[ObjectId, datetime], *, owner: str, error: str) -> None:
    """Give claimed rows back, each due at its own time, and say why. What somebody else holds by now is theirs."""
    if not due:
        return
    changes = [
        UpdateOne(
            {"_id": event_id, "status": _WAITING, "leaseOwner": owner},
            {"$set": {"dueAt": due_at, "leaseOwner": None, "lastError": error[:500]}},
        )
        for event_id, due_at in due.items()
    ]
    with translated_errors():
        _collection().bulk_write(changes, ordered=False)


def outbox_dead(row: Row, *, error: str) -> bool:
    """Nobody will be asked again for this row. Joins the caller's transaction; False when it is no longer ours."""
    result = OutboxEvent.objects.mongo_update_one(
        {"_id": row["_id"], "status": _WAITING, "leaseOwner": row.get("leaseOwner")},
        {"$set": {"status": Status.DEAD.value, "leaseOwner": None, "lastError": error[:500]}},
    )
    return bool(result.modified_count)


def outbox_retry(event_ids: Sequence[ObjectId]) -> int:
    """Make waiting or dead rows due at once; returns how many. For staff: what was sent stays sent."""
    change = {"status": _WAITING, "dueAt": AT_ONCE, "leaseOwner": None, "attempts": 0}
    unsent = {"_id": {"$in": list(event_ids)}, "status": {"$in": [_WAITING, Status.DEAD.value]}}
    return int(OutboxEvent.objects.mongo_update_many(unsent, {"$set": change}).modified_count)


# --- watching ------------------------------------------------------------------------------------------------------
def outbox_changes(*, wait: timedelta) -> Iterator[Lane | None]:
    """The lane of each row as it is committed, for as long as the change stream lives; None when it has just opened,
    for a row in no lane of ours, and whenever nothing came for `wait`.

    Raises:
        django.db.OperationalError: MongoDB is gone; rows may have been missed.
    """
    pipeline: list[Row] = [{"$match": {"operationType": "insert"}}, {"$project": {"fullDocument.lane": 1}}]
    milliseconds = int(wait.total_seconds() * 1000)
    with translated_errors(), _collection().watch(pipeline, max_await_time_ms=milliseconds) as stream:
        yield None
        while stream.alive:
            change = stream.try_next() or {}
            written = change.get("fullDocument", {}).get("lane")
            yield next((lane for lane in Lane if lane == written), None)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many unsent events there are of a type, and the age of the oldest."""

    lane: str
    type: str
    status: str
    events: int
    oldest_seconds: float


def outbox_backlog() -> list[Backlog]:
    """Unsent events by lane, type and status, from an index alone."""
    groups = OutboxEvent.objects.mongo_aggregate(
        [
            {"$match": {"status": {"$in": [_WAITING, Status.DEAD.value]}}},
            {
                "$group": {
                    "_id": {"lane": "$lane", "type": "$type", "status": "$status"},
                    "events": {"$sum": 1},
                    "oldest": {"$min": "$createdAt"},
                }
            },
        ],
        hint="outbox_status",
    )
    now = datetime.now(UTC)
    with translated_errors():
        return [_backlog(group, now) for group in groups]


def _backlog(group: Mapping[str, Any], now: datetime) -> Backlog:
    of, oldest = group["_id"], group["oldest"]
    names = {name: str(of.get(name) or "-") for name in ("lane", "type", "status")}
    waited = (now - oldest).total_seconds() if isinstance(oldest, datetime) else 0.0
    return Backlog(**names, events=group["events"], oldest_seconds=waited)


# --- the inbox -----------------------------------------------------------------------------------------------------
def inbox_add(message_id: str, *, type: str, correlation_id: str, digest: str) -> None:
    """Note in the caller's transaction that a message of this `type` takes effect; `digest` is that of its body.

    Raises:
        AlreadyDoneError: it did before; the transaction may be void.
        OutsideTransactionError: there is no transaction.
    """
    if not in_transaction():
        raise OutsideTransactionError
    key = inbox_key(type, message_id)
    # Rows were written under the plain id once, and count as long as they are kept.
    if done := InboxMessage.objects.mongo_find_one({"_id": {"$in": [key, message_id]}, "type": type}):
        raise AlreadyDoneError(done.get("digest", ""))
    row = {"_id": key, "type": type, "correlationId": correlation_id[:255], "receivedAt": datetime.now(UTC)}
    try:
        InboxMessage.objects.mongo_insert_one({**row, "digest": digest})
    except IntegrityError:
        raise AlreadyDoneError from None


def transaction_claim(transaction_id: str, booking_id: ObjectId) -> ObjectId:
    """The booking that a transaction of the payment service pays: this one, from the caller's transaction on, if there
    was none before. It is known for as long as the inbox keeps its rows, of which an import writes none.

    Raises:
        OutsideTransactionError: there is no transaction.
    """
    if not in_transaction():
        raise OutsideTransactionError
    claim = {"type": TRANSACTION, "correlationId": "", "receivedAt": datetime.now(UTC), "bookingId": booking_id}
    row: Row = InboxMessage.objects.mongo_find_one_and_update(
        {"_id": inbox_key(TRANSACTION, transaction_id)},
        {"$setOnInsert": claim},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    found: ObjectId = row["bookingId"]
    return found


def transaction_booking(key: str) -> ObjectId | None:
    """The booking in a row of the inbox that `transaction_claim` wrote; None for messages."""
    found: ObjectId | None = (InboxMessage.objects.mongo_find_one({"_id": key}, {"bookingId": 1}) or {}).get(
        "bookingId"
    )
    return found


def inbox_key(type: str, message_id: str) -> str:
    """Ids are their senders' own: two may use the same, for events of different types."""
    key = f"{type}:{message_id}"
    return key if len(key) <= LONGEST_KEY else f"{type}:sha256:{hashlib.sha256(message_id.encode()).hexdigest()}"


def database_answers() -> bool:
    """Whether MongoDB can be reached just now; for waiting until it can."""
    try:
        with translated_errors():
            connection.database.command("ping")  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - whatever it is, the answer is no
        return False
    return True


def _collection(write_concern: WriteConcern | None = None) -> Collection[Row]:
    return OutboxEvent.objects.mongo_with_options(write_concern=write_concern)


def _committed() -> Collection[Row]:
    return OutboxEvent.objects.mongo_with_options(read_concern=_MAJORITY)
