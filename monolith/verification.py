"""Whether what an import says it took is here: counts, sums of money, and a sample compared field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128

from monolith import repositories
from monolith.conversion import Document, instant, paise
from monolith.report import Ledger

Names = tuple[str, ...]  # names of documents and places in lists, from the outside in

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
    return map(".".join, _differing(source, stored, {tuple(path.split(".")) for path in accounted}))


def _differing(source: Any, stored: Any, accounted: Set[Names], path: Names = ()) -> Iterator[Names]:
    if path in accounted:
        return
    if not isinstance(source, Mapping | list) or not source:
        if not _same(source, stored):
            yield path
        return
    here = _parts(stored)
    for name, part in _parts(source).items():
        yield from _differing(part, here.get(name), accounted, (*path, name))


def _parts(value: Any) -> Mapping[str, Any]:
    """What a document or a list holds, by names or places."""
    if isinstance(value, list):
        return {str(place): part for place, part in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def _same(source: Any, stored: Any) -> bool:
    if source == stored or (_is_nan(source) and _is_nan(stored)):
        return True
    if isinstance(stored, Decimal128):
        return source is None or paise(source) == stored.to_decimal()
    return isinstance(stored, datetime) and instant(source) == stored.astimezone(UTC)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
