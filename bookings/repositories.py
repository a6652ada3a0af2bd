"""The only place that queries bookings and slot claims. Documents are raw dicts with the collection's names."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson import ObjectId
from django.db import IntegrityError
from pymongo import ReturnDocument

from booking_service.api.pagination import Page
from booking_service.djongo.errors import duplicate_keys
from bookings.models import Booking, SeatChange, SlotClaim

Document = dict[str, Any]

# What no list shows: it grows, or is nobody's business.
NOT_LISTED = {"timeline": 0, "claims": 0, "messages": 0, "tracking": 0, "monolith": 0}
NOT_READ = {"timeline": 0, "claims": 0, "monolith": 0}

SEAT = "seat"  # claims on places of a service begin with it

ORDERS = {
    "-createdAt": [("createdAt", -1), ("_id", -1)],
    "startsAt": [("startsAt", 1), ("_id", 1)],
    "-startsAt": [("startsAt", -1), ("_id", -1)],
}


@dataclass(frozen=True, slots=True)
class BookingFilter:
    """Which bookings of one patient or one provider. `starts_from` is included, `starts_before` is not."""

    patient: ObjectId | None = None
    provider: ObjectId | None = None
    statuses: Collection[str] = ()
    service_type: str | None = None
    starts_from: datetime | None = None
    starts_before: datetime | None = None
    ends_after: datetime | None = None

    def query(self) -> Document:
        """As MongoDB wants it. There is always an owner, so there is always an index."""
        owner = {"patient": self.patient} if self.patient is not None else {"serviceProvider": self.provider}
        query: Document = dict(owner)
        if self.statuses:
            query["status"] = {"$in": sorted(self.statuses)}
        if self.service_type is not None:
            query["serviceType"] = self.service_type
        starts = {"$gte": self.starts_from, "$lt": self.starts_before}
        if starts := {operator: bound for operator, bound in starts.items() if bound is not None}:
            query["startsAt"] = starts
        if self.ends_after is not None:
            query["endsAt"] = {"$gt": self.ends_after}
        return query


# --- bookings --------------------------------------------------------------------------------------------------------
def booking_add(document: Document) -> None:
    """Store a new booking, inside the caller's transaction."""
    Booking.objects.mongo_insert_pipelined([document])


def booking_find(booking_id: ObjectId, owner: Mapping[str, Any]) -> Document | None:
    """The booking for display, if `owner` (`{"patient": id}`, `{"serviceProvider": id}` or {}) has it."""
    return Booking.objects.mongo_for_display.find_one({"_id": booking_id, **owner}, NOT_READ)


def booking_load(booking_id: ObjectId, owner: Mapping[str, Any]) -> Document | None:
    """The whole booking, timeline and claims included."""
    return Booking.objects.mongo_find_one({"_id": booking_id, **owner})


def booking_change(
    booking_id: ObjectId,
    expected: Mapping[str, Any],
    *,
    fields: Mapping[str, Any],
    removed: Iterable[str] = (),
    entry: Mapping[str, Any] | None = None,
    added: Mapping[str, Any] | None = None,
) -> Document | None:
    """Change the booking if it still is as `expected`; the whole document afterwards, or None when it no longer was.

    Args:
        fields: dotted paths and their new values. `removed` paths go, `added` numbers are added.
        entry: what the timeline gets, in the same write.
    """
    update: Document = {"$set": dict(fields), "$inc": {"version": 1, **(added or {})}}
    if gone := dict.fromkeys(removed, ""):
        update["$unset"] = gone
    if entry is not None:
        update["$push"] = {"timeline": entry}
    return Booking.objects.mongo_find_one_and_update(
        {"_id": booking_id, **expected}, update, return_document=ReturnDocument.AFTER
    )


def booking_note(booking_id: ObjectId, expected: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Note on the booking what is no change of it (its version stays), if it is as `expected`; whether it was."""
    return bool(Booking.objects.mongo_update_one({"_id": booking_id, **expected}, {"$set": dict(fields)}).matched_count)


def bookings_page(wanted: BookingFilter, order: str, page: Page) -> tuple[list[Document], int]:
    """One page for display and the number of all, in one round trip: the count comes as the last row."""
    query = wanted.query()
    count = {"coll": Booking._meta.db_table, "pipeline": [{"$match": query}, {"$count": "total"}]}
    stages: list[Document] = [
        {"$match": query},
        {"$sort": dict(ORDERS[order])},
        {"$skip": page.skip},
        {"$limit": page.limit},
        {"$project": NOT_LISTED},
        {"$unionWith": count},
    ]
    *found, last = Booking.objects.mongo_for_display.aggregate_page(stages) or [{"total": 0}]
    return found, last["total"]


def booking_status(booking_id: ObjectId) -> str | None:
    """The booking's status, None when there is no such booking."""
    found = Booking.objects.mongo_find_one({"_id": booking_id}, {"status": 1})
    return None if found is None else str(found["status"])


def bookings_unassigned(
    statuses: Iterable[str], *, until: datetime, limit: int, besides: Collection[ObjectId] = ()
) -> list[ObjectId]:
    """Bookings in `statuses` whose visit should have begun by `until`, without those of `besides`."""
    query = {"status": {"$in": sorted(statuses)}, "startsAt": {"$lte": until}, "_id": {"$nin": list(besides)}}
    return [found["_id"] for found in Booking.objects.mongo_find(query, {"_id": 1}, limit=limit)]


def bookings_unpaid(
    statuses: Iterable[str], *, created_until: datetime, limit: int, besides: Collection[ObjectId] = ()
) -> list[ObjectId]:
    """Bookings in `statuses` to be paid online that nobody has paid since `created_until`, without those of `besides`,
    those with money that does not fit and was not given back, and those that became payable or got an order later."""
    not_given_back = {"amount": {"$gt": 0}, "refundedAt": None}
    query = {
        "_id": {"$nin": list(besides)},
        "status": {"$in": sorted(statuses)},
        "createdAt": {"$lte": created_until},
        "payment.method": "ONLINE",
        "payment.status": {"$in": ["PENDING", "FAILED"]},
        "payment.dueSince": {"$not": {"$gt": created_until}},
        "payment.order.openedAt": {"$not": {"$gt": created_until}},
        "payment.discrepancies": {"$not": {"$elemMatch": not_given_back}},
        "payment.moreDiscrepancies": None,
    }
    return [found["_id"] for found in Booking.objects.mongo_find(query, {"_id": 1}, limit=limit)]


def bookings_to_remind(
    statuses: Iterable[str],
    kind: str,
    *,
    after: datetime,
    until: datetime,
    limit: int,
    besides: Collection[ObjectId] = (),
) -> list[Document]:
    """Bookings in `statuses` that begin after `after` and by `until`, and have no note of a reminder of `kind`; without
    those of `besides`."""
    query = {
        "_id": {"$nin": list(besides)},
        "status": {"$in": sorted(statuses)},
        "startsAt": {"$gt": after, "$lte": until},
        f"reminders.{kind}": None,
    }
    return list(Booking.objects.mongo_find(query, limit=limit))


# --- slot claims -----------------------------------------------------------------------------------------------------
def claims_add(booking_id: ObjectId, claim_ids: Iterable[str], expires_at: datetime) -> str | None:
    """Take the claims in the caller's transaction: None, or the id of one that another booking has; it is lost then."""
    wanted = list(claim_ids)
    rows = [{"_id": claim_id, "booking": booking_id, "expiresAt": expires_at} for claim_id in wanted]
    if not rows:
        return None
    _tell_places(wanted)  # first, so that it is sent along with them
    try:
        SlotClaim.objects.mongo_insert_in_transaction(rows)
    except IntegrityError as error:
        return str(duplicate_keys(error)[0]["_id"])
    return None


def claims_remove(booking_id: ObjectId, claim_ids: Iterable[str]) -> int:
    """Give the booking's claims back; how many there were. Claims of others stay."""
    wanted = list(claim_ids)
    if not wanted:
        return 0
    removed = SlotClaim.objects.mongo_delete_many({"_id": {"$in": wanted}, "booking": booking_id}).deleted_count
    if removed:
        _tell_places(wanted)
    return removed


def claims_taken(resources: Iterable[str], cells: range) -> list[str]:
    """The ids of the claims on `resources` in `cells`."""
    ranges = [{"_id": {"$gte": f"{name}:{cells.start}", "$lt": f"{name}:{cells.stop}"}} for name in resources]
    if not ranges:
        return []
    return [row["_id"] for row in SlotClaim.objects.mongo_find({"$or": ranges}, {"_id": 1})]


def cells_full(resources: Iterable[str], cells: Iterable[range]) -> set[int]:
    """The `cells` that are taken on every one of `resources`; MongoDB counts, so that only these travel."""
    seats = list(resources)
    ranges = [{"_id": {"$gte": f"{seat}:{run.start}", "$lt": f"{seat}:{run.stop}"}} for run in cells for seat in seats]
    if not ranges:
        return set()
    found = SlotClaim.objects.mongo_aggregate(
        [
            {"$match": {"$or": ranges}},
            {"$group": {"_id": {"$last": {"$split": ["$_id", ":"]}}, "seats": {"$sum": 1}}},
            {"$match": {"seats": len(seats), "_id": {"$regex": "^[0-9]+$"}}},
        ]
    )
    return {int(row["_id"]) for row in found}


def seat_changes(places: Collection[str], since: datetime) -> list[Document]:
    """What was taken or given back at `places` (of `seat_place`) since then, `{_id, place, first, last}` each."""
    a_number = {"$type": "int"}  # what a hand wrote otherwise is nobody's change
    query = {"place": {"$in": list(places)}, "at": {"$gte": since}, "first": a_number, "last": a_number}
    return list(SeatChange.objects.mongo_find(query, {"at": 0}))


def _tell_places(claim_ids: Iterable[str]) -> None:
    """Write down, in the transaction of the claims, which cells of which place readers have to look at again."""
    by_place: dict[str, list[int]] = {}
    for claim_id in claim_ids:
        if claim_id.startswith(f"{SEAT}:"):
            place, _seat, cell = claim_id.rsplit(":", 2)
            by_place.setdefault(place, []).append(int(cell))
    now = datetime.now(UTC)
    changes = [{"place": p, "first": min(cells), "last": max(cells), "at": now} for p, cells in by_place.items()]
    if changes:
        SeatChange.objects.mongo_insert(changes)


def claim_holders(booking_ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
    """Status and remembered claims of each of the bookings there is."""
    found = Booking.objects.mongo_find({"_id": {"$in": list(booking_ids)}}, {"status": 1, "claims": 1})
    return {booking["_id"]: booking for booking in found}


def claims_by_booking(batch: int) -> Iterator[dict[ObjectId, list[str]]]:
    """All claims in batches of about `batch`, by the booking that holds them; those that name none by their own ids."""
    last = ""
    while rows := list(SlotClaim.objects.mongo_find({"_id": {"$gt": last}}, sort=[("_id", 1)], limit=batch)):
        last = rows[-1]["_id"]
        held: dict[ObjectId, list[str]] = {}
        for row in rows:
            booking_id = row.get("booking")
            held.setdefault(booking_id if isinstance(booking_id, ObjectId) else row["_id"], []).append(row["_id"])
        yield held


def expiry(ends_at: datetime) -> datetime:
    """When the claims of a visit can go: nobody books the past."""
    return ends_at + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayOfBookings:
    """How many bookings were made on a local day that are now in a status, and what was paid for them."""

    day: date
    status: str
    bookings: int
    paid: Decimal


def bookings_by_day(since: datetime, zone: str) -> list[DayOfBookings]:
    """Bookings made since then, by local day and status."""
    day = {"$dateToString": {"date": "$createdAt", "format": "%Y-%m-%d", "timezone": zone}}
    paid = {
        "$cond": [
            {"$eq": ["$payment.status", "PAID"]},
            {"$ifNull": ["$payment.paidAmount", "$pricing.payableAmount"]},
            0,
        ]
    }
    groups = Booking.objects.mongo_aggregate(
        [
            {"$match": {"createdAt": {"$gte": since, "$lte": datetime.now(UTC) + timedelta(days=1)}}},
            {"$group": {"_id": {"day": day, "status": "$status"}, "bookings": {"$sum": 1}, "paid": {"$sum": paid}}},
        ]
    )
    return [
        DayOfBookings(
            day=date.fromisoformat(group["_id"]["day"]),
            status=str(group["_id"].get("status") or "-"),
            bookings=group["bookings"],
            paid=Decimal(str(group["paid"])),
        )
        for group in groups
    ]
