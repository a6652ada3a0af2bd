"""What the conversions of patients, services and bookings share. Pure: no Django, no database.

A conversion takes one document as the monolith wrote it and returns it as this service keeps it, with a finding for
everything that could not be taken as it was; or it raises `Quarantine` when no fix would be honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import bson
from bson import Decimal128, Int64, ObjectId

Document = dict[str, Any]
# Of a document: which names are dates (None), embedded documents, lists of them, or what else something holds for.
Shape = Mapping[str, "Shape | list[Shape] | Callable[[Any], bool] | None"]

# Names that only this service writes, some in an embedded document, by collection. In a document of the monolith they
# say nothing.
OWN_NAMES: Mapping[str, Set[str]] = {
    "servicecatalogs": {"monolith", "version"},
    "patients": {"emailLower", "monolith", "sessions", "signedOutAt", "version"},
    "nursebookings": {
        *("claims", "endsAt", "monolith", "noShow", "notifications", "refund", "reminders"),
        *("rescheduleCount", "startsAt", "timeline", "version"),
        *("payment.balance", "payment.discrepancies", "payment.dueSince", "payment.failedTransactions"),
        *("payment.moreDiscrepancies", "payment.needsStaff", "payment.order"),
    },
}
PAISE = Decimal("0.01")
MOST_WORDS = 1000  # characters that tell why a document was not taken
MOST_MONEY = Decimal(10) ** 12
MOST_RUPEES = 10_000_000  # that a visit costs or somebody pays: as events and partners know them
# Grows with every change of what a conversion makes of the same document, so that a re-run converts it again.
CONVERSION = b"5"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that could not be taken as it is: a code, and what was done, in words for a person."""

    reason: str
    done: str


class Quarantine(Exception):
    """The document is not taken; it waits in the quarantine for somebody to decide."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.finding = Finding(reason, f"quarantined: {why}"[:MOST_WORDS])


@dataclass(slots=True)
class Converted:
    """A document on its way: `document` is what will be stored, `original` what it had where that differs."""

    document: Document
    findings: list[Finding] = field(default_factory=list)
    original: Document = field(default_factory=dict)
    rounded: list[str] = field(default_factory=list)

    def note(self, reason: str, done: str) -> None:
        self.findings.append(Finding(reason, done))

    def money(self, part: str, *names: str) -> None:
        """Turn the floats `names` of the embedded document `part` (a dotted path) into exact paise.

        What is not a number, or cannot be the price of anything here, goes, and is kept as the original with
        everything else that differs.
        """
        lines = self.part(part)
        if lines is None:
            return
        for name in names:
            if lines.get(name) is None:
                lines.pop(name, None)
                continue
            path = f"{part}.{name}"
            try:
                exact = paise(lines[name])
                if not 0 <= exact <= MOST_RUPEES:
                    raise ValueError("not a price")
            except ValueError:
                self.original[path] = lines.pop(name)
                self.note("MONEY_UNREADABLE", f"{path} is no amount: left out, the original kept")
                continue
            if exact != number(lines[name]):
                self.original[path] = lines[name]
                self.rounded.append(path)
            lines[name] = Decimal128(exact)

    def part(self, path: str) -> Document | None:
        """The embedded document at `path`, or None where there is none."""
        found: Any = self.document
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None

    def note_rounding(self) -> None:
        """One finding for all amounts that were more than paise."""
        if self.rounded:
            self.note("MONEY_ROUNDED", f"rounded to paise, originals kept: {', '.join(sorted(self.rounded))}")


def fingerprint(document: Document) -> str:
    """Tells whether a document is the same as at the last import; equal for an export and the collection itself."""
    return hashlib.blake2b(bson.encode(document) + CONVERSION, digest_size=16).hexdigest()


def number(value: Any) -> Decimal:
    """A float, an integer or a Decimal128 as the shortest decimal that means it. Raises ValueError for the rest."""
    if isinstance(value, Decimal128):
        exact = value.to_decimal()
    elif isinstance(value, float | int | Int64) and not isinstance(value, bool):
        exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(int(value))
    else:
        raise ValueError("not a number")
    if not exact.is_finite() or abs(exact) > MOST_MONEY:
        raise ValueError("not an amount")
    return exact


def of_type(*types: type) -> Callable[[Any], bool]:
    """Whether a value is of one of `types`, as a `Shape` asks."""
    return lambda value: isinstance(value, types)


def is_amount(value: Any) -> bool:
    """Whether `number` takes it."""
    try:
        number(value)
    except ValueError:
        return False
    return True


def paise(value: Any) -> Decimal:
    """Rupees with two decimals, rounded half-up. Raises ValueError for what is no amount."""
    try:
        return number(value).quantize(PAISE, rounding=ROUND_HALF_UP)
    except InvalidOperation as error:
        raise ValueError("not an amount") from error


def document_id(document: Document) -> ObjectId:
    """The document's id, which stays. Raises Quarantine when it has none."""
    identity = document.get("_id")
    if not isinstance(identity, ObjectId):
        raise Quarantine("NO_ID", "its _id is no ObjectId")
    return identity


def parted(collection: str, source: Document) -> tuple[Document, Document]:
    """A document of the monolith without what has a name of `OWN_NAMES`, and that by its path."""
    theirs = source
    ours: Document = {}
    for path in sorted(OWN_NAMES[collection]):
        part, _, name = path.rpartition(".")
        holder = theirs.get(part) if part else theirs
        if isinstance(holder, dict) and name in holder:
            ours[path] = holder[name]
            rest = {other: value for other, value in holder.items() if other != name}
            theirs = {**theirs, part: rest} if part else rest
    return theirs, ours


def copied(source: Document, *parts: str) -> Document:
    """A copy of `source` whose embedded documents `parts`, with all that they embed, are copies too."""
    document = dict(source)
    for name in parts:
        if isinstance(document.get(name), dict):
            part = document[name]
            document[name] = copied(part, *part)
    return document


def instant(value: Any) -> datetime | None:
    """A stored moment, or the ISO text that some exports make of it; None for anything else."""
    try:
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(value, datetime):
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def shaped(converted: Converted, shape: Shape) -> None:
    """Make sure that the document has `shape`: text that means a moment becomes one, what is neither a moment nor of
    the shape goes, with its original kept."""
    _shape(converted, converted.document, shape, "")


def _shape(converted: Converted, document: Document, shape: Shape, path: str) -> None:
    for name, kind in shape.items():
        value, where = document.get(name), f"{path}{name}"
        if value is None:
            continue
        if kind is None:
            _moment(converted, document, name, where)
        elif isinstance(kind, list) and isinstance(value, list):
            document[name] = _listed(converted, value, kind[0], where)
        elif isinstance(kind, Mapping) and isinstance(value, dict):
            document[name] = dict(value)
            _shape(converted, document[name], kind, f"{where}.")
        elif not (callable(kind) and kind(value)):
            converted.original[where] = document.pop(name)
            converted.note("PART_UNREADABLE", f"{where} is of another kind: left out, the original kept")


def _listed(converted: Converted, values: list[Any], shape: Shape, path: str) -> list[Document]:
    documents = [dict(value) for value in values if isinstance(value, dict)]
    if len(documents) < len(values):
        converted.original[path] = values
        converted.note("PART_UNREADABLE", f"some of {path} are of another kind: left out, the original kept")
    for place, document in enumerate(documents):
        _shape(converted, document, shape, f"{path}.{place}.")
    return documents


def _moment(converted: Converted, document: Document, name: str, path: str) -> None:
    value = document[name]
    if isinstance(value, datetime):
        return
    converted.original[path] = value
    moment = instant(value)
    if moment is None:
        del document[name]
        converted.note("DATE_UNREADABLE", f"{path} is no date: left out, the original kept")
    else:
        document[name] = moment
        converted.note("DATE_WAS_TEXT", f"{path} was text: stored as the moment it means")
