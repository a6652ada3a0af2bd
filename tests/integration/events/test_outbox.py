"""events.repositories: what may be claimed, in which order, and what a claim is worth."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from booking_service.djongo.transaction import atomic
from events.exceptions import AlreadyDoneError, OutsideTransactionError
from events.models import AT_ONCE, InboxMessage, Lane, OutboxEvent, Status
from events.repositories import (
    inbox_add,
    outbox_add,
    outbox_backlog,
    outbox_changes,
    outbox_claim,
    outbox_postpone,
    outbox_retry,
    outbox_sent,
    transaction_claim,
)

LEASE = timedelta(seconds=30)


def claim(limit=100, lease=LEASE):
    return outbox_claim(Lane.BROKER, limit=limit, lease=lease)


def ids(rows):
    return [row["_id"] for row in rows]


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


def test_writing_outside_a_transaction_raises_and_writes_nothing():
    with pytest.raises(OutsideTransactionError):
        outbox_add([], correlation_id="", at=datetime.now(UTC))
    with pytest.raises(OutsideTransactionError):
        OutboxEvent(type="booking.created", created_at=datetime.now(UTC)).save()
    with pytest.raises(OutsideTransactionError):
        inbox_add("m", type="payment.completed", correlation_id="", digest="")
    with pytest.raises(OutsideTransactionError):
        transaction_claim("t-1", ObjectId())
    assert OutboxEvent.objects.mongo_count_documents({}) == InboxMessage.objects.mongo_count_documents({}) == 0


def test_a_rolled_back_transaction_leaves_no_row(waiting):
    with pytest.raises(ZeroDivisionError), atomic():
        waiting(3)
        raise ZeroDivisionError
    assert claim() == []


def test_only_the_first_unsent_row_of_each_aggregate_is_claimed(waiting):
    first, second = waiting(3), waiting(2)
    assert set(ids(claim())) == {first[0], second[0]}


def test_a_claimed_row_is_nobody_elses_and_blocks_its_successors(waiting):
    waiting(3)
    assert len(claim()) == 1
    assert claim() == []


def test_the_successor_comes_once_its_predecessor_is_sent(waiting):
    rows = waiting(3)
    for expected in rows:
        claimed = claim()
        assert ids(claimed) == [expected]
        outbox_sent(claimed)
    assert claim() == []


def test_a_lower_version_goes_first_even_when_it_was_written_later(waiting):
    aggregate = str(ObjectId())
    (later,) = waiting(1, aggregate=aggregate, first_version=9)
    (earlier,) = waiting(1, aggregate=aggregate, first_version=2)
    sent = []
    while rows := claim():
        sent += ids(rows)
        outbox_sent(rows)
    assert sent == [earlier, later]


def test_a_lease_that_ran_out_makes_the_row_due_again_with_one_attempt_more(waiting):
    (row,) = waiting(1)
    claim(lease=timedelta(seconds=-1))
    assert ids(claim()) == [row]
    assert OutboxEvent.objects.mongo_find_one({})["attempts"] == 2


def test_a_backing_off_row_holds_only_its_own_aggregate(waiting):
    stuck, free = waiting(2), waiting(2)
    rows = claim()
    by_id = {row["_id"]: row for row in rows}
    outbox_postpone({stuck[0]: in_an_hour()}, owner=rows[0]["leaseOwner"], error="no queue")
    outbox_sent([by_id[free[0]]])
    assert ids(claim()) == [free[1]]


def test_rows_behind_one_that_backs_off_come_with_it_once_they_fill_what_is_looked_at(waiting):
    _head, follower = waiting(2)
    until = in_an_hour()
    rows = claim()
    outbox_postpone({rows[0]["_id"]: until}, owner=rows[0]["leaseOwner"], error="no queue")
    assert claim(limit=1) == []
    due = OutboxEvent.objects.mongo_find_one({"_id": follower})["dueAt"]
    assert abs(due - until) < timedelta(milliseconds=1)


def test_stuck_aggregates_do_not_starve_the_others(waiting):
    for _ in range(5):
        waiting(2)
    rows = claim()
    outbox_postpone({row["_id"]: in_an_hour() for row in rows}, owner=rows[0]["leaseOwner"], error="no queue")
    (free,) = waiting(1)
    assert ids(claim(limit=3)) == [free]


def test_rows_behind_heads_that_a_dead_publisher_holds_do_not_hide_the_others(waiting):
    held = [waiting(4) for _ in range(5)]
    assert len(claim(limit=20)) == len(held)  # and then the publisher dies
    free = [*waiting(1), *waiting(1)]

    assert set(ids(claim(limit=2))) == set(free)
    followers = {"_id": {"$in": [row for rows in held for row in rows[1:]]}}
    due = {row["dueAt"] for row in OutboxEvent.objects.mongo_find(followers)}
    assert due == {AT_ONCE}, "they go as soon as their head has gone"


def test_it_ends_when_every_due_row_is_behind_one_that_is_held(waiting):
    for _ in range(5):
        waiting(3)
    claim()
    assert claim(limit=1) == claim(limit=10) == claim() == []


def test_who_lost_the_lease_cannot_give_the_row_back(waiting):
    waiting(1)
    frozen = claim(lease=timedelta(seconds=-1))
    holder = claim()
    outbox_postpone({frozen[0]["_id"]: datetime.now(UTC)}, owner=frozen[0]["leaseOwner"], error="late")
    row = OutboxEvent.objects.mongo_find_one({"_id": holder[0]["_id"]})
    assert (row["leaseOwner"], row["lastError"]) == (holder[0]["leaseOwner"], "")


def test_who_lost_the_lease_may_still_say_that_it_arrived(waiting):
    waiting(1)
    frozen = claim(lease=timedelta(seconds=-1))
    claim()
    outbox_sent(frozen)
    row = OutboxEvent.objects.mongo_find_one({})
    assert (row["status"], row["leaseOwner"]) == (Status.SENT, None)


def test_a_sent_row_never_becomes_waiting_again(waiting):
    waiting(1)
    rows = claim()
    outbox_sent(rows)
    outbox_postpone({rows[0]["_id"]: datetime.now(UTC)}, owner=rows[0]["leaseOwner"], error="late")
    assert outbox_retry(ids(rows)) == 0
    assert claim() == []


def test_retrying_makes_a_row_due_now(waiting):
    waiting(1)
    rows = claim()
    outbox_postpone({rows[0]["_id"]: in_an_hour()}, owner=rows[0]["leaseOwner"], error="no queue")
    assert claim() == []
    assert outbox_retry(ids(rows)) == 1
    assert ids(claim()) == ids(rows)


def test_only_published_rows_ever_expire(waiting):
    waiting(2, aggregate="a" * 24)
    outbox_sent(claim())
    expiry = OutboxEvent.objects.mongo_index_information()["outbox_sent"]
    assert (expiry["key"], expiry["expireAfterSeconds"]) == ([("publishedAt", 1)], 14 * 24 * 3600)
    assert expiry["partialFilterExpression"] == {"status": "SENT"}
    dates = {row["status"]: row["publishedAt"] for row in OutboxEvent.objects.mongo_find({})}
    assert dates[Status.WAITING] is None
    assert dates[Status.SENT] is not None


ODD = [  # but no lists: an index that has seen one orders nothing any more, for the tests that follow
    {"aggregateId": {"a": 1}},
    {"aggregateId": None},
    {"attempts": None},
    {"attempts": "x"},
    {"attempts": float("nan")},
    {"body": 10**12},
    {"correlationId": None},
    {"dueAt": DatetimeMS(-(10**15))},
    {"type": {"a": 1}},
]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_row_is_dead_and_holds_nobody_back(waiting, odd, caplog):
    aggregate = str(ObjectId())
    before, after = waiting(2, aggregate=aggregate)
    (other,) = waiting(1)
    OutboxEvent.objects.mongo_update_one({"_id": before}, {"$set": odd})

    assert set(ids(claim())) == {after, other}

    row = OutboxEvent.objects.mongo_find_one({"_id": before})
    (name,) = odd
    assert (row["status"], row["lastError"]) == (Status.DEAD, f"odd: {name}")
    assert caplog.text.count("outbox_row_odd") == 1


def test_an_odd_row_that_is_not_due_holds_nobody_back(waiting):
    before, after = waiting(2)
    OutboxEvent.objects.mongo_update_one({"_id": before}, {"$set": {"dueAt": in_an_hour()}, "$unset": {"attempts": 1}})
    assert ids(claim()) == [after]


def test_a_row_that_knows_no_lease_is_claimed_like_others(waiting):
    (row,) = waiting(1)
    OutboxEvent.objects.mongo_update_one({"_id": row}, {"$unset": {"leaseOwner": 1}})
    assert ids(claim()) == [row]


def test_claiming_reads_no_more_than_it_takes(waiting):
    for _ in range(40):
        waiting(1)
    query = {"status": "WAITING", "lane": "BROKER", "dueAt": {"$lte": datetime.now(UTC)}}
    plan = OutboxEvent.objects.mongo_find(query).sort([("dueAt", 1), ("_id", 1)]).limit(10).explain()
    assert plan["executionStats"]["totalKeysExamined"] <= 11
    assert "SORT" not in str(plan["queryPlanner"]["winningPlan"])


def test_the_backlog_counts_unsent_rows_by_type_with_the_oldest_age(waiting):
    waiting(3)
    outbox_sent(claim())
    (backlog,) = outbox_backlog()
    assert (backlog.lane, backlog.type, backlog.status, backlog.events) == ("BROKER", "booking.created", "WAITING", 2)
    assert 0 <= backlog.oldest_seconds < 10


def test_a_commit_is_told_at_once(waiting):
    changes = outbox_changes(wait=timedelta(seconds=5))
    assert next(changes) is None
    began = datetime.now(UTC)
    waiting(1)
    assert next(changes) is Lane.BROKER
    assert datetime.now(UTC) - began < timedelta(seconds=2)


@pytest.mark.parametrize("odd", [{"lane": "EMAIL"}, {"lane": {"a": 1}}, {}])
def test_a_commit_in_no_lane_of_ours_is_told_all_the_same(odd):
    changes = outbox_changes(wait=timedelta(seconds=60))
    assert next(changes) is None
    began = datetime.now(UTC)
    OutboxEvent.objects.mongo_insert_one({"_id": ObjectId(), **odd})
    assert next(changes) is None
    assert datetime.now(UTC) - began < timedelta(seconds=2)


def test_a_message_is_noted_once():
    with atomic():
        inbox_add("m", type="payment.completed", correlation_id="r", digest="1")

    with pytest.raises(AlreadyDoneError) as done, atomic():
        inbox_add("m", type="payment.completed", correlation_id="r", digest="2")
    assert done.value.digest == "1"


def test_ids_are_the_same_only_within_a_type():
    with atomic():
        inbox_add("m", type="notification.sent", correlation_id="r", digest="1")
        inbox_add("m", type="payment.completed", correlation_id="r", digest="2")
    assert InboxMessage.objects.mongo_count_documents({}) == 2


def test_long_ids_that_begin_alike_are_different_messages():
    with atomic():
        for end in "ab":
            inbox_add("m" * 254 + end, type="payment.completed", correlation_id="r", digest="1")
    assert InboxMessage.objects.mongo_count_documents({}) == 2


def test_a_message_noted_by_its_plain_id_is_recognised():
    row = {"_id": "m", "type": "payment.completed", "correlationId": "r", "receivedAt": datetime.now(UTC)}
    InboxMessage.objects.mongo_insert_one(row)

    with pytest.raises(AlreadyDoneError), atomic():
        inbox_add("m", type="payment.completed", correlation_id="r", digest="1")


def test_a_row_with_a_text_that_is_none_holds_nobody_back(waiting):
    (event_id,), (other,) = waiting(1, request="ZZZZ"), waiting(1)
    collection = OutboxEvent.objects.mongo_with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    odd = collection.find_one_and_delete({"_id": event_id}).raw.replace(b"ZZZZ", b"\xff\xfeZZ")
    collection.insert_one(RawBSONDocument(odd))
    assert set(ids(claim())) == {event_id, other}
