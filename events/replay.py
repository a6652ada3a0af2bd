"""Dead letters: looking at them and putting them back."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from .broker import Delivery, text, walk_dead
from .consumer import DIED_AT, REASON, ROUTING_KEY, attempt_of, origin_headers
from .topology import topology


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed for good, without its body."""

    message_id: str
    type: str
    reason: str
    attempts: int
    died_at: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; what is None or empty does not narrow."""

    type: str | None = None
    message_id: str | None = None
    reason: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        return (
            (not self.type or letter.type == self.type)
            and (not self.message_id or letter.message_id == self.message_id)
            and (not self.reason or self.reason in letter.reason)
        )


def replay(wanted: Filter, *, dry_run: bool, limit: int) -> list[DeadLetter]:
    """Put the dead letters that `wanted` matches back, as if they came for the first time; returns them.

    The oldest `limit` of those that match. With `dry_run` every letter stays where it is.

    Raises:
        BrokerUnavailableError: what was put back by then is back.
    """
    matching: list[DeadLetter] = []

    def choose(delivery: Delivery) -> bool:
        letter = dead_letter(delivery)
        if wanted.matches(letter):
            matching.append(letter)
            return True
        return False

    walk_dead(settings.RABBITMQ_URL, topology(), choose, None if dry_run else origin_headers, limit=limit)
    return matching


def dead_letter(delivery: Delivery) -> DeadLetter:
    """What the headers tell; what is odd in them is as if it were not there."""
    headers = delivery.headers
    return DeadLetter(
        message_id=delivery.message_id,
        type=delivery.type or text(headers.get(ROUTING_KEY)),
        reason=text(headers.get(REASON)) or "returned to the queue too often",
        attempts=attempt_of(delivery),
        died_at=text(headers.get(DIED_AT)),
    )
