"""What the import tests share: the sample, edited copies of it, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.core.management import call_command
from django.db import connection

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "monolith"
OURS = ("patients", "nursebookings", "servicecatalogs", "slotclaims", "monolithquarantine")

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _database(database: None) -> None:
    """Every test here may use the database."""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Run the command quietly; its output, the report in `tmp_path/report.tsv`."""

    def import_monolith(source: Path | str = SAMPLE, **options: Any) -> str:
        output = StringIO()
        call_command(
            "import_monolith",
            "--from",
            str(source),
            "--no-progress",
            report=tmp_path / "report.tsv",
            stdout=output,
            **options,
        )
        return output.getvalue()

    return import_monolith


@pytest.fixture
def report(tmp_path: Path) -> Callable[[], dict[str, tuple[str, str]]]:
    """The report's lines: id → (outcome, reasons)."""

    def read() -> dict[str, tuple[str, str]]:
        lines = (tmp_path / "report.tsv").read_text().splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        return {row[1]: (row[2], row[3]) for row in rows}

    return read


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the sample, changed: `export(nursebookings=function of its list of documents)`."""

    def changed(**changes: Callable[[Lines], Lines]) -> Path:
        folder = tmp_path / "export"
        folder.mkdir(exist_ok=True)
        for name in ("patients", "servicecatalogs", "nursebookings"):
            documents = [json.loads(line) for line in (SAMPLE / f"{name}.jsonl").read_text().splitlines()]
            found = changes.get(name, lambda same: same)(documents)
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(document) + "\n" for document in found))
        return folder

    return changed


def collection(name: str) -> Any:
    """A collection of the database that is filled."""
    return connection.database[name]  # type: ignore[attr-defined]


def everything() -> dict[str, Lines]:
    """All that an import writes."""
    return {name: sorted(collection(name).find({}), key=lambda document: str(document["_id"])) for name in OURS}


def one(documents: Lines, key: str) -> dict[str, Any]:
    """The exported document with that id."""
    return next(document for document in documents if document["_id"]["$oid"] == key)


def stored(name: str, key: str) -> dict[str, Any]:
    """The document here with that id."""
    found: dict[str, Any] = collection(name).find_one({"_id": ObjectId(key)})
    return found
