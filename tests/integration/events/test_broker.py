"""events.broker against a real RabbitMQ."""

import os
from dataclasses import replace

import pytest

from events.broker import (
    BrokerUnavailableError,
    Delivery,
    Message,
    Outcome,
    PublishingConnection,
    Subscription,
    declare_topology,
    delay_name,
    short_channel,
    walk_dead,
)
from events.topology import topology
from tests.integration.events.rabbit import eventually, headers_of, message_count, put, take

pytestmark = pytest.mark.broker

NOBODY = "amqp://guest:guest@127.0.0.1:1/none"


def a_message(number: int = 1, *, exchange: str = "payment.events", key: str = "payment.completed") -> Message:
    return Message(
        str(number), key, exchange, key, b'{"n":%d}' % number, 1_700_000_000, "a-request", "a-service", {"n": number}
    )


@pytest.fixture
def publishing(rabbit):
    connection = PublishingConnection(rabbit).open()
    yield connection
    connection.close()


def published(connection, messages):
    batch = connection.send(messages)
    connection.wait(batch)
    return batch


@pytest.fixture
def subscribe(rabbit):
    made = []

    def subscription(prefetch=10):
        made.append(Subscription(rabbit, topology(), prefetch=prefetch))
        return made[-1]

    yield subscription
    for each in made:
        each.close()


def ack(subscription, delivery):
    subscription.settled(delivery)
    subscription.ack_settled()


def receive(subscription: Subscription, count: int) -> list[Delivery]:
    got: list[Delivery] = []

    def enough():
        got.extend(subscription.poll(0.05))
        return len(got) >= count

    eventually(enough, what=f"{len(got)} of {count}")
    return got


def test_it_publishes_a_whole_window_and_each_message_keeps_its_properties(publishing, rabbit):
    batch = published(publishing, [a_message(n) for n in range(300)])
    assert {batch.outcome_of(str(n)) for n in range(300)} == {Outcome.CONFIRMED}
    got = take(rabbit, topology().queue, 300)
    assert [each.message_id for each in got] == [str(n) for n in range(300)]
    first = got[0].properties
    assert (first.type, first.app_id, first.content_type) == ("payment.completed", "a-service", "application/json")
    assert (first.delivery_mode, first.timestamp, first.correlation_id) == (2, 1_700_000_000, "a-request")
    assert headers_of(got[0]) == {"n": 0}


def test_it_tells_unroutable_messages_from_the_others_of_their_window(publishing):
    batch = published(publishing, [a_message(1), a_message(2, key="payment.unknown"), a_message(3)])
    assert [batch.outcome_of(n) for n in "123"] == [Outcome.CONFIRMED, Outcome.RETURNED, Outcome.CONFIRMED]


def test_it_tells_a_message_that_a_full_queue_refuses(publishing, rabbit):
    with short_channel(rabbit) as channel:
        channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}, auto_delete=True)
        channel.queue_bind("full", "payment.events", "full")
        batch = published(publishing, [a_message(n, key="full") for n in range(3)])
        channel.queue_delete("full")
    assert sorted(batch.outcomes.values()) == ["confirmed", "nacked", "nacked"]


def test_batches_may_follow_one_another_without_waiting(publishing, rabbit):
    first = publishing.send([a_message(n) for n in range(100)])
    second = publishing.send([a_message(n) for n in range(100, 200)])
    publishing.wait(second)
    publishing.wait(first)
    assert [len(batch.outcomes) for batch in (first, second)] == [100, 100]
    assert [each.message_id for each in take(rabbit, topology().queue, 200)] == [str(n) for n in range(200)]


def test_a_missing_exchange_closes_the_channel_and_leaves_the_window_unknown(publishing):
    batch = published(publishing, [a_message(1, exchange="no.such.exchange")])
    assert batch.outcome_of("1") is Outcome.UNKNOWN
    eventually(lambda: not publishing.is_open)
    with pytest.raises(BrokerUnavailableError):
        published(publishing, [a_message(2)])


def test_opening_without_a_broker_raises_soon():
    with pytest.raises(BrokerUnavailableError):
        PublishingConnection(NOBODY).open()
    with pytest.raises(BrokerUnavailableError):
        declare_topology(NOBODY, topology())


def test_a_connection_inherited_over_a_fork_refuses_to_work(publishing):
    child = os.fork()
    if child == 0:
        try:
            published(publishing, [a_message(1)])
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert published(publishing, [a_message(2)]).outcome_of("2") is Outcome.CONFIRMED


def test_declaring_twice_changes_nothing(rabbit):
    put(rabbit, "payment.events", "payment.failed", b"{}")
    declare_topology(rabbit, topology())
    assert message_count(rabbit, topology().queue) == 1


def test_the_queue_is_bound_by_its_explicit_keys_only(publishing):
    batch = published(publishing, [a_message(1, key="payment.refunded"), a_message(2, key="payment.opened")])
    assert [batch.outcome_of(n) for n in "12"] == [Outcome.CONFIRMED, Outcome.RETURNED]


@pytest.mark.parametrize(
    ("seconds", "name"), [(5, "5s"), (30.0, "30s"), (300, "5m"), (1800, "30m"), (0.25, "250ms"), (90, "90s")]
)
def test_retry_queues_are_named_by_their_delay(seconds, name):
    assert delay_name(seconds) == name


def test_it_starts_with_one_message_and_widens_with_the_first_that_is_new(rabbit, subscribe):
    for n in range(5):
        put(rabbit, "payment.events", "payment.failed", b"%d" % n)
    subscription = subscribe(prefetch=3)
    (first,) = receive(subscription, 1)
    assert subscription.poll(0.2) == []
    ack(subscription, first)
    assert [each.body for each in receive(subscription, 3)] == [b"1", b"2", b"3"]
    assert subscription.poll(0.2) == []


def test_what_is_settled_before_a_slow_message_is_acked_at_once_and_what_is_after_it_at_half_the_window(
    rabbit, subscribe
):
    put(rabbit, "payment.events", "payment.failed", b"first")
    subscription = subscribe(prefetch=4)
    ack(subscription, receive(subscription, 1)[0])
    for n in range(4):
        put(rabbit, "payment.events", "payment.failed", b"%d" % n)
    before, slow, *after = receive(subscription, 4)
    ack(subscription, after[0])
    assert list(subscription._unacked) == [before.tag, slow.tag, after[0].tag, after[1].tag]
    ack(subscription, before)
    assert list(subscription._unacked) == [slow.tag, after[0].tag, after[1].tag]
    ack(subscription, after[1])
    assert list(subscription._unacked) == [slow.tag]
    subscription.close()
    eventually(lambda: message_count(rabbit, topology().queue) == 1)


def test_what_a_dead_consumer_held_comes_one_at_a_time(rabbit, subscribe):
    for n in range(4):
        put(rabbit, "payment.events", "payment.failed", b"%d" % n)
    first = subscribe(prefetch=4)
    ack(first, receive(first, 1)[0])
    held = receive(first, 3)
    first.close()
    second = subscribe(prefetch=4)
    for expected in held:
        (alone,) = receive(second, 1)
        assert (alone.body, alone.redelivered) == (expected.body, True)
        assert second.poll(0.1) == []
        ack(second, alone)


def test_a_message_that_kills_its_consumers_ends_dead_and_takes_no_other_along(rabbit):
    put(rabbit, "payment.events", "payment.failed", b"poison", message_id="poison")
    for n in range(10):
        put(rabbit, "payment.events", "payment.failed", b"innocent", message_id=str(n))
    handled: list[str] = []
    deaths = 0
    while len(handled) < 10:
        subscription = Subscription(rabbit, topology(), prefetch=10)
        arrived = receive(subscription, 1)
        while arrived and arrived[0].message_id != "poison":
            handled.append(arrived[0].message_id)
            ack(subscription, arrived.pop(0))
            arrived += subscription.poll(0.3)
        subscription.close()
        deaths += 1
        assert deaths < 30
    assert handled == [str(n) for n in range(10)]
    (dead,) = take(rabbit, topology().dead_queue, 1)
    assert dead.message_id == "poison"


def test_a_moved_message_is_in_the_other_queue_with_its_reason_and_gone_from_ours(rabbit, subscribe):
    put(
        rabbit, "payment.events", "payment.failed", b"{}", message_id="m", type="payment.failed", headers={"foreign": 1}
    )
    subscription = subscribe()
    subscription.move(receive(subscription, 1)[0], topology().dead_queue, {"x-reason": "tested"})
    subscription.ack_settled()
    subscription.close()
    (dead,) = take(rabbit, topology().dead_queue, 1)
    assert (dead.message_id, headers_of(dead)) == ("m", {"x-reason": "tested"})
    assert message_count(rabbit, topology().queue) == 0


def test_a_message_in_a_retry_queue_comes_back_after_its_delay(rabbit, subscribe):
    put(rabbit, "payment.events", "payment.failed", b"{}", message_id="m")
    subscription = subscribe()
    subscription.move(receive(subscription, 1)[0], topology().retry_queues[0], {"x-attempt": 1})
    subscription.ack_settled()
    (again,) = receive(subscription, 1)
    assert (again.message_id, again.headers["x-attempt"]) == ("m", 1)


def test_a_move_to_a_queue_that_is_gone_leaves_the_message(rabbit, subscribe):
    put(rabbit, "payment.events", "payment.failed", b"{}")
    subscription = subscribe()
    (delivery,) = receive(subscription, 1)
    with pytest.raises(BrokerUnavailableError):
        subscription.move(delivery, "no-such-queue", {})
    subscription.close()
    eventually(lambda: message_count(rabbit, topology().queue) == 1)


def test_a_queue_of_the_same_name_with_other_arguments_is_refused(rabbit):
    other = replace(topology(), queue="somebody-elses")
    with short_channel(rabbit) as channel:
        channel.queue_delete(other.queue)
        channel.queue_declare(other.queue)
        with pytest.raises(BrokerUnavailableError):
            Subscription(rabbit, other, prefetch=1)
        with pytest.raises(BrokerUnavailableError):
            declare_topology(rabbit, other)
        channel.queue_delete(other.queue)


def test_a_deleted_queue_is_noticed(rabbit, subscribe):
    subscription = subscribe()
    with short_channel(rabbit) as channel:
        channel.queue_delete(topology().queue)
    with pytest.raises(BrokerUnavailableError):
        for _ in range(50):
            subscription.poll(0.1)


def test_wake_ends_a_poll(rabbit, subscribe):
    import threading
    from time import monotonic

    subscription = subscribe()
    threading.Timer(0.1, subscription.wake).start()
    began = monotonic()
    assert subscription.poll(5) == []
    assert monotonic() - began < 2


def test_it_walks_the_dead_and_puts_back_only_the_chosen(rabbit):
    for n in range(4):
        put(rabbit, "", topology().dead_queue, b"%d" % n, message_id=str(n), headers={"x-reason": "x"})
    seen = []

    def choose(delivery):
        seen.append(delivery.message_id)
        return delivery.message_id in "13"

    assert walk_dead(rabbit, topology(), choose, lambda letter: {"x-was": letter.message_id}, limit=100) == 2
    assert seen == ["0", "1", "2", "3"]
    back = take(rabbit, topology().queue, 2)
    assert [(each.message_id, headers_of(each)) for each in back] == [("1", {"x-was": "1"}), ("3", {"x-was": "3"})]
    assert [each.message_id for each in take(rabbit, topology().dead_queue, 2)] == ["0", "2"]
