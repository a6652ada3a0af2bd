"""The only place of this app that queries: the collections it fills, the quarantine, and the monolith's database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import bson
from bson import Decimal128, ObjectId
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON, InvalidDocument
from bson.raw_bson import RawBSONDocument
from django.db import DatabaseError, connection
from pymongo import InsertOne, MongoClient, ReadPreference, ReplaceOne, UpdateOne

from booking_service.djongo import transaction
from booking_service.djongo.errors import driver_error
from bookings.models import Booking
from catalog.models import Service
from monolith.conversion import Document
from monolith.models import ImportRun, QuarantinedDocument
from monolith.sources import DECODED, Read, decoded, digest_of
from patients.models import Patient

OWNERS = {"servicecatalogs": Service, "patients": Patient, "nursebookings": Booking}
# What only this service writes, some of it without a new `updatedAt`, such as a sign-out.
OURS = {"servicecatalogs": (), "patients": ("signedOutAt",), "nursebookings": ("reminders", "notifications")}
LARGEST = 16 << 20  # bytes of a document, MongoDB's limit
# So long after its `updatedAt` a document may become visible: clocks differ, and a secondary is behind.
LATE = timedelta(minutes=10)


class MonolithDatabase:
    """The monolith's own database, read where it stands."""

    is_live = True

    def __init__(self, uri: str) -> None:
        self._client = MongoClient[Document](uri, appname="import_monolith", readPreference="secondaryPreferred")
        self._database = self._client.get_default_database()
        self._hello = self._database.command("hello")
        self.digest = digest_of(*_servers(self._hello, uri), self._database.name)

    def identity(self) -> tuple[Any, str]:
        """Which database this is: its servers' replica set id or address, and its name."""
        process = self._hello.get("topologyVersion", {}).get("processId")
        return process or self._client.address, self._database.name

    def count(self, collection: str) -> int:
        return self._database[collection].estimated_document_count()

    def read(self, collection: str, since: datetime | None) -> Iterator[Read]:
        """What changed last is read from the primary: after the last catch-up nobody reads again."""
        options = CodecOptions(RawBSONDocument)
        documents = self._database[collection].with_options(options, ReadPreference.PRIMARY if since else None)
        for document in documents.find(_changed(since) if since else {}).sort("_id", 1):
            yield _decoded(document.raw)


def _changed(since: datetime) -> Document:
    """All but what a date says it was before `since`: MongoDB compares that with nothing else, save in a list."""
    return {"$or": [{"updatedAt": {"$not": {"$lt": since}}}, {"updatedAt": {"$type": "array"}}]}


def _servers(hello: Document, uri: str) -> list[str]:
    """What tells a database's servers from others: a replica set's own names, for through tunnels all are `localhost`;
    the hosts of `uri` where it is none."""
    if hello.get("hosts"):
        return [hello["setName"], *sorted(hello["hosts"])]
    return sorted(urlsplit(uri).netloc.rpartition("@")[2].lower().split(","))


def _decoded(document: bytes | memoryview) -> Read:
    try:
        found = decoded(document)
        return Read(str(found.get("_id")), found)
    except (InvalidBSON, InvalidDocument) as error:
        found = bson.decode(document, DECODED.with_options(unicode_decode_error_handler="replace"))
        fault = f"a text in it is none, or it is too large or too deep ({type(error).__name__})"
        return Read(str(found.get("_id")), fault=fault, text=str(found))


def target_identity() -> tuple[Any, str]:
    """As `MonolithDatabase.identity`, of the database that is filled."""
    hello = connection.database.command("hello")  # type: ignore[attr-defined]
    return hello.get("topologyVersion", {}).get("processId"), str(connection.settings_dict["NAME"])


@dataclass(frozen=True, slots=True)
class Kept:
    """What is here already of a document: the import that brought it, and whether anybody changed it since."""

    fingerprint: str | None
    updated_at: datetime | None
    is_untouched: bool
    findings: Sequence[Mapping[str, str]]


def kept(collection: str, ids: Iterable[ObjectId]) -> dict[ObjectId, Kept]:
    """Those of `ids` that are here."""
    wanted = dict.fromkeys(
        ("monolith.fingerprint", "monolith.updatedAt", "monolith.findings", "updatedAt", "version"), 1
    )
    found = OWNERS[collection].objects.mongo_find({"_id": {"$in": list(ids)}}, wanted)
    return {document["_id"]: _kept(document) for document in found}


def _kept(document: Document) -> Kept:
    mark = document.get("monolith") or {}
    untouched = document.get("updatedAt") == mark.get("updatedAt") and document.get("version", 1) == 1
    return Kept(
        mark.get("fingerprint"), document.get("updatedAt"), bool(mark) and untouched, mark.get("findings") or ()
    )


def documents(collection: str, ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
    """The whole documents of `ids` that are here."""
    found = OWNERS[collection].objects.mongo_find({"_id": {"$in": list(ids)}})
    return {document["_id"]: document for document in found}


def known_patients(ids: Iterable[ObjectId]) -> set[ObjectId]:
    """Those of `ids` that are patients here."""
    found = Patient.objects.mongo_find({"_id": {"$in": list(set(ids))}}, {"_id": 1})
    return {document["_id"] for document in found}


@dataclass(frozen=True, slots=True)
class Put:
    """A document to be written; `replaces` is the `updatedAt` of the imported one it takes the place of."""

    document: Document
    is_new: bool
    replaces: datetime | None = None


def write(collection: str, puts: Sequence[Put]) -> dict[ObjectId, set[str]]:
    """Write all that can be written; for each that a unique index refused, the fields of that index, and none for each
    that MongoDB refused for another reason.

    A document that somebody changed in the meantime is refused with {"updatedAt"}. One that is replaced keeps what only
    this service writes, as it stands at that moment.

    Raises:
        django.db.DatabaseError: what is not about single documents.
    """
    if not puts:
        return {}
    if too_large := {put.document["_id"] for put in puts if len(bson.encode(put.document)) > LARGEST}:
        others = [put for put in puts if put.document["_id"] not in too_large]
        return {key: set() for key in too_large} | write(collection, others)
    operations = [
        InsertOne(put.document)
        if put.is_new
        else UpdateOne({"_id": put.document["_id"], "updatedAt": put.replaces}, _replacing(collection, put.document))
        for put in puts
    ]
    refused: dict[ObjectId, set[str]] = {}
    try:
        OWNERS[collection].objects.mongo_bulk_write(operations, ordered=False)
    except DatabaseError as error:
        details = getattr(driver_error(error), "details", None) or {}
        faults = details.get("writeErrors") or []
        if not faults:
            raise
        refused = {puts[fault["index"]].document["_id"]: set(fault.get("keyPattern", ())) for fault in faults}
        if transaction.in_transaction():  # which is lost with them, and can be asked nothing more
            return refused
    replaced = [put for put in puts if not put.is_new and put.document["_id"] not in refused]
    return refused | _changed_meanwhile(collection, replaced)


def _replacing(collection: str, document: Document) -> list[Document]:
    """The update that puts `document` in place of the stored one, whose own part the server takes over itself."""
    ours: Document = {name: f"${name}" for name in OURS[collection]}
    if collection == "servicecatalogs":  # whoever has the service open will notice when saving
        ours["__v"] = {"$add": [{"$ifNull": ["$__v", 0]}, 1]}
    if collection == "patients":
        ours["password"] = {"$cond": [_is_new_hash(document), "$password", {"$literal": document["password"]}]}
        ours["sessions"] = {"$cond": [_has_same_password(document), "$sessions", []]}
    return [{"$replaceWith": {"$mergeObjects": [{"$literal": document}, ours]}}]


def _has_same_password(document: Document) -> Document:
    """Whether the stored patient's password was last changed when that of `document` was."""
    changed_at = document.get("passwordChangedAt")
    return {"$eq": [{"$ifNull": ["$passwordChangedAt", None]}, {"$literal": changed_at}]}


def _is_new_hash(document: Document) -> Document:
    """Whether the stored patient's password is still that of `document`, hashed anew when it was used here."""
    return {"$and": [_has_same_password(document), {"$regexMatch": {"input": "$password", "regex": "^argon2"}}]}


def _changed_meanwhile(collection: str, replaced: Sequence[Put]) -> dict[ObjectId, set[str]]:
    wanted = {put.document["_id"]: put.document["monolith"]["fingerprint"] for put in replaced}
    here = kept(collection, wanted) if wanted else {}
    return {key: {"updatedAt"} for key, mark in wanted.items() if key not in here or here[key].fingerprint != mark}


def services_named_as(document: Document) -> list[Document]:
    """The other services with the name or the slug of `document`."""
    names = [{"name": document["name"]}, {"slug": document["slug"]}]
    return list(Service.objects.mongo_find({"$or": names, "_id": {"$ne": document["_id"]}}))


def service_remove(service_id: ObjectId) -> None:
    """Take a seeded service away, for the monolith's takes its place."""
    Service.objects.mongo_delete_one({"_id": service_id})


def services() -> list[Document]:
    """Every service of the catalog here."""
    return list(Service.objects.mongo_find({}))


# --- quarantine and runs ----------------------------------------------------------------------------------------------
def quarantine_put(entries: Sequence[Document]) -> None:
    """Keep documents that were not taken; one entry each, however often they are read."""
    operations = [ReplaceOne({"_id": entry["_id"]}, entry, upsert=True) for entry in entries]
    if operations:
        QuarantinedDocument.objects.mongo_bulk_write(operations, ordered=False)


def quarantine_kept(ids: Iterable[str]) -> dict[str, str]:
    """The fingerprints of those entries that are in the quarantine."""
    found = QuarantinedDocument.objects.mongo_find({"_id": {"$in": list(ids)}}, {"fingerprint": 1})
    return {entry["_id"]: entry.get("fingerprint", "") for entry in found}


def quarantine_release(ids: Sequence[str]) -> None:
    """Forget entries whose documents were taken after all."""
    if ids:
        QuarantinedDocument.objects.mongo_delete_many({"_id": {"$in": list(ids)}})


def run_add(source: str, began_at: datetime, ended_at: datetime, *, verified: bool) -> None:
    """Note a run over `source` that came to its end, and before whose begin nothing of it is left to be read."""
    ImportRun.objects.mongo_insert_one(
        {"_id": ObjectId(), "source": source, "beganAt": began_at, "endedAt": ended_at, "verified": verified}
    )


def catch_up_from(source: str) -> datetime | None:
    """When the latest noted run over `source` began, and LATE earlier."""
    last = ImportRun.objects.mongo_find_one({"source": source}, sort=[("beganAt", -1)])
    return last["beganAt"] - LATE if last else None


# --- counters and verification ----------------------------------------------------------------------------------------
def counters_recompute() -> None:
    """Set the counters of patients and services to what the bookings here add up to, on the server."""
    paid = {"$cond": [{"$eq": ["$payment.status", "PAID"]}, {"$ifNull": ["$payment.paidAmount", 0]}, 0]}
    totals = {"totalBookings": {"$sum": 1}, "totalSpent": {"$sum": paid}}
    _merge(
        {"_id": "$patient", **totals},
        "patients",
        {"totalBookings": "$$new.totalBookings", "totalSpent": "$$new.totalSpent"},
    )


def service_counters_set(names: Mapping[str, str]) -> None:
    """Set each service's `stats` to what the bookings of its type names (`names`: type → service) add up to."""
    paid = {"$cond": [{"$eq": ["$payment.status", "PAID"]}, {"$ifNull": ["$payment.paidAmount", 0]}, 0]}
    stars = {"$ifNull": ["$rating.stars", None]}
    group = {
        "_id": "$serviceType",
        "bookings": {"$sum": 1},
        "revenue": {"$sum": paid},
        "stars": {"$sum": stars},
        "reviews": {"$sum": {"$cond": [{"$gt": [stars, None]}, 1, 0]}},
        "completed": {"$sum": {"$cond": [{"$eq": ["$status", "COMPLETED"]}, 1, 0]}},
    }
    sums: dict[str, Document] = {}
    for found in Booking.objects.mongo_aggregate([{"$group": group}], allowDiskUse=True):
        total = sums.setdefault(names.get(found["_id"], found["_id"]), dict.fromkeys(group, 0))
        for name in ("bookings", "stars", "reviews", "completed"):
            total[name] += found[name]
        total["revenue"] += _decimal(found["revenue"])
    for name, total in sums.items():
        Service.objects.mongo_update_one({"name": name}, {"$set": _stats(total)})


def _stats(total: Document) -> Document:
    return {
        "stats.totalBookings": total["bookings"],
        "stats.totalRevenue": Decimal128(Decimal(total["revenue"])),
        "stats.ratingSum": total["stars"],
        "stats.totalReviews": total["reviews"],
        "stats.avgRating": round(total["stars"] / total["reviews"], 2) if total["reviews"] else 0,
    }


def _merge(group: Document, into: str, fields: Document) -> None:
    stages: list[Document] = [
        {"$group": group},
        {"$merge": {"into": into, "on": "_id", "whenMatched": [{"$set": fields}], "whenNotMatched": "discard"}},
    ]
    list(Booking.objects.mongo_aggregate(stages, allowDiskUse=True))


def tally(collection: str, ids: Sequence[ObjectId], money: str | None) -> tuple[int, Decimal]:
    """How many of `ids` are here, and what their amounts at the path `money` add up to."""
    amount: Any = {"$sum": f"${money}"} if money else {"$sum": 0}
    stages: list[Document] = [
        {"$match": {"_id": {"$in": list(ids)}}},
        {"$group": {"_id": None, "n": {"$sum": 1}, "sum": amount}},
    ]
    found = next(iter(OWNERS[collection].objects.mongo_aggregate(stages)), None)
    return (found["n"], _decimal(found["sum"])) if found else (0, Decimal(0))


def _decimal(value: Any) -> Decimal:
    return value.to_decimal() if isinstance(value, Decimal128) else Decimal(str(value))
