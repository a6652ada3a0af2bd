"""What a run has come to, counted from the database and from what the other services heard."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

from tests.chaos.faults import Faults
from tests.chaos.partners import Partners
from tests.chaos.people import Attempts, Heard, Payer
from tests.chaos.stack import Stack


@dataclass(frozen=True)
class Figures:
    """The counts that a run is about. The last block must be zero."""

    attempted: int
    committed: int
    answers: dict[str, int]
    events_committed: int
    published: int
    delivered: int
    duplicates: int
    payments_published: int
    payments_again: int
    effects: int
    refunds_owed: int
    refunds_asked: int
    faults: dict[str, int]
    bites: dict[str, int]
    lost: int
    ghosts: int
    out_of_order: int
    other_bytes: int
    contracts_broken: int
    effects_missing: int
    effects_twice: int
    dead: int
    bad_exits: int

    @property
    def hold(self) -> bool:
        return not any(value for name, value in asdict(self).items() if name in MUST_BE_ZERO)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        lines = [f"| {name.replace('_', ' ')} | {shown(value)} |" for name, value in asdict(self).items()]
        return "\n".join(["| | |", "|---|---|", *lines]) + "\n"


MUST_BE_ZERO = {
    *("lost", "ghosts", "out_of_order", "other_bytes", "contracts_broken"),
    *("effects_missing", "effects_twice", "dead", "bad_exits"),
}


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in sorted(value.items()))
    return f"{value:,}"


def collection(name: str) -> Any:
    from django.db import connection

    return connection.database[name]  # type: ignore[attr-defined]


def settled(stack: Stack, payer: Payer, to_pay: SimpleQueue[dict[str, Any]], *, seconds: float) -> int:
    """Wait until nothing is on its way any more; returns how many payments had to be published again.

    A deleted queue takes its messages along: the payment service, which knows of no answer, sends them again.
    """
    until = monotonic() + seconds
    again, quiet_since = 0, monotonic()
    while monotonic() < until:
        sleep(1)
        unpaid = unpaid_bookings()
        on_its_way = {"to pay": int(not payer.idle.is_set()), "queued": queued(stack)}
        sys.stderr.write(f"  unsent {unsent()}, {on_its_way}, unpaid {len(unpaid)}\n")
        if any(on_its_way.values()):
            quiet_since = monotonic()
        elif not unpaid and not unsent():
            return again
        elif unpaid and monotonic() - quiet_since > 3:
            again += len(unpaid)
            pay_again(unpaid, payer, to_pay)
    return again


def pay_again(unpaid: list[dict[str, Any]], payer: Payer, to_pay: SimpleQueue[dict[str, Any]]) -> None:
    payer.idle.clear()
    for booking in unpaid:
        to_pay.put({"bookingId": str(booking["_id"]), "amount": amount_of(booking)})


def unsent() -> int:
    return int(collection("outbox").count_documents({"status": "WAITING"}))


def unpaid_bookings() -> list[dict[str, Any]]:
    return list(collection("nursebookings").find({"payment.transactionId": None}))


def amount_of(booking: dict[str, Any]) -> float:
    return float(booking["pricing"]["payableAmount"].to_decimal())


def queued(stack: Stack) -> int:
    """Messages in our queue and its retry queues, also those a consumer has in hand."""
    listed = stack.rabbit.control("list_queues", "--quiet", "--no-table-headers", "name", "messages").split()
    counts = dict(zip(listed[::2], map(int, listed[1::2]), strict=True))
    return sum(number for name, number in counts.items() if not name.endswith(".dead"))


def dead(stack: Stack) -> int:
    listed = stack.rabbit.control("list_queues", "--quiet", "--no-table-headers", "name", "messages").split()
    return sum(int(number) for name, number in zip(listed[::2], listed[1::2], strict=True) if name.endswith(".dead"))


def count_everything(
    faults: Faults,
    attempts: Attempts,
    payments_published: int,
    payments_again: int,
    heard: Heard,
    partners: Partners,
    codes: list[int],
) -> Figures:
    bookings = {str(booking["_id"]): booking for booking in collection("nursebookings").find({})}
    expected = {id_: expected_events(booking) for id_, booking in bookings.items()}
    told = {id_: [type_ for _version, type_ in first] for id_, first in heard.first.items()}
    patients = {str(patient["_id"]) for patient in collection("patients").find({}, {"_id": 1})}
    paid = [booking for booking in bookings.values() if (booking.get("payment") or {}).get("transactionId")]
    refunds = list(collection("outbox").find({"type": "refund.request"}, {"_id": 1}))
    return Figures(
        attempted=attempts.bookings,
        committed=len(bookings),
        answers=dict(attempts.answers),
        events_committed=sum(map(len, expected.values())) + len(patients),
        published=int(collection("outbox").count_documents({"lane": "BROKER", "status": "SENT"})),
        delivered=len(heard.copies),
        duplicates=sum(heard.copies.values()) - len(heard.copies),
        payments_published=payments_published,
        payments_again=payments_again,
        effects=len(paid),
        refunds_owed=sum(1 for booking in bookings.values() if booking.get("refund")),
        refunds_asked=len(partners.keys("/api/payments/refunds")),
        faults=faults.counts,
        bites=dict(faults.bites),
        lost=sum((Counter(events) - Counter(told.get(id_, []))).total() for id_, events in expected.items())
        + len(patients - told.keys()),
        ghosts=sum(
            (Counter(events) - Counter(expected.get(id_, []))).total()
            for id_, events in told.items()
            if id_ not in patients
        ),
        out_of_order=sum(1 for first in heard.first.values() if [v for v, _ in first] != sorted(v for v, _ in first)),
        other_bytes=heard.other_bytes,
        contracts_broken=heard.broken.total(),
        effects_missing=len(bookings) - len(paid) + len(refunds) - len(partners.keys("/api/payments/refunds")),
        effects_twice=paid_twice(paid),
        dead=dead(faults.stack) + int(collection("outbox").count_documents({"status": "DEAD"})),
        bad_exits=sum(1 for code in codes if code != 0),
    )


def expected_events(booking: dict[str, Any]) -> list[str]:
    """What a booking as it stands must have told the world, from the booking alone."""
    moves = [entry for entry in booking.get("timeline") or () if entry.get("change") == "RESCHEDULED"]
    cancelled = ["booking.cancelled"] if booking["status"] == "CANCELLED" else []
    refunds = ["booking.refund_requested"] if booking.get("refund") else []
    return ["booking.created", *["booking.rescheduled"] * len(moves), *cancelled, *refunds]


def paid_twice(paid: list[dict[str, Any]]) -> int:
    """Patients whose `totalSpent` is not the sum of what their bookings say was paid; it grows with every effect."""
    owed: Counter[Any] = Counter()
    for booking in paid:
        owed[booking["patient"]] += booking["payment"]["paidAmount"].to_decimal()
    spent = {patient["_id"]: patient["totalSpent"] for patient in collection("patients").find({})}
    return sum(1 for patient, amount in owed.items() if spent[patient].to_decimal() != amount)
