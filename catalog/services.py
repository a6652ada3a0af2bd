"""Use cases of the catalog.

Every change of a service goes through here: judged by `rules`, written together with its history, and wrapped in
`catalog_cache.changing(…)`, so that readers everywhere see it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId
from django.conf import settings
from django.db import IntegrityError

from booking_service.api.callers import Caller
from booking_service.api.errors import FieldError
from booking_service.api.request_id import current_request_id
from booking_service.djongo import transaction
from catalog import repositories, rules, search, seed_rows
from catalog.cache import catalog_cache
from catalog.changes import differences
from catalog.exceptions import NameTaken, ServiceChanged, ServiceNotFound, ServiceNotSound
from catalog.pricing import Quote, quote
from catalog.repositories import Shelf
from catalog.terms import CatalogService, service_of

__all__ = ["CatalogService", "Quote", "Shelf"]

MOST_FEATURED = 6
LONGEST_KEY = 100

# Names that the monolith's clients put into a booking, where its catalog had another one.
MONOLITH_NAMES = {
    "INJECTION": "INJECTION_IM",
    "ELDERLY_CARE": "ELDERLY_CARE_DAILY",
    "PHYSIOTHERAPY_SESSION": "PHYSIO_SESSION",
    "BACK_PAIN_THERAPY": "BACK_PAIN_PHYSIO",
    "KNEE_PAIN_THERAPY": "KNEE_PAIN_PHYSIO",
    "ELDERLY_CARE_PACKAGE": "ELDERLY_CARE_MONTHLY",
    "POST_SURGERY_PACKAGE": "POST_SURGERY_14DAY",
}

Document = dict[str, Any]


# --- reading ---------------------------------------------------------------------------------------------------------
def services_page(shelf: Shelf, *, skip: int, limit: int) -> tuple[list[Document], int]:
    """A page of what patients may see, by sort order, then most booked; and how many there are in all."""
    return repositories.services_on(shelf, skip, limit)


def services_featured() -> list[Document]:
    """At most MOST_FEATURED services that staff feature."""
    return repositories.services_on(Shelf(is_featured=True), 0, MOST_FEATURED)[0]


def services_popular(*, limit: int) -> list[Document]:
    """Services that staff call popular, most booked first."""
    return repositories.popular_services(limit)


def services_search(query: str, *, skip: int, limit: int) -> tuple[list[Document], int]:
    """A page of the active services that hold `query` literally, best match first; and how many there are in all."""
    found = [entry.service for entry in _matching(query) if entry.is_active]
    return repositories.services_by_id(found[skip : skip + limit]), len(found)


def service_ids_matching(query: str) -> list[ObjectId]:
    """All services, active or not, that hold the text literally; for staff."""
    return [entry.service for entry in _matching(query)]


def _matching(query: str) -> list[search.Entry]:
    wanted = search.normalised(query)
    if not wanted:
        return []
    index = catalog_cache.follow(
        "search-index",
        repositories.search_index,
        repositories.search_index_unpacked,
        repositories.search_index_updated,
    )
    return index.matches(wanted)


def service_public(key: str) -> Document | None:
    """The active service of that id, slug or name, as patients read it; None when there is none."""
    return repositories.active_service(key) if len(key) <= LONGEST_KEY else None


def service_find(key: str) -> CatalogService:
    """The active service of that id, slug or name, from the cache. Raises ServiceNotFound."""
    if len(key) > LONGEST_KEY:
        raise ServiceNotFound
    return _kept(f"find:{key}", lambda: repositories.packed(repositories.active_service(key)))


def service_resolve(service_type: str) -> CatalogService:
    """The service, active or not, that a booking's `serviceType` means, from the cache: an exact name wins over the
    monolith's map. Raises ServiceNotFound."""
    if len(service_type) > LONGEST_KEY:
        raise ServiceNotFound
    names = [service_type, MONOLITH_NAMES.get(service_type, service_type)]
    return _kept(f"resolve:{service_type}", lambda: repositories.packed(repositories.service_named(names)))


def service_quote(service: CatalogService, at: datetime) -> Quote:
    """What a booking of a visit that starts at the instant `at` is charged."""
    return quote(service, at.astimezone(ZoneInfo(settings.SERVICE_TIME_ZONE)))


def _kept(key: str, build: Any) -> CatalogService:
    service = catalog_cache.read(key, build, _loaded)
    if service is None:
        raise ServiceNotFound
    return service


def _loaded(body: bytes) -> CatalogService | None:
    document = repositories.unpacked(body)
    return service_of(document) if document else None


# --- changing --------------------------------------------------------------------------------------------------------
def service_create(*, actor: Caller, document: Mapping[str, Any], action: str = "CREATED") -> ObjectId:
    """Add a service.

    Args:
        document: the fields that staff edit, camelCase as stored.

    Raises:
        ServiceNotSound: with all that is wrong.
        NameTaken: the name or the slug.
    """
    _require_sound(document)
    now = datetime.now(UTC)
    whole = {
        **_without_counts(document),
        "_id": ObjectId(),
        "stats": _no_stats(),
        "createdAt": now,
        "updatedAt": now,
        "__v": 0,
    }
    with catalog_cache.changing([whole["_id"]]):
        _unless_taken(_create, actor, whole, action)
    return whole["_id"]


def service_update(
    *, actor: Caller, service_id: ObjectId, version: int, document: Mapping[str, Any], action: str = "UPDATED"
) -> None:
    """Replace what staff edit of a service that they read at `version`.

    Raises:
        ServiceNotSound: with all that is wrong, a new name for one that bookings know included.
        ServiceChanged: somebody else saved it since; nothing was written.
        NameTaken: the name or the slug.
        ServiceNotFound
    """
    _require_sound(document)
    with catalog_cache.changing([service_id]):
        _unless_taken(_update, actor, service_id, version, _without_counts(document), action)


def service_copy(*, actor: Caller, service_id: ObjectId) -> ObjectId:
    """A copy under a free name, inactive until staff have looked at it.

    Raises:
        ServiceNotSound: the original, which an import may have brought, is not either.
        ServiceNotFound
    """
    original = repositories.service_by_id(service_id)
    if original is None:
        raise ServiceNotFound
    taken = names_taken()
    name, title = original["name"], original.get("displayName") or original["name"]
    slug = original.get("slug") or name.lower().replace("_", "-")
    copy = {field: value for field, value in _without_counts(original).items() if field != "monolith"} | {
        "name": free_name(f"{name[:50]}_COPY", taken, "_"),
        "slug": free_name(f"{slug[:90]}-copy", taken, "-"),
        "displayName": f"{title[:92]} (copy)",
        "availability": (original.get("availability") or {}) | {"isActive": False},
        "isFeatured": False,
        "isPopular": False,
        "sortOrder": repositories.highest_sort_order() + 1,
    }
    return service_create(actor=actor, document=copy, action="COPIED")


def services_activate(*, actor: Caller, service_ids: Iterable[ObjectId]) -> int:
    """Offer services to patients; how many of them were not offered before."""
    return _patch_all(actor, {service_id: {"availability.isActive": True} for service_id in service_ids}, "ACTIVATED")


def services_deactivate(*, actor: Caller, service_ids: Iterable[ObjectId]) -> int:
    """Take services out of what patients see and book; how many of them were offered before."""
    return _patch_all(
        actor, {service_id: {"availability.isActive": False} for service_id in service_ids}, "DEACTIVATED"
    )


def services_reorder(*, actor: Caller, orders: Mapping[ObjectId, int]) -> int:
    """Give services new places in the list; how many of them moved."""
    return _patch_all(actor, {service_id: {"sortOrder": place} for service_id, place in orders.items()}, "MOVED")


def service_document(*, name: str) -> Document | None:
    """The whole document of exactly that name, active or not, past the cache; for those who will change it."""
    return repositories.service_whole(name)


def names_taken() -> set[str]:
    """Every name and slug in use."""
    return repositories.names_and_slugs()


def service_history(service_id: ObjectId, *, limit: int = 100) -> list[Document]:
    """Who changed what, newest first."""
    return repositories.changes_of(service_id, limit)


def service_review_add(*, name: str, stars: int) -> None:
    """Count a review into the service's average; within the caller's transaction, if there is one.

    As with bookings, what is cached shows it at most KEEP_SECONDS late: there are reviews every second.
    """
    repositories.rating_add(_catalog_name(name), stars)


def services_booked(counts: Mapping[str, int]) -> None:
    """Count bookings, by the service's name. Call it after the commit: within, one document would line up all bookings.

    The count orders lists and is not worth forgetting every answer for: they show it at most KEEP_SECONDS late.
    """
    repositories.booking_counts_add(counts)


def services_imported() -> None:
    """Let everybody see what came into the collection past this app, by an import."""
    catalog_cache.renew()


def free_name(wish: str, taken: set[str], joint: str) -> str:
    """`wish`, or `wish_2`, `wish_3`, … if it is taken."""
    number, name = 1, wish
    while name in taken:
        number += 1
        name = f"{wish}{joint}{number}"
    return name


def _catalog_name(service_type: str) -> str:
    """The name in the catalog; the given one where the catalog knows none, so that nothing is counted."""
    try:
        return service_resolve(service_type).name
    except ServiceNotFound:
        return service_type


def _require_sound(document: Mapping[str, Any]) -> None:
    _refuse(rules.faults(document))


def _refuse(faults: list[FieldError]) -> None:
    if faults:
        raise ServiceNotSound(errors=faults)


def _unless_taken(write: Any, *args: Any) -> None:
    try:
        transaction.run(write, *args)
    except IntegrityError as error:
        raise NameTaken from error


def _create(actor: Caller, document: Document, action: str) -> None:
    repositories.service_add(document)
    _record(actor, {}, document, action)


def _update(actor: Caller, service_id: ObjectId, version: int, values: Document, action: str) -> None:
    before = _require(service_id)
    _refuse(rules.renaming_faults(before, values["name"], seed_rows.names()))
    if not repositories.service_set(service_id, version, values, datetime.now(UTC)):
        raise ServiceChanged
    _record(actor, before, before | values | {"__v": version + 1}, action)


def _patch_all(actor: Caller, patches: Mapping[ObjectId, Document], action: str) -> int:
    with catalog_cache.changing(patches):
        return sum(transaction.run(_patch, actor, service_id, values, action) for service_id, values in patches.items())


def _patch(actor: Caller, service_id: ObjectId, values: Document, action: str) -> bool:
    before = _require(service_id)
    if all(_at(before, path) == value for path, value in values.items()):
        return False
    repositories.service_patch(service_id, values, datetime.now(UTC))
    _record(actor, before, _require(service_id), action)
    return True


def _require(service_id: ObjectId) -> Document:
    document = repositories.service_by_id(service_id)
    if document is None:
        raise ServiceNotFound
    return document


def _record(actor: Caller, before: Document, after: Document, action: str) -> None:
    """What belongs to every change: its place in the history."""
    repositories.change_add(
        {
            "service": after["_id"],
            "serviceName": after["name"],
            "action": action,
            "actor": actor.name or actor.role.capitalize(),
            "role": str(actor.role),
            "at": datetime.now(UTC),
            "requestId": current_request_id(),
            "version": after.get("__v") or 0,
            "changes": differences(_without_counts(before), _without_counts(after)),
        }
    )


def _without_counts(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if name not in repositories.NOT_EDITED}


def _no_stats() -> Document:
    return {
        "totalBookings": 0,
        "totalRevenue": 0,
        "avgRating": 0,
        "totalReviews": 0,
        "ratingSum": 0,
        "completionRate": 100,
    }


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        value = (value or {}).get(name)
    return value
