"""What a run did: one line for each document that could not be taken as it was, and the sums of all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from tempfile import TemporaryFile
from typing import IO, TextIO

from bson import ObjectId

from monolith.conversion import Document, Finding

ID_BYTES = 12
SAMPLE = 200


class Outcome(StrEnum):
    """What became of a document."""

    TAKEN = "taken"
    FIXED = "taken with a fix"
    UNCHANGED = "unchanged"
    KEPT_OURS = "kept ours"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    collection: str
    key: str
    outcome: Outcome
    findings: Sequence[Finding]

    def __str__(self) -> str:
        reasons = ",".join(dict.fromkeys(finding.reason for finding in self.findings))
        done = "; ".join(finding.done for finding in self.findings)
        return "\t".join(
            text.replace("\t", " ").replace("\n", " ")
            for text in (self.collection, self.key, self.outcome, reasons, done)
        )


class Report:
    """The report file: tab-separated, so that people read it and spreadsheets sort it. No file: lines go nowhere."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self.lines = 0
        if file:
            file.write("collection\tid\toutcome\treasons\twhat was done\n")

    def add(self, line: Line) -> None:
        """Write the line; nothing of it is kept in memory."""
        self.lines += 1
        if self._file:
            self._file.write(f"{line}\n")


@dataclass(slots=True)
class Ledger:
    """What verification needs of a collection, in memory that does not grow with it."""

    collection: str
    counts: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    claims_refused: int = 0
    money: Decimal = Decimal(0)
    sample: list[Document] = field(default_factory=list)
    _ids: IO[bytes] = field(default_factory=TemporaryFile)
    _taken: int = 0
    _chance: random.Random = field(default_factory=lambda: random.Random(20))  # noqa: S311 - a sample, no secret

    @property
    def read(self) -> int:
        """How many documents the source had."""
        return self.counts.total()

    @property
    def here(self) -> int:
        """How many of them have to be here, as they were converted."""
        return self._taken

    def taken(self, document: Document, amount: Decimal, source: Document) -> None:
        """A document has to be here, with that amount; it may be drawn into the sample."""
        self._ids.write(document["_id"].binary)
        self._taken += 1
        self.money += amount
        if self._taken <= SAMPLE:
            self.sample.append(source)
        elif (place := self._chance.randrange(self._taken)) < SAMPLE:
            self.sample[place] = source

    def ids(self, batch: int) -> Iterator[list[ObjectId]]:
        """The ids of `taken`, in batches."""
        self._ids.seek(0)
        while block := self._ids.read(ID_BYTES * batch):
            yield [ObjectId(block[start : start + ID_BYTES]) for start in range(0, len(block), ID_BYTES)]
