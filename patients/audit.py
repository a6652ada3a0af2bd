"""The audit of clinical data: who read, wrote or exported what, and when.

What others do is written line by line, in the transaction of what they do; when the line cannot be written, the access
does not happen either. A patient's reads of their own data are the bulk of all traffic and the least of the risk, so
each process writes the first of them and stays silent for OWN_READS_WINDOW_SECONDS about the same fields of the same
object: a line then says "read it in the minutes from here", and still no read is without one. An answer to who has just
written what it shows is covered by the line of the writing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from bson import ObjectId

from booking_service.api.callers import Caller
from booking_service.api.request_id import current_request_id
from booking_service.djongo.transaction import on_commit
from patients import repositories

OWN_READS_WINDOW_SECONDS = 300.0
MOST_REMEMBERED = 50_000


class Access(StrEnum):
    """What was done with clinical data."""

    READ = "READ"
    WRITE = "WRITE"
    EXPORT = "EXPORT"


def clinical_access_record(
    *, actor: Caller, action: Access | str, object_type: str, object_id: ObjectId | str, fields: Iterable[str]
) -> None:
    """Write one line of the audit.

    Args:
        actor: who did it.
        action: READ, WRITE or EXPORT.
        object_type: the kind of document, such as "patient" or "booking".
        object_id: its id.
        fields: the names of the clinical fields, never their values. None at all: nothing is written.
    """
    names = sorted(fields)
    if not names:
        return
    repositories.access_add(
        {
            "_id": ObjectId(),
            "action": Access(action).value,
            "actorRole": actor.role.value,
            "actorId": actor.id,
            "actorName": actor.name,
            "objectType": object_type,
            "objectId": str(object_id),
            "fields": names,
            "requestId": current_request_id(),
            "at": datetime.now(UTC),
        }
    )


_OwnRead = tuple[ObjectId | None, str, str, frozenset[str]]
_own_reads: dict[_OwnRead, float] = {}


def own_read_record(*, actor: Caller, object_type: str, object_id: ObjectId | str, fields: Iterable[str]) -> None:
    """Record that a patient read their own clinical data, once in OWN_READS_WINDOW_SECONDS for the same of one object.

    None at all: nothing is written, and nothing remembered.
    """
    key = (actor.id, object_type, str(object_id), frozenset(fields))
    now = time.monotonic()
    if not key[-1] or _own_reads.get(key, 0.0) > now:
        return
    clinical_access_record(
        actor=actor, action=Access.READ, object_type=object_type, object_id=object_id, fields=key[-1]
    )
    # A line that is given back with its transaction covers no read.
    on_commit(lambda: _remember(key, now + OWN_READS_WINDOW_SECONDS))


def _remember(key: _OwnRead, until: float) -> None:
    if len(_own_reads) >= MOST_REMEMBERED:
        _own_reads.clear()
    _own_reads[key] = until
