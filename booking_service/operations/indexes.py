"""The indexes the documents declare, held against those MongoDB has and uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.db import connection
from djongo.models import DjongoManager, Model

from booking_service.djongo.indexes import DocumentIndex

PRIMARY_KEY = "_id_"
# What makes two indexes of one name different: the rest MongoDB adds by itself.
COMPARED_OPTIONS = ("key", "unique", "partialFilterExpression", "expireAfterSeconds", "collation")
COMPARED_COLLATION = ("locale", "strength")


class Fault(StrEnum):
    """Why a deployment should look at an index."""

    MISSING = "missing"  # declared, not built: its queries scan the collection
    DIFFERENT = "different"  # built otherwise than declared
    UNDECLARED = "undeclared"  # built, declared nowhere: writes pay for it
    UNUSED = "unused"  # no query used it since MongoDB started counting


@dataclass(frozen=True)
class Finding:
    """One index that is not as it should be; `since` is when MongoDB began to count its uses."""

    collection: str
    index: str
    fault: Fault
    since: datetime | None = None

    def __str__(self) -> str:
        counted = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return f"{self.collection}.{self.index}: {self.fault}{counted}"


def documents() -> list[type[Model]]:
    """Every document of the service, whatever its kind of id; Django's own tables are Django's to keep."""
    return [model for model in apps.get_models() if isinstance(model._default_manager, DjongoManager)]


def findings() -> Iterator[Finding]:
    """What is amiss with the indexes of every collection, those with a fault that slows queries first."""
    found = [finding for model in documents() for finding in collection_findings(model)]
    yield from sorted(found, key=lambda finding: list(Fault).index(finding.fault))


def collection_findings(model: type[Model]) -> Iterator[Finding]:
    """What is amiss with the indexes of one collection."""
    name = model._meta.db_table
    declared = {index.name: options(index) for index in model._meta.indexes if isinstance(index, DocumentIndex)}
    # Of the connection: a model may refuse its callers what only reads, such as the audit does.
    collection = connection.database[name]  # type: ignore[attr-defined]  # the engine's, unknown to Django
    built = {row["name"]: row for row in collection.aggregate([{"$indexStats": {}}])}
    built.pop(PRIMARY_KEY, None)
    for index in declared.keys() - built.keys():
        yield Finding(name, index, Fault.MISSING)
    for index in built.keys() - declared.keys():
        yield Finding(name, index, Fault.UNDECLARED)
    for index in declared.keys() & built.keys():
        row = built[index]
        if options_of(row["spec"]) != declared[index]:
            yield Finding(name, index, Fault.DIFFERENT)
        elif row["accesses"]["ops"] == 0 and not declared[index].keys() & {"unique", "expireAfterSeconds"}:
            yield Finding(name, index, Fault.UNUSED, since=row["accesses"]["since"])


def options(index: DocumentIndex) -> dict[str, Any]:
    """The options of a declared index that decide what it can serve."""
    return options_of(index.document_index().document)


def options_of(spec: Any) -> dict[str, Any]:
    """The compared options of MongoDB's description of an index; a key's order counts."""
    compared = {name: spec[name] for name in COMPARED_OPTIONS if name in spec}
    compared["key"] = list(spec["key"].items())
    if "collation" in spec:
        compared["collation"] = {name: spec["collation"].get(name) for name in COMPARED_COLLATION}
    return compared
