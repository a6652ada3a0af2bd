"""Whether what an import says it took is here: counts, sums of money, and a sample compared field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128

from monolith import repositories
from monolith.conversion import Document, instant, paise
from monolith.report import Ledger

BATCH = 1000
MONEY = {"nursebookings": "pricing.payableAmount", "servicecatalogs": "pricing.basePrice", "patients": None}
# What a conversion changes on purpose; everything else has to be as it was.
RECOMPUTED = {"patients": {"totalBookings", "totalSpent"}, "servicecatalogs": {"stats", "__v"}, "nursebookings": set()}


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of what has to be here with what is."""

    what: str
    expected: str
    found: str

    @property
    def holds(self) -> bool:
        return self.expected == self.found


def checks(ledger: Ledger) -> Iterator[Check]:
    """Everything that can be compared for a collection, right after it was imported."""
    here, money = 0, Decimal(0)
    for ids in ledger.ids(BATCH):
        number, amount = repositories.tally(ledger.collection, ids, MONEY[ledger.collection])
        here, money = here + number, money + amount
    yield Check(f"{ledger.collection}: documents", str(ledger.here), str(here))
    if MONEY[ledger.collection]:
        yield Check(f"{ledger.collection}: sum of {MONEY[ledger.collection]}", f"{ledger.money:.2f}", f"{money:.2f}")
    stored = repositories.documents(ledger.collection, [source["_id"] for source in ledger.sample])
    differing = [
        f"{source['_id']} {path}"
        for source in ledger.sample
        for path in differences(ledger.collection, source, stored.get(source["_id"], {}))
    ]
    label = f"{ledger.collection}: {len(ledger.sample)} compared field by field"
    yield Check(label, "no difference", ", ".join(differing[:5]) or "no difference")


def differences(collection: str, source: Document, stored: Document) -> Iterator[str]:
    """The paths at which `stored` is neither what `source` has nor what a finding or an original accounts for."""
    mark = stored.get("monolith") or {}
    accounted = {entry["path"] for entry in mark.get("original") or ()} | RECOMPUTED[collection]
    if any(finding["reason"] == "NO_PRICE" for finding in mark.get("findings") or ()):
        accounted.add("pricing")
    if collection == "patients":
        accounted |= {"password", "phoneVerified"}
    if any(finding["reason"] == "REFUND_WITHOUT_PAYMENT" for finding in mark.get("findings") or ()):
        accounted |= {"cancellation.refundEligible"}
    for path, value in _leaves(source):
        is_accounted = any(path == known or path.startswith(f"{known}.") for known in accounted)
        if not is_accounted and not _same(value, _at(stored, path)):
            yield path


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list) and value:
        for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(part, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(document, list):
            document = document[int(name)] if name.isdecimal() and int(name) < len(document) else None
        else:
            document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _same(source: Any, stored: Any) -> bool:
    if isinstance(stored, Decimal128) and not isinstance(source, Decimal128):
        return source is None or paise(source) == stored.to_decimal()
    if isinstance(stored, datetime):
        return instant(source) == stored.astimezone(UTC)
    return bool(source == stored)
