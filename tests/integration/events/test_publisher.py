"""events.publisher: one batch at a time, against a real broker and database."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from jsonschema import Draft7Validator

from booking_service.operations.metrics import EVENTS_PUBLISHED
from events.asyncapi import HEADERS
from events.broker import Batch, BrokerUnavailableError, short_channel
from events.models import Lane, OutboxEvent, Status
from events.publisher import BrokerLane, connect, message, settle
from events.repositories import outbox_claim
from tests.integration.events.rabbit import eventually, headers_of, message_count, take

pytestmark = pytest.mark.broker


@pytest.fixture
def lane(rabbit):
    made = BrokerLane()
    yield made
    made.close()


def publish_all(lane) -> None:
    while lane.step():
        pass


def rows():
    return list(OutboxEvent.objects.mongo_find({}).sort("position", 1))


def test_it_publishes_what_is_due_and_marks_it(lane, listening, rabbit, waiting, increase):
    (event_id,) = waiting(1, body=b'{"event":"booking.created"}')
    publish_all(lane)
    (message,) = take(rabbit, listening, 1)
    assert (message.message_id, message.type) == (str(event_id), "booking.created")
    assert (message.body, message.correlation_id) == (b'{"event":"booking.created"}', "a-request")
    assert (message.properties.app_id, message.properties.delivery_mode) == ("patient-booking-service", 2)
    (row,) = rows()
    assert headers_of(message) == {
        "aggregate_id": row["aggregateId"],
        "aggregate_version": 1,
        "correlation_id": "a-request",
    }
    Draft7Validator({**HEADERS, "additionalProperties": False}).validate(headers_of(message))
    assert row["status"] == Status.SENT
    assert datetime.now(UTC) - row["publishedAt"] < timedelta(seconds=10)
    assert increase(EVENTS_PUBLISHED) == {("booking.created", "confirmed"): 1}


def test_nothing_due_publishes_nothing(lane, rabbit):
    assert lane.step() == 0


def test_events_of_one_booking_leave_in_order(lane, listening, rabbit, waiting, settings):
    settings.EVENTS_BATCH = 7
    expected = [waiting(5) for _ in range(6)]
    publish_all(lane)
    order = [message.message_id for message in take(rabbit, listening, 30)]
    for events in expected:
        assert [each for each in order if ObjectId(each) in events] == [str(each) for each in events]


def test_an_unroutable_event_stays_backs_off_and_holds_its_successors(lane, rabbit, waiting, increase):
    waiting(2)
    publish_all(lane)
    first, second = rows()
    assert (first["status"], first["lastError"]) == (Status.WAITING, "no queue is bound for this event")
    assert datetime.now(UTC) < first["dueAt"] < datetime.now(UTC) + timedelta(seconds=2)
    assert second["status"] == Status.WAITING
    assert increase(EVENTS_PUBLISHED) == {("booking.created", "returned"): 1}


def test_it_goes_out_once_somebody_listens(lane, rabbit, waiting, listening):
    with short_channel(rabbit) as channel:
        channel.queue_unbind(listening, "booking.events", "#")
        waiting(2)
        publish_all(lane)
        channel.queue_bind(listening, "booking.events", "#")
    OutboxEvent.objects.mongo_update_many({}, {"$set": {"dueAt": datetime.now(UTC)}})
    publish_all(lane)
    assert [message.headers["aggregate_version"] for message in take(rabbit, listening, 2)] == [1, 2]


def test_an_event_refused_by_a_full_queue_stays(lane, rabbit, waiting, increase):
    with short_channel(rabbit) as channel:
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare("full", arguments=arguments)
        channel.queue_bind("full", "booking.events", "#")
        for _ in range(3):
            waiting(1)
        publish_all(lane)
        channel.queue_delete("full")
    assert sorted(row["status"] for row in rows()) == ["SENT", "WAITING", "WAITING"]
    assert {row["lastError"] for row in rows()} == {"", "the broker refused it (a full queue?)"}
    assert increase(EVENTS_PUBLISHED) == {("booking.created", "confirmed"): 1, ("booking.created", "nacked"): 2}


def test_what_was_in_flight_when_the_connection_broke_is_due_again_with_the_same_bytes(
    lane, rabbit, waiting, listening
):
    waiting(1, body=b'{"n":1}')
    (claimed,) = outbox_claim(Lane.BROKER, limit=1, lease=timedelta(seconds=-1))
    connection = connect()
    connection.wait(connection.send([message(claimed)]))  # and then the publisher dies, before it marks the row
    connection.close()
    publish_all(lane)
    one, two = take(rabbit, listening, 2)
    assert (one.message_id, one.body, one.properties.timestamp) == (two.message_id, two.body, two.properties.timestamp)


def test_rows_sent_on_a_connection_that_closes_are_given_back_and_go_out_on_the_next(
    lane, rabbit, waiting, listening, increase
):
    waiting(1)
    lane.step()
    waiting(1)
    lane._connection._schedule(lane._connection._shut)
    eventually(lambda: not lane._connection.is_open)
    publish_all(lane)
    assert {row["status"] for row in rows()} == {Status.SENT}
    assert message_count(rabbit, listening) >= 2
    assert increase(EVENTS_PUBLISHED)["booking.created", "confirmed"] == 2


@pytest.mark.parametrize(
    "odd", [{"aggregateVersion": 2.0}, {"aggregateVersion": float("nan")}, {"correlationId": "x" * 300}]
)
def test_a_row_that_no_message_can_be_made_of_is_dead_and_holds_nobody_back(
    lane, rabbit, waiting, listening, odd, caplog
):
    aggregate = str(ObjectId())
    (first,) = waiting(1, aggregate=aggregate)
    (after,) = waiting(1, aggregate=aggregate, first_version=3)
    (other,) = waiting(1)
    OutboxEvent.objects.mongo_update_one({"_id": first}, {"$set": odd})

    publish_all(lane)

    found = {row["_id"]: row for row in rows()}
    assert {event_id: row["status"] for event_id, row in found.items()} == {first: "DEAD", after: "SENT", other: "SENT"}
    assert found[first]["lastError"].startswith("no message can be made of it: ")
    assert {message.message_id for message in take(rabbit, listening, 2)} == {str(after), str(other)}
    assert caplog.text.count("event_dead") == 1


def test_what_no_broker_confirms_again_and_again_is_not_hurried(waiting):
    waiting(1)
    for tries in range(1, 5):
        (claimed,) = outbox_claim(Lane.BROKER, limit=1, lease=timedelta(seconds=10))
        settle([claimed], Batch([]))
        (row,) = rows()
        assert (row["attempts"], row["dueAt"] <= datetime.now(UTC)) == (tries, tries <= 3)


def test_without_a_broker_nothing_is_claimed(settings, waiting):
    settings.RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:1/none"
    waiting(1)
    with pytest.raises(BrokerUnavailableError):
        BrokerLane().step()
    (row,) = rows()
    assert (row["leaseOwner"], row["attempts"]) == (None, 0)
