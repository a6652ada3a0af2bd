"""The whole circle over real HTTP and RabbitMQ: our publisher and consumer, and stand-in partners that are killed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from bson import ObjectId
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from booking_service.devstack import people
from booking_service.partners.client import breakers_reset
from tests.chaos.stack import Process
from tests.factories import VisitInput, patient_made, service_made, token_of, tomorrow
from tests.integration.partners.stand_ins import StandIns

pytestmark = pytest.mark.broker

PATIENCE_SECONDS = 90  # longer than the lease of a publisher that was killed


class Circle:
    """The platform around one patient's booking."""

    def __init__(self, stand_ins: StandIns, publisher: Process, consumer: Process) -> None:
        self.stand_ins, self.publisher, self.consumer = stand_ins, publisher, consumer
        self._patient = token_of(patient_made())
        self._admin = jwt.encode({"id": people.ADMIN.id}, django_settings.JWT_SECRET, "HS256")
        self._client = Client(raise_request_exception=False)

    def as_patient(self, method: str, path: str, body: object = None):
        return self._call(self._patient, method, path, body)

    def as_admin(self, method: str, path: str, body: object = None):
        return self._call(self._admin, method, path, body)

    def _call(self, token: str, method: str, path: str, body: object):
        headers = {"Authorization": f"Bearer {token}"}
        return self._client.generic(
            method, f"/api/bookings{path}", _json(body), content_type="application/json", headers=headers
        )

    def book(self) -> str:
        wanted = VisitInput(startsAt=tomorrow(days=3).isoformat(), paymentMethod="ONLINE")
        answer = self.as_patient("POST", "", wanted)
        assert answer.status_code == 201, answer.content
        return answer.json()["data"]["_id"]

    def booking(self, booking_id: str) -> dict:
        return connection.database["nursebookings"].find_one({"_id": ObjectId(booking_id)})  # type: ignore[attr-defined]

    def wait_until(self, booking_id: str, is_so: Callable[[dict], bool]) -> dict:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so(booking := self.booking(booking_id)):
            assert time.monotonic() < deadline, f"{booking}\n{self.publisher.log[-1500:]}\n{self.consumer.log[-1500:]}"
            time.sleep(0.1)
        return booking

    def pay(self, booking_id: str) -> None:
        assert self.as_patient("POST", f"/{booking_id}/payment").status_code == 201
        self.wait_until(booking_id, lambda booking: booking["payment"]["status"] == "PAID")

    def is_told(self, kind: str) -> Callable[[dict], bool]:
        return lambda booking: (
            "SENT" in {note["status"] for note in booking.get("notifications", {}).get(kind, {}).values()}
        )


def _json(body: object) -> bytes:
    import orjson

    return b"" if body is None else orjson.dumps(body)


@pytest.fixture
def circle(process_environment, rabbitmq_url, tmp_path: Path, settings) -> Iterator[Circle]:
    breakers_reset()
    service_made()
    stand_ins = StandIns(process_environment, tmp_path)
    for name, url in stand_ins.urls.items():
        setattr(settings, name, url)
    environment = {
        **process_environment,
        **stand_ins.urls,
        "PARTNER_BREAKER_SECONDS": "1",
        "EVENTS_PARTNER_ATTEMPTS": "3",
        "EVENTS_RETRY_SECONDS": "0.2,1",
    }
    publisher = Process(["publish_events"], environment, tmp_path / "publisher.log").start()
    consumer = Process(["consume_events"], environment, tmp_path / "consumer.log").start()
    yield Circle(stand_ins, publisher, consumer)
    publisher.close()
    consumer.close()
    stand_ins.kill()
    breakers_reset()


def inbox_of(name: str) -> int:
    """How many messages of that type have had their effect."""
    return connection.database["inbox"].count_documents({"type": name})  # type: ignore[attr-defined]


def test_a_booking_is_paid_and_its_patient_told_through_the_partners(circle):
    booking_id = circle.book()

    circle.pay(booking_id)

    booking = circle.wait_until(booking_id, circle.is_told("CONFIRMATION"))
    assert booking["status"] == "SEARCHING"
    assert circle.as_admin("PUT", f"/{booking_id}/assign", {"providerId": people.NURSE.id}).status_code == 200
    circle.wait_until(booking_id, circle.is_told("ASSIGNMENT"))


def test_nothing_is_lost_while_the_partners_are_dead(circle):
    assert circle.as_admin("GET", "").status_code in {200, 403}, "the admin is known from before"
    circle.stand_ins.kill()

    booking_id = circle.book()
    assert circle.as_patient("POST", f"/{booking_id}/payment").status_code == 503
    assert circle.as_admin("PUT", f"/{booking_id}/assign", {"providerId": people.NURSE.id}).status_code == 503
    before = circle.booking(booking_id)
    assert (before["status"], before["payment"]["status"]) == ("REQUESTED", "PENDING")
    assert "serviceProvider" not in before or before["serviceProvider"] is None

    circle.stand_ins.start()
    circle.pay(booking_id)
    assert circle.as_admin("PUT", f"/{booking_id}/assign", {"providerId": people.NURSE.id}).status_code == 200
    circle.wait_until(booking_id, circle.is_told("CONFIRMATION"))


def test_a_refund_survives_the_death_of_the_payment_service_and_of_our_publisher(circle):
    booking_id = circle.book()
    circle.pay(booking_id)
    circle.stand_ins.kill()

    assert circle.as_patient("DELETE", f"/{booking_id}", {"reason": "Feeling better"}).status_code == 200
    circle.publisher.wait_for("delivery_postponed")
    circle.publisher.kill()
    assert circle.booking(booking_id)["refund"]["status"] == "REQUESTED"

    circle.stand_ins.start()
    circle.publisher.start()
    booking = circle.wait_until(booking_id, lambda booking: booking["refund"]["status"] == "REFUNDED")
    assert booking["payment"]["status"] == "REFUNDED"
    time.sleep(2)
    assert inbox_of("payment.refunded") == 1


def test_a_refund_that_is_refused_becomes_a_case_for_staff(circle):
    booking_id = circle.book()
    circle.pay(booking_id)
    circle.stand_ins.tell("payments", "reject")

    assert circle.as_patient("DELETE", f"/{booking_id}", {"reason": "Feeling better"}).status_code == 200

    booking = circle.wait_until(booking_id, lambda booking: booking["refund"]["status"] == "NEEDS_STAFF")
    assert booking["payment"]["status"] == "PAID"
    assert booking["status"] == "CANCELLED"


def test_a_declined_payment_can_be_tried_again(circle):
    booking_id = circle.book()
    circle.stand_ins.tell("payments", "decline")
    assert circle.as_patient("POST", f"/{booking_id}/payment").status_code == 201
    circle.wait_until(booking_id, lambda booking: booking["payment"]["status"] == "FAILED")

    circle.stand_ins.tell("payments", "ok")

    circle.pay(booking_id)
