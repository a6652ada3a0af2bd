"""Where the monolith's documents come from: its database, or a folder of exports, one Extended JSON document a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import bson
from bson import Code, DBRef, ObjectId, json_util
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.errors import InvalidDocument

from monolith.conversion import Document, instant

COLLECTIONS = ("servicecatalogs", "patients", "nursebookings")
# MongoDB keeps 180 levels and 16 MiB; some of both is for what is kept with a document, here or in the quarantine.
DEEPEST = 170
LARGEST = 15 << 20


class CodeIsText(TypeDecoder):
    """JavaScript is text: nothing here runs it, and what looks a text up could not look up a `Code`."""

    bson_type = Code

    def transform_bson(self, value: Code) -> str:
        return str(value)


# A date that Python does not know is none, and not the end of its document.
DECODED = CodecOptions[Document](
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO, type_registry=TypeRegistry([CodeIsText()])
)
_JSON = json_util.JSONOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO)


@dataclass(frozen=True, slots=True)
class Read:
    """One document, or what could not be read as one: `place` says where, `fault` why, `text` what was there."""

    place: str
    document: Document | None = None
    fault: str = ""
    text: str = ""
    reason: str = "UNREADABLE"


class Source(Protocol):
    """What an import reads. Reading it again gives the same documents in the same order."""

    is_live: bool  # whether it has what the monolith wrote until it is read
    digest: str  # tells it from other sources

    def count(self, collection: str) -> int:
        """About how many documents there are, for the progress bar."""

    def read(self, collection: str, since: datetime | None) -> Iterator[Read]:
        """Every document, or those changed at `since` or later and those that do not tell."""


class ExportFolder:
    """A folder with `patients.jsonl`, `servicecatalogs.jsonl` and `nursebookings.jsonl`; a missing file has none."""

    is_live = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = digest_of(str(folder.resolve()))

    def count(self, collection: str) -> int:
        path = self._path(collection)
        if not path.is_file():
            return 0
        with path.open("rb") as export:
            return sum(block.count(b"\n") for block in iter(lambda: export.read(1 << 20), b""))

    def read(self, collection: str, since: datetime | None) -> Iterator[Read]:
        path = self._path(collection)
        if not path.is_file():
            return
        with path.open("rb") as export:
            for number, line in enumerate(export, start=1):
                if line.strip():
                    found = _parsed(line, f"{path.name}:{number}")
                    if _is_wanted(found.document, since):
                        yield found

    def _path(self, collection: str) -> Path:
        return self.folder / f"{collection}.jsonl"


def digest_of(*names: str) -> str:
    """What is kept of where a source is."""
    return hashlib.blake2b("/".join(names).encode(), digest_size=16).hexdigest()


def _parsed(line: bytes, place: str) -> Read:
    try:
        return Read(place, decoded(bson.encode(json.loads(line.decode(), object_hook=_value))))
    except Exception as error:  # noqa: BLE001 - whatever is odd in the line, the others must not wait for it
        fault = f"the line is no document that MongoDB can hold ({type(error).__name__})"
        return Read(place, fault=fault, text=line.decode(errors="replace"))


def decoded(raw: bytes | memoryview) -> Document:
    """The document that `raw` is, from wherever it comes.

    Raises:
        InvalidBSON; InvalidDocument when it is too large or too deep.
    """
    if len(raw) > LARGEST:
        raise InvalidDocument("too large")
    document = bson.decode(raw, DECODED)
    if _levels(document) > DEEPEST:
        raise InvalidDocument("too deep")
    return document


def _levels(value: Any) -> int:
    """How deep documents and lists are nested in a value."""
    value = value.as_doc() if isinstance(value, DBRef) else value
    if isinstance(value, dict | list):
        return 1 + max(map(_levels, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def _value(value: Document) -> Any:
    """What Extended JSON means by an object; ids and dates, most of an export, without the detours of json_util."""
    if len(value) == 1:
        for kind, text in value.items():
            if kind == "$oid":
                return ObjectId(text)
            if kind == "$date" and isinstance(text, str):
                moment = datetime.fromisoformat(text)
                return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return json_util.object_hook(value, _JSON)


def _is_wanted(document: Document | None, since: datetime | None) -> bool:
    if document is None or since is None:
        return True
    changed_at = instant(document.get("updatedAt"))
    return changed_at is None or changed_at >= since
