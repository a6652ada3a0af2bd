"""A scripted day: patients, nurses and staff all at once, and afterwards everything has to add up.

`DAY_ACTIONS=2000` is a whole day; without it a smaller one runs, with the same people and rules. `DAY_SEED` makes it
another one.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import jwt
import pytest
from bson import ObjectId
from django.conf import settings
from django.db import connection
from django.test import Client

from booking_service.api.callers import Caller, Role
from booking_service.partners import main_api
from booking_service.partners.main_api import Provider
from bookings import payments, slot_guard, sweeping
from bookings.lifecycle import FINAL, FREEING, Status
from events.schemas import PUBLISHED_BY_NAME
from patients import passwords
from tests.factories import patient_made, service_made, token_of, tomorrow, visit_input

ACTIONS = int(os.environ.get("DAY_ACTIONS", "400"))
SEED = os.environ.get("DAY_SEED", "a day")
CLIENTS, PATIENTS, NURSES = 8, 200, 20
CAPACITY = {"WOUND_DRESSING": None, "IV_DRIP": 3, "CATHETER_CARE": 1}
TRAVEL = timedelta(minutes=15)
# What an event says a booking has become. Steps on the way to a visit are not published.
BECOMES = {
    "booking.created": "REQUESTED",
    "booking.assigned": "ASSIGNED",
    "booking.confirmed": "CONFIRMED",
    "booking.completed": "COMPLETED",
    "booking.no_show": "NO_SHOW",
}


class Town:
    """Everybody who takes part, what they booked, and every answer they got."""

    def __init__(self, patients: list[Caller], nurses: list[Caller], admin: Caller) -> None:
        self.patients, self.nurses, self.admin = patients, nurses, admin
        self.booked: dict[str, Caller] = {}
        self.answers: Counter[tuple[str, int, str]] = Counter()
        self.failures: list[Any] = []
        self.seen: set[str] = set()
        self._lock = threading.Lock()

    def call(self, actor: Caller, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = Client(raise_request_exception=False).generic(
            method,
            f"/api{path}",
            b"" if body is None else json.dumps(body).encode(),
            content_type="application/json",
            headers={"Authorization": f"Bearer {_token(actor)}", **headers},
        )
        content = answer.json() if answer.content else {}
        with self._lock:
            self.answers[method, answer.status_code, content.get("code", "")] += 1
            if answer.status_code >= 500:
                self.failures.append((method, path, content))
            self._note(actor, answer.status_code, content.get("data"))
        return answer.status_code, content.get("data")

    def _note(self, actor: Caller, status: int, data: Any) -> None:
        booking = data.get("booking", data) if isinstance(data, dict) else {}
        if status < 300 and "timeline" not in booking and booking.get("status") in Status.__members__:
            self.seen.add(booking["status"])
            if actor.is_patient and "serviceType" in booking:
                self.booked.setdefault(booking["_id"], actor)

    def some_booking(self, random: Random) -> tuple[str, Caller] | None:
        with self._lock:
            # The latest are where the most is still to happen.
            ids = list(self.booked)[-120:]
            return (booking_id := random.choice(ids), self.booked[booking_id]) if ids else None


def stored(collection: str) -> Any:
    """A collection, past the service."""
    return connection.database[collection]  # type: ignore[attr-defined]  # the engine's, unknown to Django


def _token(actor: Caller) -> str:
    if actor.is_patient:
        return token_of(actor)
    return jwt.encode({"id": str(actor.id)}, settings.JWT_SECRET, "HS256")


# --- what people do --------------------------------------------------------------------------------------------------
def book(town: Town, random: Random) -> None:
    at = tomorrow(random.randrange(8, 18), random.choice((0, 5, 15, 30, 45)), days=random.randrange(1, 8))
    body = visit_input(serviceType=random.choice(list(CAPACITY)), startsAt=at.isoformat())
    if random.random() < 0.2:
        body["patientDetails"] = {"name": random.choice(("Lakshmi", "Mohan")), "age": 70}
    if random.random() < 0.5:
        body["paymentMethod"] = "CASH"
    key = {"Idempotency-Key": str(random.getrandbits(64))} if random.random() < 0.3 else {}
    patient = random.choice(town.patients[:60])  # regulars, so that they get into their own way
    town.call(patient, "POST", "/bookings", body, **key)
    if key:
        town.call(patient, "POST", "/bookings", body, **key)


def look(town: Town, random: Random) -> None:
    patient = random.choice(town.patients)
    paths = ["/bookings", "/bookings/upcoming", "/bookings/history", "/bookings?status=REQUESTED&sort=startsAt"]
    town.call(patient, "GET", random.choice(paths))
    town.call(patient, "GET", f"/services/{random.choice(list(CAPACITY))}/slots?city=Bangalore")
    if found := town.some_booking(random):
        town.call(found[1], "GET", f"/bookings/{found[0]}{random.choice(('', '/timeline', '/cancellation-preview'))}")
        town.call(patient, "GET", f"/bookings/{found[0]}")


def pay(town: Town, random: Random) -> None:
    if found := town.some_booking(random):
        price = stored("nursebookings").find_one({"_id": ObjectId(found[0])})["pricing"]["payableAmount"]
        for _ in range(random.choice((1, 1, 2))):
            payments.payment_completed(
                booking_id=ObjectId(found[0]), transaction_id=f"txn-{found[0]}", amount=price.to_decimal()
            )


def assign(town: Town, random: Random) -> None:
    if found := town.some_booking(random):
        nurse = random.choice(town.nurses)
        town.call(town.admin, "PUT", f"/bookings/{found[0]}/assign", {"providerId": str(nurse.id)})


def step(town: Town, random: Random) -> None:
    """A visit of a nurse goes on; now and then in an order that is not allowed."""
    nurse = random.choice(town.nurses)
    _, listed = town.call(
        nurse, "GET", "/bookings/provider/me?status=ASSIGNED&status=CONFIRMED&status=EN_ROUTE&limit=9"
    )
    _, started = town.call(nurse, "GET", "/bookings/provider/me?status=IN_PROGRESS&limit=9")
    if visits := (listed or []) + (started or []):
        visit = random.choice(visits)
        following = {"ASSIGNED": "confirm", "CONFIRMED": "en-route", "EN_ROUTE": "start", "IN_PROGRESS": "complete"}
        name = following[visit["status"]] if random.random() < 0.8 else random.choice(("decline", "no-show", "start"))
        body = {"observations": "stable"} if name == "complete" else {}
        town.call(teller(town, nurse, name), "PUT", f"/bookings/{visit['_id']}/{name}", body)


def teller(town: Town, nurse: Caller, name: str) -> Caller:
    """Who says so: how a visit went that is still days ahead, only the office may tell."""
    return nurse if name in ("confirm", "decline") else town.admin


def cancel(town: Town, random: Random) -> None:
    if found := town.some_booking(random):
        actor = random.choice((found[1], town.admin))
        town.call(actor, "DELETE", f"/bookings/{found[0]}", {"reason": "changed plans"})


def move(town: Town, random: Random) -> None:
    if found := town.some_booking(random):
        at = tomorrow(random.randrange(8, 18), random.choice((0, 10, 30)), days=random.randrange(1, 8)).isoformat()
        method, path = random.choice((("POST", "/reschedule"), ("PUT", "")))
        town.call(found[1], method, f"/bookings/{found[0]}{path}", {"startsAt": at})


def review(town: Town, random: Random) -> None:
    patient = random.choice(town.patients[:60])
    _, completed = town.call(patient, "GET", "/bookings?status=COMPLETED")
    for booking in completed or []:
        town.call(patient, "POST", f"/bookings/{booking['_id']}/review", {"stars": random.randrange(1, 6)})


DAY: dict[Callable[[Town, Random], None], int] = {
    book: 30, look: 8, pay: 10, assign: 18, step: 22, cancel: 4, move: 6, review: 2
}  # fmt: skip


# --- the day ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setattr(passwords, "password_hash", lambda _password: "!")  # nobody signs in with one today
    for name, capacity in CAPACITY.items():
        service_made(name, availability__capacityPerSlot=capacity)
    nurses = [Caller(Role.NURSE, ObjectId()) for _ in range(NURSES)]
    admin = Caller(Role.ADMIN, ObjectId())
    people = {
        caller.id: Provider(caller.id, caller.role, "Meera", frozenset(), None, True)
        for caller in (*nurses, admin)
        if caller.id
    }
    monkeypatch.setattr(main_api, "_ask", people.get)
    return Town([patient_made() for _ in range(PATIENTS)], nurses, admin)


def live_the_day(town: Town) -> None:
    def client(number: int) -> None:
        random = Random(f"{SEED} {number}")
        try:
            for action in random.choices(list(DAY), weights=list(DAY.values()), k=ACTIONS // CLIENTS):
                action(town, random)
        finally:
            connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def lead_two_visits_to_their_end(town: Town) -> None:
    """One to its report, one to a closed door: chance alone would leave a short day without either."""
    for number, steps in enumerate((("confirm", "en-route", "start", "complete"), ("confirm", "no-show"))):
        patient, nurse = town.patients[-1 - number], town.nurses[number]
        body = visit_input(serviceType="WOUND_DRESSING", startsAt=tomorrow(10, 0, days=20).isoformat())
        _, booking = town.call(patient, "POST", "/bookings", body)
        town.call(town.admin, "PUT", f"/bookings/{booking['_id']}/assign", {"providerId": str(nurse.id)})
        for name in steps:
            town.call(teller(town, nurse, name), "PUT", f"/bookings/{booking['_id']}/{name}", {})


def end_the_day() -> None:
    """Night falls: for some the time came without a nurse, some never paid."""
    bookings = stored("nursebookings")
    late = [row["_id"] for row in bookings.find({"status": {"$in": ["REQUESTED", "SEARCHING"]}}, {"_id": 1}).limit(9)]
    past = datetime.now(UTC) - timedelta(hours=1)
    bookings.update_many(
        {"_id": {"$in": late[:6]}}, {"$set": {"startsAt": past, "endsAt": past + timedelta(minutes=30)}}
    )
    bookings.update_many({}, {"$set": {"createdAt": past}})
    for sweep in (sweeping.sweep_unassigned, sweeping.sweep_unpaid):
        assert sweep().failed == []
    assert sweeping.sweep_orphaned_claims().changed == 0


def test_a_day_adds_up(town: Town) -> None:
    live_the_day(town)
    lead_two_visits_to_their_end(town)
    end_the_day()

    bookings = list(stored("nursebookings").find())
    assert town.failures == []
    assert len(bookings) == len(town.booked) > ACTIONS / 20
    assert town.seen | {booking["status"] for booking in bookings} == set(Status), town.answers
    taking_time = [booking for booking in bookings if booking["status"] not in FREEING]
    assert_nobody_is_in_two_places(taking_time)
    assert_no_service_is_over_its_capacity(taking_time)
    assert_claims_are_those_of_the_bookings(taking_time)
    assert_events_keep_their_contracts()
    assert_events_replay(bookings)
    assert_money_adds_up(bookings)


# --- what has to hold ------------------------------------------------------------------------------------------------
def assert_nobody_is_in_two_places(bookings: list[dict[str, Any]]) -> None:
    visits = defaultdict(list)
    for booking in bookings:
        person = (booking["patient"], booking.get("patientDetails", {}).get("name"))
        visits[person].append((booking["startsAt"], booking["endsAt"]))
        if provider := booking.get("serviceProvider"):
            visits[provider].append((booking["startsAt"], booking["endsAt"] + TRAVEL))
    for times in visits.values():
        times.sort()
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(times))


def assert_no_service_is_over_its_capacity(bookings: list[dict[str, Any]]) -> None:
    places: Counter[tuple[str, datetime]] = Counter()
    for booking in bookings:
        at = booking["startsAt"]
        while at < booking["endsAt"]:
            places[booking["serviceType"], at] += 1
            at += timedelta(minutes=5)
    for (service, _at), taken in places.items():
        capacity = CAPACITY[service]
        assert capacity is None or taken <= capacity


def assert_claims_are_those_of_the_bookings(bookings: list[dict[str, Any]]) -> None:
    remembered = [claim for booking in bookings for claim in slot_guard.claims_of(booking)]
    assert len(remembered) == len(set(remembered))
    assert {row["_id"] for row in stored("slotclaims").find()} == set(remembered)


def assert_events_keep_their_contracts() -> None:
    rows = list(stored("outbox").find({"lane": "BROKER"}))
    violations = [(row["type"], PUBLISHED_BY_NAME[row["type"]].violation(json.loads(row["body"]))) for row in rows]
    assert [violation for violation in violations if violation[1]] == []
    assert {row["type"] for row in rows} > {"patient.registered", "booking.created", "booking.completed"}


def assert_events_replay(bookings: list[dict[str, Any]]) -> None:
    """Whoever hears the events knows every final state, and takes no open booking for a final one."""
    told: dict[str, str] = {}
    for row in stored("outbox").find({"lane": "BROKER"}).sort("_id"):
        if row["type"].startswith("booking."):
            facts = json.loads(bytes(row["body"]))["data"]
            became = facts.get("status") if row["type"] == "booking.cancelled" else BECOMES.get(row["type"])
            if became:
                assert told.get(facts["bookingId"]) not in FINAL
                told[facts["bookingId"]] = became
    actual = {str(booking["_id"]): booking["status"] for booking in bookings}
    assert told.keys() == actual.keys()
    for booking_id, status in actual.items():
        assert (told[booking_id] == status) if status in FINAL else (told[booking_id] not in FINAL)


def assert_money_adds_up(bookings: list[dict[str, Any]]) -> None:
    rows = list(stored("outbox").find({"type": "refund.request"}))
    asked = Counter(json.loads(bytes(row["body"]))["bookingId"] for row in rows)
    owed = {str(booking["_id"]) for booking in bookings if booking.get("refund")}
    assert asked == Counter(owed)
    for booking in bookings:
        steps = [entry["to"] for entry in booking["timeline"]]
        assert steps[0] == "REQUESTED"
        assert steps[-1] == booking["status"]
        if refund := booking.get("refund"):
            assert Decimal(0) < refund["amount"].to_decimal() <= booking["payment"]["paidAmount"].to_decimal()
