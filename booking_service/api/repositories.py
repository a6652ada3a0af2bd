"""Claims on idempotency keys, in MongoDB: they hold when Redis is away."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError

from booking_service.api.models import IdempotentRequest

# Longer than any request may run; a claim whose process died can be taken over after it.
LEASE = timedelta(seconds=60)
KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the request: it holds as long as nobody takes it over after the lease."""

    key: str
    owner: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: enough to say it again, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """The key was used before: with this body, and this answer (None while it still runs)."""

    body_hash: str
    answer: Answer | None


def request_claim(*, key: str, body_hash: str) -> Claim | Known:
    """Claim ``key``: for the first caller, and for a repeat of the same body after its first runner's lease ran out.

    Decided by the unique ``_id`` and one conditional update; whoever comes second learns what is known of the first.
    """
    now = datetime.now(UTC)
    owner = uuid.uuid4().hex
    claim = {"bodyHash": body_hash, "owner": owner, "leaseUntil": now + LEASE, "expiresAt": now + KEPT}
    try:
        IdempotentRequest.objects.mongo_insert_one({"_id": key, **claim, "status": None})
        return Claim(key, owner)
    except IntegrityError:
        return _taken_over(key, claim, now) or _known(key, body_hash)


def answer_store(*, claim: Claim, answer: Answer) -> bool:
    """Keep the answer if the claim still holds; returns whether it did. Joins an open transaction."""
    stored = IdempotentRequest.objects.mongo_update_one(
        {"_id": claim.key, "owner": claim.owner, "status": None},
        {"$set": {"status": answer.status, "headers": answer.headers, "body": answer.body}},
    )
    return bool(stored.matched_count)


def claim_release(*, claim: Claim) -> None:
    """Let the next one run the request. An answer that was stored stays."""
    IdempotentRequest.objects.mongo_delete_one({"_id": claim.key, "owner": claim.owner, "status": None})


def _taken_over(key: str, claim: dict[str, Any], now: datetime) -> Claim | None:
    abandoned = {"bodyHash": claim["bodyHash"], "status": None, "leaseUntil": {"$lt": now}}
    taken = IdempotentRequest.objects.mongo_update_one(
        # MongoDB deletes expired documents within a minute or so; until then they count as gone.
        {"_id": key, "$or": [abandoned, {"expiresAt": {"$lt": now}}]},
        {"$set": {**claim, "status": None}, "$unset": {"headers": "", "body": ""}},
    )
    return Claim(key, claim["owner"]) if taken.matched_count else None


def _known(key: str, body_hash: str) -> Known:
    found = IdempotentRequest.objects.mongo_find_one({"_id": key})
    if found is None:
        # Released between our insert and this read: to the caller that is a request still running.
        return Known(body_hash, None)
    if found["status"] is None:
        return Known(found["bodyHash"], None)
    return Known(found["bodyHash"], Answer(found["status"], found["headers"], found["body"]))
