"""The only place that queries the catalog's collections. Documents are raw dicts, camelCase, as clients read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import bson
from bson import ObjectId
from django.db import connection
from pymongo import UpdateOne

from booking_service.djongo.collections import TIMES_AS_STORED
from catalog.models import ANY_CASE, Service, ServiceChange
from catalog.search import Entry, SearchIndex, entry_of

Document = dict[str, Any]

IS_ACTIVE: Document = {"availability.isActive": True}
ACTIVE_OR_NOT: Document = {"availability.isActive": {"$in": [True, False]}}  # so that the index is used
IN_ORDER = [("sortOrder", 1), ("stats.totalBookings", -1), ("_id", 1)]
MOST_BOOKED = [("stats.totalBookings", -1), ("_id", 1)]
# What patients may see: a field that nobody put here, as an import may bring, is nobody's business.
PUBLIC = dict.fromkeys(
    (
        "name",
        "slug",
        "category",
        "subCategory",
        "displayName",
        "shortDescription",
        "longDescription",
        "pricing",
        "serviceDetails",
        "availability",
        "requirements",
        "included",
        "notIncluded",
        "faqs",
        "patientInstructions",
        "stats.totalBookings",
        "stats.avgRating",
        "stats.totalReviews",
        "stats.completionRate",
        "seo",
        "isFeatured",
        "isPopular",
        "sortOrder",
        "createdAt",
        "updatedAt",
    ),
    1,
)
SEARCHED_TEXTS = ("name", "displayName", "shortDescription", "longDescription", "seo.keywords")
SEARCHED = dict.fromkeys((*SEARCHED_TEXTS, "availability.isActive", "sortOrder"), 1)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Which active services are asked for; None asks for all."""

    category: str | None = None
    city: str | None = None
    is_featured: bool | None = None
    is_popular: bool | None = None

    def query(self) -> Document:
        wanted = {
            "category": self.category,
            "availability.availableCities": in_city(self.city) if self.city else None,
            "isFeatured": self.is_featured,
            "isPopular": self.is_popular,
        }
        return IS_ACTIVE | {path: value for path, value in wanted.items() if value is not None}


def in_city(city: str) -> Document:
    """What `availableCities` has to be: to name the city, or none, which means everywhere. In the index each is a
    point, so that MongoDB merges them in order."""
    return {"$in": [city, [], None]}


def services_on(shelf: Shelf, skip: int, limit: int) -> tuple[list[Document], int]:
    """A page of active services in the catalog's order, and how many there are in all."""
    query, options = shelf.query(), {"collation": ANY_CASE} if shelf.city else {}
    found = Service.objects.mongo_find(query, PUBLIC, sort=IN_ORDER, skip=skip, limit=limit, **options)
    return list(found), Service.objects.mongo_count_documents(query, **options)


def popular_services(limit: int) -> list[Document]:
    """Active services that staff call popular, most booked first."""
    return list(Service.objects.mongo_find(IS_ACTIVE | {"isPopular": True}, PUBLIC, sort=MOST_BOOKED, limit=limit))


def active_service(key: str) -> Document | None:
    """The active service of that id, slug or name, in this order."""
    queries: list[Document] = [{"slug": key.lower()}, {"name": key.upper()}]
    if ObjectId.is_valid(key):
        queries.insert(0, {"_id": ObjectId(key)})
    found = Service.objects.mongo_find({"$or": queries}, PUBLIC)
    ranked = sorted(found, key=lambda service: _closeness(service, key))
    return next((service for service in ranked if (service.get("availability") or {}).get("isActive")), None)


def _closeness(service: Document, key: str) -> int:
    # A name as it is written, which bookings use, comes before another service's slug that reads the same.
    names = [str(service["_id"]) == key.lower(), service["name"] == key, service.get("slug") == key.lower(), True]
    return names.index(True)


def service_named(names: Iterable[str]) -> Document | None:
    """The service, active or not, with the first of `names` that the catalog has."""
    wanted = list(names)
    found = {service["name"]: service for service in Service.objects.mongo_find({"name": {"$in": wanted}}, PUBLIC)}
    return next((found[name] for name in wanted if name in found), None)


def service_by_id(service_id: ObjectId) -> Document | None:
    """The whole document, active or not."""
    return Service.objects.mongo_find_one({"_id": service_id})


def service_whole(name: str) -> Document | None:
    """The whole document of that name, active or not."""
    return Service.objects.mongo_find_one({"name": name})


def services_by_id(service_ids: list[ObjectId]) -> list[Document]:
    """The public documents of `service_ids`, in that order."""
    found = {service["_id"]: service for service in Service.objects.mongo_find({"_id": {"$in": service_ids}}, PUBLIC)}
    return [found[service_id] for service_id in service_ids if service_id in found]


def search_index() -> bytes:
    """What search knows of every service, active or not, in the catalog's order; as bytes for the cache."""
    found = Service.objects.mongo_find({}, SEARCHED, sort=[("sortOrder", 1), ("_id", 1)])
    return bson.encode({"entries": [tuple(entry_of(service)) for service in found]})


def search_index_unpacked(body: bytes) -> SearchIndex:
    entries = bson.decode(body)["entries"]
    return SearchIndex(Entry._make((*known, tuple(ends))) for *known, ends in entries)


def search_index_updated(index: SearchIndex, service_ids: set[ObjectId]) -> SearchIndex:
    """The index with these services as they are now, or without them if they are gone."""
    found = Service.objects.mongo_find({"_id": {"$in": list(service_ids)}}, SEARCHED)
    return index.updated(service_ids, map(entry_of, found))


def service_add(document: Document) -> None:
    """Insert a whole document. Raises django.db.IntegrityError if its name or slug is taken."""
    Service.objects.mongo_insert_one(_storable(document))


def service_set(service_id: ObjectId, version: int, values: Mapping[str, Any], now: datetime) -> bool:
    """Write `values` if the document still has `version`; False if somebody was faster."""
    # The monolith's documents may lack a version, which reads as 0.
    query = {"_id": service_id, "__v": version or {"$in": [0, None]}}
    update = {"$set": _storable({**values, "updatedAt": now}), "$inc": {"__v": 1}}
    return bool(Service.objects.mongo_update_one(query, update).matched_count)


def service_patch(service_id: ObjectId, values: Mapping[str, Any], now: datetime) -> None:
    """Write single fields whatever the version; who has the document open will notice when saving."""
    Service.objects.mongo_update_one({"_id": service_id}, {"$set": {**values, "updatedAt": now}, "$inc": {"__v": 1}})


def change_add(change: Document) -> None:
    """Append to the history."""
    ServiceChange.objects.mongo_insert_one(change)


def changes_of(service_id: ObjectId, limit: int) -> list[Document]:
    """The latest changes of a service, newest first."""
    return list(ServiceChange.objects.mongo_find({"service": service_id}, sort=[("at", -1)], limit=limit))


def is_taken(field: str, value: str) -> bool:
    """Whether a service has that `name` or `slug`."""
    return Service.objects.mongo_find_one({field: value}, {"_id": 1}) is not None


def names_and_slugs() -> set[str]:
    """Every name and slug in use."""
    found = Service.objects.mongo_find({}, {"name": 1, "slug": 1, "_id": 0})
    return {text for service in found for text in service.values()}


def cities() -> list[str]:
    """Every city that a service names."""
    found = Service.objects.mongo_distinct("availability.availableCities", ACTIVE_OR_NOT)
    return sorted(city for city in found if isinstance(city, str))


def ids_in_city(city: str) -> list[ObjectId]:
    """The services, active or not, that are offered in the city."""
    wanted = ACTIVE_OR_NOT | {"availability.availableCities": in_city(city)}
    return [service["_id"] for service in Service.objects.mongo_find(wanted, {"_id": 1}, collation=ANY_CASE)]


def counts() -> tuple[int, int]:
    """How many services are active, and how many are not."""
    active = Service.objects.mongo_count_documents(IS_ACTIVE)
    return active, Service.objects.mongo_count_documents({}) - active


def most_booked(limit: int) -> list[Document]:
    """The active services with most bookings, of those that have any."""
    wanted = IS_ACTIVE | {"stats.totalBookings": {"$gt": 0}}
    return list(Service.objects.mongo_find(wanted, {"displayName": 1, "stats": 1}, sort=MOST_BOOKED, limit=limit))


def highest_sort_order() -> int:
    last = Service.objects.mongo_find_one({}, {"sortOrder": 1}, sort=[("sortOrder", -1)])
    return int((last or {}).get("sortOrder") or 0)


def rating_add(name: str, stars: int) -> None:
    """Count one review into the average, in one step: parallel reviews do not overwrite each other."""
    reviews, average = {"$ifNull": ["$stats.totalReviews", 0]}, {"$ifNull": ["$stats.avgRating", 0]}
    so_far = {"$ifNull": ["$stats.ratingSum", {"$multiply": [reviews, average]}]}
    Service.objects.mongo_update_one(
        {"name": name},
        [
            {"$set": {"stats.ratingSum": {"$add": [so_far, stars]}, "stats.totalReviews": {"$add": [reviews, 1]}}},
            {"$set": {"stats.avgRating": {"$round": [{"$divide": ["$stats.ratingSum", "$stats.totalReviews"]}, 2]}}},
        ],
    )


def booking_counts_add(counts: Mapping[str, int]) -> None:
    updates = [UpdateOne({"name": name}, {"$inc": {"stats.totalBookings": times}}) for name, times in counts.items()]
    Service.objects.mongo_bulk_write(updates, ordered=False)


def packed(document: Document | None) -> bytes:
    """The document as bytes for the cache; nothing as none."""
    return b"" if document is None else bson.encode(document)


def unpacked(body: bytes) -> Document | None:
    return bson.decode(body, TIMES_AS_STORED) if body else None


def document_of(service: Service) -> Document:
    """The typed document as it is stored: its document field names, without what is empty or counted elsewhere."""
    document = {
        field.column: _stored(getattr(service, field.attname), field) for field in service._meta.concrete_fields
    }
    return {name: value for name, value in document.items() if name not in NOT_EDITED and value is not None}


NOT_EDITED = {"_id", "stats", "createdAt", "updatedAt", "__v"}


def _stored(value: Any, field: Any) -> Any:
    stored = field.get_db_prep_save(value, connection=connection)
    return _without_nothing(stored)


def _storable(value: Any) -> Any:
    """Python's decimals as MongoDB's; all else as it is."""
    if isinstance(value, Decimal):
        return bson.Decimal128(value)
    if isinstance(value, dict):
        return {name: _storable(part) for name, part in value.items()}
    return [_storable(part) for part in value] if isinstance(value, list) else value


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nothing(part) for name, part in value.items() if part is not None}
    return [_without_nothing(part) for part in value] if isinstance(value, list) else value
