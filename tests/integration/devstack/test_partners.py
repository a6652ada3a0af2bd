"""The stand-in partners as a process: asked through our own clients, heard through RabbitMQ."""

import json
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal

import pika
import pytest
import requests
from bson import ObjectId
from django.conf import settings as django_settings

from booking_service.api.callers import Role
from booking_service.devstack import people
from booking_service.partners import main_api, notifications, payments
from booking_service.partners.client import breakers_reset
from booking_service.partners.exceptions import PartnerRefused, PartnerUnavailable, PaymentServiceDown, ProviderNotFound
from events.schemas import CONSUMED_BY_NAME
from tests.integration.partners.stand_ins import COMMAND, URLS, StandIns


@pytest.fixture
def stand_ins(process_environment, rabbitmq_url, tmp_path, settings) -> Iterator[StandIns]:
    breakers_reset()
    running = StandIns(process_environment, tmp_path)
    for name, url in running.urls.items():
        setattr(settings, name, url)
    yield running
    running.kill()
    breakers_reset()


@pytest.fixture
def inbox(rabbitmq_url):
    """Receives what the stand-ins publish: `inbox(count)` waits for as many messages."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for exchange in ("payment.events", "notification.events"):
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_bind(queue, exchange, "#")

    def receive(count: int, seconds: float = 10) -> list:
        received: list = []
        deadline = time.monotonic() + seconds
        while len(received) < count and time.monotonic() < deadline:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method:
                received.append((properties, json.loads(body)))
            else:
                connection.sleep(0.05)
        return received

    yield receive
    connection.close()


def open_order(booking: ObjectId, key: str = "order-1") -> payments.PaymentOrder:
    return payments.order_open(
        booking_id=booking, patient_id=ObjectId(), amount=Decimal("405.75"), currency="INR", idempotency_key=key
    )


def test_the_main_api_knows_its_people(stand_ins):
    assert main_api.provider_get(ObjectId(people.NURSE.id), allow_stale=False).role is Role.NURSE
    assert main_api.provider_get(ObjectId(people.PHYSIOTHERAPIST.id), allow_stale=False).role is Role.PHYSIOTHERAPIST
    assert main_api.provider_get(ObjectId(people.ADMIN.id), allow_stale=False).role is Role.ADMIN
    assert not main_api.provider_get(ObjectId("a00000000000000000000009"), allow_stale=False).is_active
    with pytest.raises(ProviderNotFound):
        main_api.provider_get(ObjectId(), allow_stale=False)


@pytest.mark.broker
def test_a_payment_completes_a_second_later_and_its_event_comes_back(stand_ins, inbox):
    booking = ObjectId()

    order = open_order(booking)

    assert order.status is payments.OrderStatus.OPEN
    ((properties, body),) = inbox(1)
    assert body["event"] == properties.type == "payment.completed"
    assert body["data"]["bookingId"] == str(booking)
    assert body["data"]["amount"] == 405.75
    assert CONSUMED_BY_NAME["payment.completed"].violation(body) is None
    assert properties.message_id
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert payments.order_get(order.id).status is payments.OrderStatus.COMPLETED


@pytest.mark.broker
def test_the_same_key_opens_the_same_order_and_pays_once(stand_ins, inbox):
    booking = ObjectId()

    assert open_order(booking).id == open_order(booking).id

    assert len(inbox(2, seconds=3)) == 1


@pytest.mark.broker
def test_a_payment_service_that_is_killed_still_completes_its_orders(stand_ins, inbox):
    order = open_order(ObjectId())
    stand_ins.kill()
    stand_ins.start()

    ((_, body),) = inbox(1)
    assert body["event"] == "payment.completed"
    assert payments.order_get(order.id).status is payments.OrderStatus.COMPLETED


@pytest.mark.broker
def test_a_refund_arrives(stand_ins, inbox):
    booking = ObjectId()

    refund = payments.refund_request(
        booking_id=booking, transaction_id="txn_1", amount=Decimal("202.88"), idempotency_key="refund-1"
    )

    assert refund.status is payments.RefundStatus.ACCEPTED
    ((_, body),) = inbox(1)
    assert body["event"] == "payment.refunded"
    assert body["data"]["amount"] == 202.88
    assert CONSUMED_BY_NAME["payment.refunded"].violation(body) is None


@pytest.mark.broker
def test_a_notification_is_said_to_be_sent_by_each_channel(stand_ins, inbox):
    notifications.send(
        patient_id=ObjectId(),
        booking_id=ObjectId(),
        kind="CONFIRMATION",
        channels=["SMS", "EMAIL"],
        facts={},
        idempotency_key="n-1",
    )

    bodies = [body for _, body in inbox(2)]
    assert {body["data"]["channel"] for body in bodies} == {"SMS", "EMAIL"}
    assert [CONSUMED_BY_NAME["notification.sent"].violation(body) for body in bodies] == [None, None]


@pytest.mark.broker
def test_it_can_be_told_that_payments_fail(stand_ins, inbox):
    stand_ins.tell("payments", "decline")

    order = open_order(ObjectId())

    ((_, body),) = inbox(1)
    assert (body["event"], body["data"]["orderId"]) == ("payment.failed", order.id)
    assert CONSUMED_BY_NAME["payment.failed"].violation(body) is None


@pytest.mark.parametrize(
    ("mode", "error"), [("down", PaymentServiceDown), ("error", PaymentServiceDown), ("reject", PartnerRefused)]
)
def test_it_can_be_told_to_fail_and_to_work_again(stand_ins, mode, error):
    assert stand_ins.tell("payments", mode).json()["data"]["modes"]["payments"] == mode
    with pytest.raises(error):
        open_order(ObjectId())

    stand_ins.tell("all", "ok")
    assert open_order(ObjectId()).id


def test_a_slow_one_holds_no_caller(stand_ins):
    stand_ins.tell("main_api", "slow")
    started = time.monotonic()

    with pytest.raises(PartnerUnavailable):
        main_api.provider_get(ObjectId(people.NURSE.id), allow_stale=False)

    assert time.monotonic() - started < 5


def test_it_knows_no_other_failure(stand_ins):
    assert stand_ins.tell("payments", "explode").status_code == 400
    assert stand_ins.tell("nobody", "down").status_code == 400


def test_it_answers_services_only_and_says_what_it_is(stand_ins):
    answer = requests.get(f"{stand_ins.urls['MAIN_API_URL']}/api/internal/providers/{people.NURSE.id}", timeout=5)

    assert answer.status_code == 401
    assert answer.headers["X-Stand-In"] == "true"


def test_it_stops_when_asked_to(stand_ins):
    assert stand_ins.stop() == 0


def test_it_does_not_start_in_production(process_environment):
    long_secret = "x" * 64
    production = {
        **process_environment,
        "ENVIRONMENT": "production",
        **dict.fromkeys(URLS, "http://127.0.0.1:1"),
        **dict.fromkeys(("SECRET_KEY", "JWT_SECRET", "SERVICE_SECRET"), long_secret),
        "RABBITMQ_URL": django_settings.RABBITMQ_URL,
        "ALLOWED_HOSTS": "booking.example",
    }

    done = subprocess.run(COMMAND, env=production, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 1
    assert "do not run in production" in done.stderr
