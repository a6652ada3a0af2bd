"""`make demo`: a booking's life against the running service, each step in words; the first wrong answer ends it.

It is a client like any other: HTTP through requests, events through RabbitMQ, tokens from `manage.py dev_token`.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from booking_service.devstack.platform_events import PlatformEvents, addresses_of
from booking_service.devstack.servers import ServerError

SERVICE, CITY = "WOUND_DRESSING", "Bangalore"
PATIENCE_SECONDS = 30.0
HOURS_APART = timedelta(hours=2)
PASSWORD = "Demo1234"  # noqa: S105 - of a patient invented for this run
NURSE_ID = "a00000000000000000000001"  # of the stand-in main API

Json = dict[str, Any]


class DemoFailed(ServerError):
    """An answer that is not as it should be."""


def say(text: str) -> None:
    """One step, in words."""
    print(f"  ✓ {text}", flush=True)


def check(is_right: bool, problem: str) -> None:
    """Fail with `problem` unless it is right."""
    if not is_right:
        raise DemoFailed(f"The demo failed: {problem}")


def wait_for(what: str, look: Callable[[], Any]) -> Any:
    """The first true answer of `look`; fails after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        check(time.monotonic() < deadline, f"{what} did not happen within {PATIENCE_SECONDS:.0f} s.")
        time.sleep(0.1)
    return found


class Api:
    """The service as one caller sees it."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["X-Request-ID"] = f"demo-{uuid.uuid4().hex[:12]}"
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, expected: int = 200, **options: Any) -> Json:
        """The answer's body; fails unless its status is `expected`."""
        try:
            response = self._session.request(method, self.url + path, timeout=10, **options)
        except requests.RequestException as error:
            raise DemoFailed(f"{self.url} does not answer: is `make run` running? ({type(error).__name__})") from error
        body = response.text[:500]
        check(
            response.status_code == expected, f"{method} {path} answered {response.status_code}, not {expected}: {body}"
        )
        answer: Json = response.json()
        return answer

    def booking(self, booking_id: str) -> Json:
        """One booking."""
        found: Json = self.call("GET", f"/api/bookings/{booking_id}")["data"]
        return found


def event_of(events: PlatformEvents, name: str, booking: Json) -> Json:
    """The next event `name` about the booking, from what the service publishes."""

    def next_one() -> Json | None:
        event = events.next()
        is_it = event is not None and (event["event"], event["data"].get("bookingId")) == (name, booking["_id"])
        return event if is_it else None

    found: Json = wait_for(f"The event {name} of booking {booking['_id']}", next_one)
    return found


def patient_register(anyone: Api) -> Api:
    """Register somebody, log in, and return the API as that patient sees it."""
    email = f"demo.{secrets.token_hex(5)}@example.com"
    phone = f"9{secrets.randbelow(10**9):09d}"
    person = {"name": "Asha Rao", "email": email, "phone": phone, "password": PASSWORD}
    registered = anyone.call("POST", "/api/patients/register", 201, json=person)["data"]["patient"]
    check("password" not in registered, "the answer to a registration holds a password.")
    say(f"registered {registered['name']} <{email}>")
    token = anyone.call("POST", "/api/patients/login", json={"email": email, "password": PASSWORD})["data"]["token"]
    say("logged in")
    return Api(anyone.url, token)


def free_slots(anyone: Api) -> list[Json]:
    """Free times of the service in three weeks of the coming two months, in any order."""
    first = datetime.now(UTC).date() + timedelta(days=3 + secrets.randbelow(50))
    query = {"from": first.isoformat(), "to": (first + timedelta(days=20)).isoformat(), "city": CITY}
    slots = anyone.call("GET", f"/api/services/{SERVICE}/slots", params=query)["data"]["slots"]
    free = [slot for slot in slots if slot["available"]]
    check(len(free) > 20, f"{SERVICE} has {len(free)} free slots in {CITY}, too few for a demo.")
    secrets.SystemRandom().shuffle(free)
    return free


def book(patient: Api, slots: list[Json]) -> Json:
    """Book the first of `slots` that does not overlap what this patient has; it is taken from the list."""
    address = {"street": "12 Lake Road", "city": CITY, "state": "Karnataka", "pincode": "560001"}
    slot = slots.pop()
    day = slot["startsAt"][:10]
    slots[:] = [other for other in slots if other["startsAt"][:10] != day]
    wanted = {
        "serviceType": SERVICE,
        "startsAt": slot["startsAt"],
        "serviceLocation": {"type": "HOME", "address": address},
        "paymentMethod": "ONLINE",
    }
    key = {"Idempotency-Key": uuid.uuid4().hex}
    booking: Json = patient.call("POST", "/api/bookings", 201, json=wanted, headers=key)["data"]
    total = booking["pricing"]["totalAmount"]
    check(total == slot["price"], f"the booking costs {total}, the slot was offered at {slot['price']}.")
    say(f"booked {SERVICE} at {slot['startsAt']} for ₹{total}: booking {booking['_id']} is {booking['status']}")
    return booking


def see_services(anyone: Api) -> None:
    """List the catalog."""
    listed = anyone.call("GET", "/api/services", params={"city": CITY})
    check(listed["count"] > 0, "the catalog is empty.")
    say(f"listed {listed['pagination']['total']} services of {CITY}, the first is {listed['data'][0]['name']}")


def see_booking(patient: Api, booking: Json) -> None:
    """List the patient's bookings and read this one."""
    listed = [one["_id"] for one in patient.call("GET", "/api/bookings")["data"]]
    check(booking["_id"] in listed, "the new booking is not in the patient's list.")
    check(patient.booking(booking["_id"])["startsAt"] == booking["startsAt"], "the booking reads back differently.")
    say("found it in the list, and read it back")


def paid_by_event(patient: Api, events: PlatformEvents, booking: Json) -> None:
    """Send payment.completed as the payment service would, and see the booking paid."""
    amount = booking["pricing"]["payableAmount"]
    paid = {
        "bookingId": booking["_id"],
        "transactionId": f"txn-{uuid.uuid4().hex[:12]}",
        "amount": amount,
        "method": "UPI",
    }
    events.send("payment.completed", paid)
    say(f"sent payment.completed of ₹{amount} to RabbitMQ")
    now = wait_for("The payment", lambda: is_paid(patient, booking))
    say(f"the booking is paid and {now['status']}")


def is_paid(patient: Api, booking: Json) -> Json | None:
    """The booking, once it is paid."""
    now = patient.booking(booking["_id"])
    return now if now["payment"]["status"] == "PAID" else None


def cancel(patient: Api, events: PlatformEvents, booking: Json) -> None:
    """Cancel and see booking.cancelled."""
    answer = patient.call("PUT", f"{path_of(booking)}/cancel", json={"reason": "Feeling better"})["data"]
    check(answer["booking"]["status"] == "CANCELLED", "the cancelled booking is not CANCELLED.")
    say(f"cancelled booking {booking['_id']}, refund ₹{answer['refundDetails']['refundAmount']}")
    event_of(events, "booking.cancelled", booking)
    say("saw booking.cancelled on RabbitMQ")


def booking_by_hand(anyone: Api, events: PlatformEvents) -> None:
    """Register, log in, book, see the event, pay by an event of our own, cancel another."""
    patient = patient_register(anyone)
    see_services(anyone)
    slots = free_slots(anyone)
    booking = book(patient, slots)
    see_booking(patient, booking)
    created = event_of(events, "booking.created", booking)
    say(f"saw booking.created on RabbitMQ: {created['data']}")
    paid_by_event(patient, events, booking)
    other = book(patient, slots)
    cancel(patient, events, other)


def token_of(who: str, addresses: dict[str, str]) -> str:
    """A development token of the nurse or the admin whom the stand-in main API knows."""
    command = [sys.executable, "manage.py", "dev_token", who]
    done = subprocess.run(command, env={**os.environ, **addresses}, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"`manage.py dev_token {who}` failed: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


class Staff:
    """The admin and the nurse whom the stand-in main API knows."""

    def __init__(self, url: str, addresses: dict[str, str]) -> None:
        self.admin = Api(url, token_of("admin", addresses))
        self.nurse = Api(url, token_of("nurse", addresses))

    def slots_with_the_nurse(self, anyone: Api) -> list[Json]:
        """Free times at which the nurse has no visit of an earlier demo, nor is on the way to one."""
        visits = self.nurse.call("GET", "/api/bookings/provider/me", params={"limit": 100, "sort": "-createdAt"})[
            "data"
        ]
        taken = [datetime.fromisoformat(visit["startsAt"]) for visit in visits]
        return [
            slot
            for slot in free_slots(anyone)
            if all(abs(datetime.fromisoformat(slot["startsAt"]) - start) > HOURS_APART for start in taken)
        ]


class Partners:
    """The stand-in partners' switch: `with partners.down("payments")` resets every connection to that one."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def down(self, partner: str) -> Iterator[None]:
        """Out of order within the block."""
        self._tell(partner, "down")
        say(f"told the stand-in {partner} to be out of order")
        try:
            yield
        finally:
            self._tell(partner, "ok")

    def _tell(self, partner: str, mode: str) -> None:
        told = requests.post(f"{self._url}/stand-in/fail", json={"partner": partner, "mode": mode}, timeout=5)
        check(told.status_code == 200, f"the stand-in partners at {self._url} answered {told.status_code}.")


def path_of(booking: Json) -> str:
    """The booking's address."""
    return f"/api/bookings/{booking['_id']}"


def pay(patient: Api, booking: Json) -> None:
    """Open an order at the payment service and see its event come back."""
    order = patient.call("POST", f"{path_of(booking)}/payment", 201)["data"]
    say(f"opened the payment order {order['orderId']}; the payment service completes it")
    wait_for("The payment", lambda: is_paid(patient, booking))
    say("its payment.completed came back through RabbitMQ: the booking is paid")


def see_confirmation(patient: Api, booking: Json) -> None:
    """See that the notification service told the patient."""

    def sent() -> list[str]:
        told = patient.booking(booking["_id"]).get("notifications", {}).get("CONFIRMATION", {})
        return [channel for channel, note in told.items() if note["status"] == "SENT"]

    say(f"the confirmation was sent to the patient by {', '.join(wait_for('The confirmation', sent))}")


def assign(staff: Staff, booking: Json) -> None:
    """Have an admin send the nurse."""
    assigned = staff.admin.call("PUT", f"{path_of(booking)}/assign", json={"providerId": NURSE_ID})["data"]
    check(assigned["status"] == "ASSIGNED", f"the assigned booking is {assigned['status']}.")
    say("an admin assigned a nurse, whom the main API knows")


def visit(staff: Staff, events: PlatformEvents, booking: Json) -> None:
    """Have the nurse confirm. The day is still to come, so it is an admin who tells how the visit went."""
    steps = (
        (staff.nurse, "confirm", "CONFIRMED"),
        (staff.admin, "en-route", "EN_ROUTE"),
        (staff.admin, "start", "IN_PROGRESS"),
    )
    for who, step, status in steps:
        reached = who.call("PUT", f"{path_of(booking)}/{step}")["data"]["status"]
        check(reached == status, f"{step} led to {reached}, not {status}.")
    report = {"procedures": ["Wound cleaned and dressed"], "observations": "Healing well"}
    completed = staff.admin.call("PUT", f"{path_of(booking)}/complete", json=report)["data"]
    check(completed["status"] == "COMPLETED", f"the completed booking is {completed['status']}.")
    event_of(events, "booking.completed", booking)
    say("the nurse confirmed; an admin told that they came and what they found; saw booking.completed")


def review(patient: Api, booking: Json) -> None:
    """Leave five stars."""
    patient.call("POST", f"{path_of(booking)}/review", 201, json={"stars": 5, "review": "Gentle and on time."})
    say("the patient left a review of five stars")


def whole_circle(anyone: Api, events: PlatformEvents, staff: Staff) -> None:
    """Book, pay at the payment service, be notified, be visited, review."""
    patient = patient_register(anyone)
    booking = book(patient, staff.slots_with_the_nurse(anyone))
    pay(patient, booking)
    see_confirmation(patient, booking)
    assign(staff, booking)
    visit(staff, events, booking)
    review(patient, booking)


def circle_with_partners_down(anyone: Api, events: PlatformEvents, staff: Staff, partners: Partners) -> None:
    """The same, with each partner out of order when it is needed."""
    patient, slots = patient_register(anyone), staff.slots_with_the_nurse(anyone)
    with partners.down("notifications"):
        booking = book(patient, slots)
    see_confirmation(patient, booking)
    with partners.down("payments"):
        patient.call("POST", f"{path_of(booking)}/payment", 503)
        check(
            patient.booking(booking["_id"])["payment"]["status"] == "PENDING", "the failed order changed the payment."
        )
        say("no order could be opened: 503, and the booking is as it was")
    pay(patient, booking)
    with partners.down("main_api"):
        staff.admin.call("PUT", f"{path_of(booking)}/assign", 503, json={"providerId": NURSE_ID})
        check(patient.booking(booking["_id"])["status"] == "SEARCHING", "the failed assignment changed the booking.")
        say("nobody could be assigned: 503, and the booking is as it was")
    assign(staff, booking)
    visit(staff, events, booking)
    review(patient, booking)


def main(folder: Path) -> int:
    """Walk through it all against the running service."""
    addresses = addresses_of(folder)
    anyone = Api(addresses["SERVICE_URL"])
    health = anyone.call("GET", "/health")
    print(f"{health['service']} {health['version']} at {anyone.url}, database {health['database']}")
    events = PlatformEvents(addresses["RABBITMQ_URL"])
    print("A booking, paid by an event sent by hand; another, cancelled:")
    booking_by_hand(anyone, events)
    if "STAND_IN_URL" not in addresses:
        print("The partners are real ones here: what needs the stand-ins is left out.")
        return 0
    staff = Staff(anyone.url, addresses)
    print("The whole circle, with the stand-in partners:")
    whole_circle(anyone, events, staff)
    print("The same, with each partner out of order in the middle:")
    circle_with_partners_down(anyone, events, staff, Partners(addresses["STAND_IN_URL"]))
    print("All of it as it should be.")
    return 0
