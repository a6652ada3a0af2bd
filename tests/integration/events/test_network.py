"""What a network and a broker short of memory do to connections: nothing hangs, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from pytest_django import Settings

from booking_service.devstack.servers import RabbitServer
from booking_service.operations.metrics import EVENTS_PUBLISHED
from events.broker import (
    BrokerUnavailableError,
    Delivery,
    Message,
    Outcome,
    PublishingConnection,
    Subscription,
    declare_topology,
)
from events.models import OutboxEvent
from events.publisher import BrokerLane
from events.topology import topology
from tests.chaos.proxy import Proxy
from tests.integration.events.rabbit import eventually, message_count, put, send, take

pytestmark = pytest.mark.broker


@pytest.fixture
def network(rabbit: str, settings: Settings) -> Iterator[Proxy]:
    """Lies between us and the broker."""
    with Proxy(rabbit) as proxy:
        settings.RABBITMQ_URL = proxy.uri
        yield proxy


def a_message() -> Message:
    return Message("m-1", "payment.completed", "payment.events", "payment.completed", b"{}", 1_700_000_000)


def received(subscription: Subscription) -> Delivery:
    delivery: Delivery
    (delivery,) = eventually(lambda: subscription.poll(0.05))
    return delivery


def polls(subscription: Subscription, *, seconds: float) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        subscription.poll(0.1)


def test_what_was_on_its_way_when_the_connection_was_reset_goes_out_again(
    network: Proxy, rabbit: str, listening: str, waiting: Any, increase: Any
) -> None:
    lane = BrokerLane()
    assert lane.step() == 0  # it is connected
    (event_id,) = waiting(1)
    with network.silent():
        lane.step()
        assert network.reset() == 1
    while lane.step():
        pass
    lane.close()

    assert increase(EVENTS_PUBLISHED) == {("booking.created", "unknown"): 1, ("booking.created", "confirmed"): 1}
    assert [message.message_id for message in take(rabbit, listening, 1)] == [str(event_id)]
    assert OutboxEvent.objects.mongo_find_one({})["status"] == "SENT"


def test_a_silent_network_leaves_a_batch_unknown_after_the_time_for_confirms(network: Proxy) -> None:
    connection = PublishingConnection(network.uri, confirm_seconds=0.5).open()
    with network.silent():
        began = monotonic()
        batch = connection.send([a_message()])
        connection.wait(batch)
        assert monotonic() - began < 5
        assert batch.outcome_of("m-1") is Outcome.UNKNOWN
        assert not connection.is_open


def test_nobody_waits_for_a_broker_that_does_not_answer(network: Proxy) -> None:
    with network.silent():
        began = monotonic()
        with pytest.raises(BrokerUnavailableError):
            PublishingConnection(network.uri).open()
        with pytest.raises(BrokerUnavailableError):
            Subscription(network.uri, topology(), prefetch=1)
        assert monotonic() - began < 25


def test_a_connection_that_is_reset_while_it_is_made_is_a_broker_that_is_away(
    rabbit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: Any, **__: Any) -> None:
        raise ValueError("Expected connected socket, but getpeername() failed")

    monkeypatch.setattr("pika.adapters.utils.io_services_utils._AsyncStreamConnector.__init__", reset)

    with pytest.raises(BrokerUnavailableError):
        Subscription(rabbit, topology(), prefetch=1)
    with pytest.raises(BrokerUnavailableError):
        declare_topology(rabbit, topology())
    with pytest.raises(BrokerUnavailableError):
        PublishingConnection(rabbit).open()


def test_a_reset_subscription_is_gone_and_what_it_held_comes_again(network: Proxy, rabbit: str) -> None:
    send(rabbit)
    first = Subscription(network.uri, topology(), prefetch=10)
    received(first)
    assert network.reset() == 1
    with pytest.raises(BrokerUnavailableError):
        polls(first, seconds=5)

    second = Subscription(network.uri, topology(), prefetch=10)
    again = received(second)
    second.close()

    assert (again.message_id, again.redelivered) == ("m-1", True)


def test_a_subscription_on_a_silent_network_ends_with_its_heartbeats(network: Proxy) -> None:
    subscription = Subscription(network.uri, topology(), prefetch=10, heartbeat=1)
    with network.silent(), pytest.raises(BrokerUnavailableError):
        polls(subscription, seconds=20)


# --- a memory alarm ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def own_rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A broker that no other test uses: an alarm blocks all who publish."""
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as server:
        yield server


@pytest.fixture
def alarm(own_rabbit: RabbitServer) -> Iterator[Callable[[], str]]:
    """Raises the memory alarm until the end of the test."""
    declare_topology(own_rabbit.uri, topology())
    yield lambda: own_rabbit.control("set_vm_memory_high_watermark", "absolute", "1")
    own_rabbit.control("set_vm_memory_high_watermark", "0.4")


def within(seconds: float, work: Callable[[], None]) -> None:
    """Run `work`; fails when it hangs."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"


def test_publishing_under_an_alarm_is_given_up_when_it_was_blocked_long_enough(
    own_rabbit: RabbitServer, alarm: Callable[[], str]
) -> None:
    connection = PublishingConnection(own_rabbit.uri, confirm_seconds=60, blocked=1).open()
    alarm()
    batch = connection.send([a_message()])

    within(15, lambda: connection.wait(batch))

    assert batch.outcome_of("m-1") is Outcome.UNKNOWN
    eventually(lambda: not connection.is_open)


def test_moving_a_message_under_an_alarm_is_given_up_and_leaves_it_in_the_queue(
    own_rabbit: RabbitServer, alarm: Callable[[], str]
) -> None:
    put(own_rabbit.uri, "", topology().queue, b"{}", message_id="m-1")
    subscription = Subscription(own_rabbit.uri, topology(), prefetch=1, blocked=1)
    delivery = received(subscription)
    alarm()
    raised: list[Exception] = []

    def move() -> None:
        try:
            subscription.move(delivery, topology().dead_queue, {})
        except BrokerUnavailableError as error:
            raised.append(error)

    within(15, move)

    assert len(raised) == 1
    subscription.close()
    eventually(lambda: message_count(own_rabbit.uri, topology().queue) == 1)
