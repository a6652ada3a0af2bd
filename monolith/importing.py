"""The import: batch by batch, so that memory stays flat, and each document on its own, so that a broken one stops none.

A document here remembers what it was imported from (`monolith.fingerprint`), written with it in one write. That makes
a run repeatable, a killed run resumable, and a later run a catching-up: equal documents are left alone, changed ones
replaced, and those that were changed on both sides kept as they are here and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice

from bson import Decimal128, ObjectId, json_util

from booking_service.api.errors import Conflict
from booking_service.djongo import transaction
from bookings import slot_guard
from bookings.terms import need_of, price_at, pricing_document, zone
from catalog.services import MONOLITH_NAMES
from catalog.terms import CatalogService, service_of
from monolith import repositories
from monolith.bookings import converted_booking, is_to_come
from monolith.catalog import converted_service
from monolith.conversion import Converted, Document, Finding, Quarantine, document_id, fingerprint, paise, parted
from monolith.patients import converted_patient, without_phone, without_referral_code
from monolith.report import Ledger, Line, Outcome, Report
from monolith.repositories import Kept, Put
from monolith.sources import Read, Source

BATCH = 1000
VISITS_IN_A_TRANSACTION = 200
CHANGED_HERE = Finding("CHANGED_ON_BOTH_SIDES", "kept as it is here; the monolith's version waits in the quarantine")
PROVIDER_BUSY = Finding(
    "SLOT_CONFLICT", "taken, the patient's time held, but not the provider's, who has another visit then"
)
PATIENT_BUSY = Finding("SLOT_CONFLICT", "taken without holding its time: the patient has another visit then")


class Terms:
    """The catalog as bookings need it while they are converted: what is here, and what this run brings."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._services = {document["name"]: service_of(document) for document in documents}

    def add(self, document: Document) -> None:
        self._services[document["name"]] = service_of(document)

    def service(self, service_type: str) -> CatalogService | None:
        """The service that a type name means; an exact name wins over the monolith's map."""
        return self._services.get(service_type) or self._services.get(MONOLITH_NAMES.get(service_type, ""))

    def names(self) -> dict[str, str]:
        """Every type name that a booking may carry, and the service it means."""
        types = {*self._services, *MONOLITH_NAMES}
        return {name: service.name for name in types if (service := self.service(name))}

    def knows(self, service_type: str) -> bool:
        return self.service(service_type) is not None

    def price(self, service_type: str, starts_at: datetime) -> Document | None:
        """What the catalog asks for a visit, as a booking keeps it."""
        service = self.service(service_type)
        return pricing_document(price_at(service, starts_at)) if service else None


@dataclass(slots=True)
class Arrival:
    """A document of a batch on its way: what was read, what it became, and what is here of it already."""

    source: Document
    mark: str
    kept: Kept | None
    converted: Converted
    held: Sequence[str] = ()  # the claims on time that the version here has

    @property
    def id(self) -> ObjectId:
        found: ObjectId = self.converted.document["_id"]
        return found


@dataclass
class Import:
    """One run over a source. `now` decides which visits are still to come; a dry run writes nothing but the report."""

    source: Source
    report: Report
    since: datetime | None = None
    dry_run: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    advance: Callable[[int], object] = lambda _count: None
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    terms: Terms = field(init=False)
    _patients_seen: set[ObjectId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.terms = Terms(repositories.services())

    def collection(self, name: str) -> Ledger:
        """Import one collection; what was done, for `verification`."""
        ledger = self.ledgers[name] = Ledger(name)
        for batch in _batches(self.source.read(name, self.since)):
            self._batch(ledger, batch)
            self.advance(len(batch))
        return ledger

    def leaves_nothing_unread(self, last: datetime | None) -> bool:
        """Whether all that the monolith wrote before this run was read by now, if all before `last` was."""
        return self.source.is_live and (self.since is None or (last is not None and self.since <= last))

    # --- a batch ------------------------------------------------------------------------------------------------------
    def _batch(self, ledger: Ledger, batch: Sequence[Read]) -> None:
        ids = [
            read.document["_id"] for read in batch if read.document and isinstance(read.document.get("_id"), ObjectId)
        ]
        here = repositories.kept(ledger.collection, ids)
        patients = self._known_patients(ledger.collection, batch)
        arrivals: list[Arrival] = []
        refused: list[tuple[Read, Finding]] = []
        for read in batch:
            try:
                arrival = self._arrival(ledger, read, here, patients)
            except Quarantine as quarantine:
                refused.append((read, quarantine.finding))
            else:
                if arrival:
                    arrivals.append(arrival)
        for arrival, finding in self._write(ledger, arrivals):
            refused.append((Read(str(arrival.id), arrival.source), finding))
        self._quarantine(ledger, refused)

    def _known_patients(self, collection: str, batch: Sequence[Read]) -> set[ObjectId]:
        if collection != "nursebookings":
            return set()
        owners = [read.document.get("patient") for read in batch if read.document]
        wanted = {owner for owner in owners if isinstance(owner, ObjectId)}
        return repositories.known_patients(wanted) | (wanted & self._patients_seen)

    def _arrival(
        self, ledger: Ledger, read: Read, here: Mapping[ObjectId, Kept], patients: set[ObjectId]
    ) -> Arrival | None:
        """The document converted, or None when the same one was imported before."""
        if read.document is None:
            raise Quarantine(read.reason, read.fault)
        kept = here.get(document_id(read.document))
        mark = fingerprint(read.document)
        if kept and kept.fingerprint == mark:
            self._unchanged(ledger, read.document, kept, patients)
            return None
        converted = self._converted(ledger.collection, read.document, patients)
        if kept and not kept.is_untouched:
            raise Quarantine(CHANGED_HERE.reason, CHANGED_HERE.done)
        return Arrival(read.document, mark, kept, converted)

    def _unchanged(self, ledger: Ledger, source: Document, kept: Kept, patients: set[ObjectId]) -> None:
        ledger.counts[Outcome.UNCHANGED] += 1
        if kept.is_untouched:  # what was changed here since is ours, and not to be compared with the monolith's
            amount = quick_amount(ledger.collection, source)
            if amount is None:
                amount = amount_of(ledger.collection, self._converted(ledger.collection, source, patients).document)
            ledger.taken(source, amount, source)
        if self.dry_run and ledger.collection == "patients":
            self._patients_seen.add(source["_id"])
        if kept.findings:
            findings = [Finding(found["reason"], found["done"]) for found in kept.findings]
            self.report.add(Line(ledger.collection, str(source["_id"]), Outcome.UNCHANGED, findings))

    def _converted(self, collection: str, source: Document, patients: set[ObjectId]) -> Converted:
        theirs, ours = parted(collection, source)
        converted = self._converted_by_kind(collection, theirs, patients)
        if ours:
            converted.original.update(ours)
            converted.note("NAME_OF_OURS", f"{', '.join(ours)}: names of this service, left out, the original kept")
        return converted

    def _converted_by_kind(self, collection: str, source: Document, patients: set[ObjectId]) -> Converted:
        if collection == "patients":
            return converted_patient(source)
        if collection == "servicecatalogs":
            return converted_service(source)
        converted = converted_booking(source, zone=zone(), price=self.terms.price, knows=self.terms.knows)
        if source["patient"] not in patients:
            raise Quarantine("UNKNOWN_PATIENT", f"no patient {source['patient']} is here")
        return converted

    # --- writing ------------------------------------------------------------------------------------------------------
    def _write(self, ledger: Ledger, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Finding]]:
        """Write the arrivals; those that could not be written, and why."""
        refused: list[tuple[Arrival, Finding]] = []
        if not self.dry_run:
            if ledger.collection == "nursebookings":
                _note_held(arrivals)
            to_come = [a for a in arrivals if ledger.collection == "nursebookings" and self._needs_guard(a)]
            guarded = {arrival.id for arrival in to_come}
            refused += _put_all(ledger.collection, [a for a in arrivals if a.id not in guarded])
            refused += self._put_guarded(to_come)
        lost = {arrival.id for arrival, _ in refused}
        taken = [arrival for arrival in arrivals if arrival.id not in lost]
        for arrival in taken:
            self._taken(ledger, arrival)
        if not self.dry_run:
            repositories.quarantine_release([f"{ledger.collection}:{arrival.id}" for arrival in taken])
        return refused

    def _needs_guard(self, arrival: Arrival) -> bool:
        return is_to_come(arrival.converted.document, self.now) or bool(arrival.held)

    def _put_guarded(self, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Finding]]:
        """Write visits that are still to come together with their claims on time, a transaction for many of them; one
        by one where that meets a conflict, so that the ones it is about are found."""
        refused: list[tuple[Arrival, Finding]] = []
        for start in range(0, len(arrivals), VISITS_IN_A_TRANSACTION):
            chunk = arrivals[start : start + VISITS_IN_A_TRANSACTION]
            try:
                refused += transaction.run(self._put_with_claims, chunk)
            except Conflict:
                for arrival in chunk:
                    refused += self._put_with_what_is_free(arrival)
        return refused

    def _put_with_what_is_free(self, arrival: Arrival) -> list[tuple[Arrival, Finding]]:
        try:
            return transaction.run(self._put_with_claims, [arrival])
        except Conflict:
            pass
        try:
            return transaction.run(self._put_with_claims, [arrival], without_provider=PROVIDER_BUSY)
        except Conflict:
            arrival.converted.findings.remove(PROVIDER_BUSY)
            arrival.converted.findings.append(PATIENT_BUSY)
            arrival.converted.document["claims"] = []
            refused = _put_all("nursebookings", [arrival])
            if not refused:
                slot_guard.give_back(arrival.id, arrival.held)
            return refused

    def _put_with_claims(
        self, arrivals: Sequence[Arrival], *, without_provider: Finding | None = None
    ) -> list[tuple[Arrival, Finding]]:
        """Claims and visits, inside a transaction; `without_provider` says why the provider's time is left out."""
        for arrival in arrivals:
            if without_provider and without_provider not in arrival.converted.findings:
                arrival.converted.findings.append(without_provider)
            provider = None if without_provider else arrival.converted.document.get("serviceProvider")
            self._claim(arrival.converted.document, provider, arrival.held)
        if refused := _put_all("nursebookings", arrivals):
            raise Conflict(refused[0][1].done)  # the transaction is lost with it
        return []

    def _claim(self, booking: Document, provider: ObjectId | None, held: Sequence[str]) -> None:
        """Take the time that the visit needs, and give back what an earlier version of it held."""
        claims: list[str] = []
        if is_to_come(booking, self.now):
            service = self.terms.service(booking["serviceType"])
            name = (booking.get("patientDetails") or {}).get("name")
            person = slot_guard.person_resource(booking["patient"], name or None)
            need = need_of({**booking, "serviceProvider": provider}, service or _UNKNOWN, person=person)
            claims = slot_guard.take(booking["_id"], need, held)
        slot_guard.give_back(booking["_id"], set(held) - set(claims))
        booking["claims"] = slot_guard.runs(claims)

    def _taken(self, ledger: Ledger, arrival: Arrival) -> None:
        findings = arrival.converted.findings
        outcome = Outcome.FIXED if findings else Outcome.TAKEN
        ledger.counts[outcome] += 1
        ledger.reasons.update(finding.reason for finding in findings)
        if findings:
            self.report.add(Line(ledger.collection, str(arrival.id), outcome, findings))
        document = arrival.converted.document
        ledger.taken(document, amount_of(ledger.collection, document), arrival.source)
        if ledger.collection == "servicecatalogs":
            self.terms.add(document)
        if self.dry_run and ledger.collection == "patients":
            self._patients_seen.add(arrival.id)

    def _quarantine(self, ledger: Ledger, refused: Sequence[tuple[Read, Finding]]) -> None:
        entries = [_entry(ledger.collection, read, finding, self.now) for read, finding in refused]
        for (_, finding), entry in zip(refused, entries, strict=True):
            kept_ours = finding.reason == CHANGED_HERE.reason
            outcome = Outcome.KEPT_OURS if kept_ours else Outcome.QUARANTINED
            ledger.counts[outcome] += 1
            ledger.reasons[finding.reason] += 1
            self.report.add(Line(ledger.collection, entry["_id"].partition(":")[2], outcome, [finding]))
        if not self.dry_run:
            known = repositories.quarantine_kept(entry["_id"] for entry in entries)
            repositories.quarantine_put([e for e in entries if known.get(e["_id"]) != e["fingerprint"]])


_UNKNOWN = CatalogService(
    id=ObjectId(b"\0" * 12), name="", slug="", category="", display_name="", base_price=Decimal(0)
)


def _batches(reads: Iterator[Read]) -> Iterator[list[Read]]:
    """Batches in which no id is twice: of two lines with one id the later one counts."""
    while batch := list(islice(reads, BATCH)):
        latest = {_id_of(read): place for place, read in enumerate(batch)}
        yield [
            read if _id_of(read) is None or latest[_id_of(read)] == place else _superseded(read)
            for place, read in enumerate(batch)
        ]


def _id_of(read: Read) -> ObjectId | None:
    key = read.document.get("_id") if read.document else None
    return key if isinstance(key, ObjectId) else None


def _superseded(read: Read) -> Read:
    text = json_util.dumps(read.document)
    return Read(read.place, fault="a later line has the same id and was taken", text=text, reason="DUPLICATE_ID")


def _note_held(arrivals: Sequence[Arrival]) -> None:
    """Note which claims on time the visits have that are replaced."""
    replaced = [arrival for arrival in arrivals if arrival.kept]
    existing = repositories.documents("nursebookings", [arrival.id for arrival in replaced]) if replaced else {}
    for arrival in replaced:
        arrival.held = slot_guard.claims_of(existing.get(arrival.id, {}))


def _put_all(collection: str, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, Finding]]:
    """Write them; what a unique index refuses is mended and tried again, at most once for each index."""
    refused: list[tuple[Arrival, Finding]] = []
    waiting = list(arrivals)
    while waiting:
        duplicates = repositories.write(collection, [_put(arrival) for arrival in waiting])
        again: list[Arrival] = []
        for arrival in waiting:
            if arrival.id in duplicates:
                finding = mend(collection, arrival.converted, duplicates[arrival.id])
                if finding:
                    refused.append((arrival, finding))
                else:
                    again.append(arrival)
        waiting = again
    return refused


def _put(arrival: Arrival) -> Put:
    document, findings = arrival.converted.document, arrival.converted.findings
    document["monolith"] = {"fingerprint": arrival.mark}
    if "updatedAt" in document:
        document["monolith"]["updatedAt"] = document["updatedAt"]
    if arrival.converted.original:
        originals = arrival.converted.original.items()
        document["monolith"]["original"] = [{"path": path, "value": value} for path, value in originals]
    if findings:
        document["monolith"]["findings"] = [{"reason": f.reason, "done": f.done} for f in findings]
    return Put(document, is_new=arrival.kept is None, replaces=arrival.kept.updated_at if arrival.kept else None)


def mend(collection: str, converted: Converted, fields: set[str]) -> Finding | None:
    """What a unique index refused, changed so that it can be written; or why it cannot be."""
    if not fields:
        return Finding("RULE_BROKEN", "quarantined: MongoDB refuses it")
    if fields == {"updatedAt"}:
        return CHANGED_HERE
    if collection == "patients" and fields == {"phone"}:
        without_phone(converted)
        return None
    if collection == "patients" and fields == {"referralCode"}:
        without_referral_code(converted)
        return None
    if collection == "servicecatalogs":
        return _instead_of_seed(converted)
    if collection == "patients" and fields == {"emailLower"}:
        return Finding("EMAIL_TAKEN", "quarantined: another patient signs in with the same address")
    return Finding("DUPLICATE", f"quarantined: another document has the same {', '.join(sorted(fields))}")


def _instead_of_seed(converted: Converted) -> Finding | None:
    """The monolith's service takes the place of seeded ones that nobody has edited, if no other one has its names."""
    document = converted.document
    in_its_way = repositories.services_named_as(document)
    if not all(_gives_way(service, document["name"]) for service in in_its_way):
        return Finding("NAME_TAKEN", f"quarantined: another service is named {document['name']} or {document['slug']}")
    for seeded in in_its_way:
        repositories.service_remove(seeded["_id"])
        converted.note("SEED_REPLACED", f"takes the place of the seeded {seeded['name']}, which nobody had edited")
    return None


def _gives_way(service: Document, name: str) -> bool:
    """Whether the seed made the service, nobody has changed it since, and no booking would lose it to `name`."""
    is_seeded = "monolith" not in service and not service.get("__v")
    return is_seeded and (service["name"] == name or not (service.get("stats") or {}).get("totalBookings"))


def _entry(collection: str, read: Read, finding: Finding, now: datetime) -> Document:
    """A quarantined document, as it was read."""
    document = read.document
    key = str(document["_id"]) if document and document.get("_id") is not None else read.place
    entry: Document = {
        "_id": f"{collection}:{key}"[:200],
        "collection": collection,
        "reason": finding.reason,
        "why": finding.done,
        "at": now,
        "fingerprint": fingerprint(document) if document else "",
    }
    return {**entry, "source": document} if document else {**entry, "text": read.text[:10_000]}


def quick_amount(collection: str, source: Document) -> Decimal | None:
    """What `amount_of` the converted `source` will be, without converting it; None when only that can tell."""
    part, name = {"nursebookings": ("pricing", "payableAmount"), "servicecatalogs": ("pricing", "basePrice")}.get(
        collection, ("", "")
    )
    if not part:
        return Decimal(0)
    try:
        return paise(source[part][name])
    except (KeyError, TypeError, ValueError):
        return None


def amount_of(collection: str, document: Document) -> Decimal:
    """The amount of a converted document that verification adds up."""
    if collection == "nursebookings":
        value = document["pricing"]["payableAmount"]
    elif collection == "servicecatalogs":
        value = document["pricing"]["basePrice"]
    else:
        return Decimal(0)
    return value.to_decimal() if isinstance(value, Decimal128) else Decimal(str(value))
