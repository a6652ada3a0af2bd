"""events.consumer: each message takes effect once, and ends where it should."""

import json
import struct
from contextlib import suppress
from decimal import Decimal
from threading import Event as Flag
from typing import Any

import pytest
from bson import ObjectId
from django.db import OperationalError
from structlog.testing import capture_logs

from booking_service.api.errors import Conflict, NotFound, ServiceUnavailable
from booking_service.api.request_id import current_request_id
from booking_service.operations.metrics import EVENTS_CONSUMED, EVENTS_HANDLER_SECONDS
from events import consumer, handlers
from events.broker import Subscription, short_channel
from events.consumer import Consumer
from events.models import InboxMessage
from events.topology import topology
from tests.integration.events.rabbit import (
    Raw,
    a_payment,
    dead_letter,
    eventually,
    headers_of,
    message_count,
    put,
    send,
    writing_raw,
)

pytestmark = pytest.mark.broker


@pytest.fixture
def effects(monkeypatch):
    """What the handler of payment.completed was given; each call also writes a document in its transaction."""
    seen = []

    def effect(facts):
        seen.append(facts)
        InboxMessage.objects.mongo_insert_one({"_id": f"effect-{ObjectId()}", "type": "effect"})

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", effect)
    return seen


def nested(depth):
    """Encoded headers of tables in tables."""
    table = b""
    for _ in range(depth):
        table = b"\x01xF" + struct.pack(">I", len(table)) + table
    return {"x": Raw(b"F" + struct.pack(">I", len(table)) + table)}


def works(consuming):
    consuming.work(0.05)
    return True


def is_empty(rabbit):
    return lambda: message_count(rabbit, topology().queue) == 0


def effects_written() -> int:
    return InboxMessage.objects.mongo_count_documents({"type": "effect"})


def test_a_message_takes_effect_once_with_its_inbox_row(rabbit, effects, consume):
    send(rabbit, correlation_id="the-request")
    consume(lambda: len(effects) == 1)
    row = InboxMessage.objects.mongo_find_one({"_id": "payment.completed:m-1"})
    assert (row["type"], row["correlationId"]) == ("payment.completed", "the-request")
    assert effects[0]["amount"] == Decimal("678.5")
    assert message_count(rabbit, topology().queue) == 0


def test_the_request_id_of_the_message_is_that_of_its_handling(rabbit, monkeypatch, consume):
    seen = []
    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", lambda _facts: seen.append(current_request_id()))
    send(rabbit, correlation_id="the-request")
    consume(lambda: seen == ["the-request"])


def test_copies_take_no_second_effect(rabbit, effects, consume, increase):
    for _ in range(5):
        send(rabbit)
    send(rabbit, message_id="m-2")
    consume(lambda: len(effects) >= 2 and is_empty(rabbit)())
    assert effects_written() == 2
    assert increase(EVENTS_CONSUMED) == {("payment.completed", "done"): 2, ("payment.completed", "duplicate"): 4}


def test_a_message_without_an_id_counts_by_its_bytes(rabbit, effects, consume):
    body = json.dumps(
        {"event": "payment.completed", "data": a_payment(), "timestamp": "2026-11-22T10:00:00Z", "service": "p"}
    ).encode()
    for _ in range(2):
        put(rabbit, "payment.events", "payment.completed", body)
    consume(lambda: effects and is_empty(rabbit)())
    assert effects_written() == 1


def test_an_id_that_another_type_used_before_is_no_copy(rabbit, effects, consume, monkeypatch):
    monkeypatch.setitem(handlers.HANDLERS, "notification.sent", lambda _facts: None)
    told = {"bookingId": str(ObjectId()), "kind": "CONFIRMATION", "channel": "SMS"}
    send(rabbit, told, type="notification.sent", message_id="1000")
    send(rabbit, message_id="1000")
    consume(lambda: effects and is_empty(rabbit)())
    assert effects_written() == 1


def test_an_id_with_another_body_is_told_by_ids_alone(rabbit, effects, consume, increase):
    send(rabbit)
    send(rabbit, a_payment(transactionId="another"))
    with capture_logs() as lines:
        consume(lambda: increase(EVENTS_CONSUMED).get(("payment.completed", "duplicate")))
    (line,) = [line for line in lines if line["event"] == "message_id_used_twice"]
    assert (line["log_level"], line["message_id"]) == ("warning", "m-1")
    assert "another" not in str(line)
    assert effects_written() == 1


def test_a_copy_with_the_same_body_is_no_warning(rabbit, effects, consume, increase):
    payment = a_payment()
    for _ in range(2):
        send(rabbit, payment)
    with capture_logs() as lines:
        consume(lambda: increase(EVENTS_CONSUMED).get(("payment.completed", "duplicate")))
    assert [line for line in lines if line["log_level"] == "warning"] == []


def test_an_effect_that_fails_leaves_nothing_and_is_tried_again(rabbit, monkeypatch, consume):
    tries = []

    def fails_twice(_facts):
        tries.append(1)
        InboxMessage.objects.mongo_insert_one({"_id": f"effect-{len(tries)}", "type": "effect"})
        if len(tries) <= 2:
            raise OSError("a partner's words")

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", fails_twice)
    send(rabbit)
    consume(lambda: InboxMessage.objects.mongo_count_documents({"_id": "payment.completed:m-1"}) == 1)
    assert len(tries) == 3
    assert effects_written() == 1


def test_a_handler_that_always_raises_ends_dead_with_its_reason_and_lets_the_next_through(
    rabbit, monkeypatch, consume, effects, increase
):
    good = handlers.HANDLERS["payment.completed"]

    def raises_for_one(facts):
        if facts["transactionId"] == "bad":
            raise ValueError("secret words")
        good(facts)

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", raises_for_one)
    send(rabbit, a_payment(transactionId="bad"))
    send(rabbit, message_id="m-2")
    consume(lambda: len(effects) == 1 and message_count(rabbit, topology().dead_queue) == 1)
    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"], letter.headers["x-attempt"]) == ("m-1", "ValueError", 3)
    assert (letter.headers["x-origin-exchange"], letter.headers["x-origin-routing-key"]) == (
        "payment.events",
        "payment.completed",
    )
    assert "secret" not in str(letter.headers)
    assert increase(EVENTS_CONSUMED) == {
        ("payment.completed", "retried"): 2,
        ("payment.completed", "dead"): 1,
        ("payment.completed", "done"): 1,
    }
    assert increase(EVENTS_HANDLER_SECONDS) == {("payment.completed",): 4}


@pytest.mark.parametrize(
    ("refusal", "fate"),
    [(NotFound(), "dead"), (Conflict(), "retried"), (ServiceUnavailable(), "retried"), (OperationalError(), "retried")],
)
def test_what_our_rules_refuse_is_dead_and_what_may_pass_is_retried(monkeypatch, refusal, fate):
    def refuse(_facts):
        raise refusal

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", refuse)
    event = consumer.Event("m-1", "payment.completed", a_payment(), "")
    assert consumer.take_effect(event).fate == fate
    assert InboxMessage.objects.mongo_count_documents({}) == 0


POISON = {
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b"\xff\xfe", "not JSON"),
    "a number no JSON knows": (b'{"a": NaN}', "not JSON"),
    "nested without end": (b"[" * 60_000, "not JSON"),
    "not an object": (b"[]", "schema: data breaks 'type'"),
    "no data": (
        b'{"event":"payment.completed","timestamp":"2026-11-22T10:00:00Z","service":"p"}',
        "schema: data breaks 'required'",
    ),
    "another event's name": (
        json.dumps(
            {"event": "payment.failed", "data": a_payment(), "timestamp": "2026-11-22T10:00:00Z", "service": "p"}
        ).encode(),
        "schema: data.event breaks 'const'",
    ),
    "an id that is none": (
        json.dumps(
            {
                "event": "payment.completed",
                "data": a_payment(bookingId="x"),
                "timestamp": "2026-11-22T10:00:00Z",
                "service": "p",
            }
        ).encode(),
        "schema: data.data.bookingId breaks 'pattern'",
    ),
    "1 MB": (b" " * 1_000_000, "larger than 64 KB"),
    "a number past all bounds": (b'{"a": 1e99999999999999999999}', "not JSON"),
    "an event's name nested deep": (b'{"event":' + b"[" * 900 + b"]" * 900 + b"}", "schema: data breaks 'required'"),
}


@pytest.mark.parametrize("poison", POISON)
def test_poison_is_dead_at_once_unchanged_and_the_next_goes_through(rabbit, effects, consume, increase, poison):
    body, reason = POISON[poison]
    send(rabbit, body=body, message_id="poison")
    send(rabbit)
    consume(lambda: len(effects) == 1 and message_count(rabbit, topology().dead_queue) == 1)
    letter = dead_letter(rabbit)
    assert (letter.message_id, letter.headers["x-reason"], letter.body) == ("poison", reason, body)
    assert increase(EVENTS_CONSUMED) == {("payment.completed", "dead"): 1, ("payment.completed", "done"): 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"transactionId": "\ud800"}, "schema: data.data.transactionId breaks 'pattern'"),
        ({"transactionId": "t\x00"}, "schema: data.data.transactionId breaks 'pattern'"),
        ({"transactionId": "t-1\n"}, "schema: data.data.transactionId breaks 'pattern'"),
        ({"method": "\u202edrac"}, "schema: data.data.method breaks 'anyOf'"),
        ({"currency": "USD"}, "schema: data.data.currency breaks 'anyOf'"),
        ({"amount": 677.1351}, "amount of more than two decimals"),
        ({"paidAt": "9999-12-31T23:59:59-05:30"}, "no such instant"),
        ({"paidAt": "9999-12-31T00:00:00Z"}, "no such instant"),
        ({"paidAt": "0001-01-01T00:00:00Z"}, "no such instant"),
        ({"paidAt": "2101-01-01T00:00:00Z"}, "no such instant"),
        ({"paidAt": "1999-12-31T23:59:59Z"}, "no such instant"),
    ],
)
def test_what_cannot_be_stored_or_shown_as_it_is_is_dead_at_once(rabbit, consume, increase, data, reason):
    send(rabbit, a_payment(**data))
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    letter = dead_letter(rabbit)
    assert (letter.headers["x-reason"], letter.headers["x-attempt"]) == (reason, 1)
    assert increase(EVENTS_CONSUMED) == {("payment.completed", "dead"): 1}


def test_a_payment_in_rupees_passes(rabbit, effects, consume):
    send(rabbit, a_payment(currency="INR", amount=677.10, paidAt="2099-12-31T23:59:59Z", method="कार्ड"))
    consume(lambda: len(effects) == 1)


STRANGE: dict[str, dict[str, Any]] = {
    "an attempt past what can be counted": {"headers": {"x-attempt": 2**63 - 1}},
    "an attempt that is none": {"headers": {"x-attempt": {"a": [None]}}},
    "a double past what can be copied": {"headers": {"x": Raw(b"d" + struct.pack(">d", 1e300))}},
    "an instant past all calendars": {"headers": {"x": Raw(b"T" + struct.pack(">Q", 2**62))}},
    "a header of no UTF-8": {"headers": {b"\xff": 1}},
    "headers as large as a frame": {"headers": {"x": "a" * 130_850}},
    "headers without end": {"headers": nested(1200)},
    "an origin that is none": {"headers": {"x-origin-exchange": [1], "x-reason": 5, "x-died-at": {}}},
    "a copy for ourselves": {"headers": {"CC": ["payment.completed"], "BCC": ["payment.failed"]}},
    "a request id of no UTF-8": {"correlation_id": b"\xff\xfe"},
    "a content type of no UTF-8": {"content_type": b"\xff", "app_id": b"\xff"},
    "a timestamp past all calendars": {"timestamp": 2**63},
}


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_properties_travel_no_further_and_hold_nobody_up(rabbit, effects, consume, increase, strange):
    with writing_raw():
        send(rabbit, body=b"not JSON", message_id="strange", **STRANGE[strange])
        send(rabbit, message_id="m-1", **STRANGE[strange])
    send(rabbit, message_id="m-2")
    consume(lambda: len(effects) == 2 and message_count(rabbit, topology().dead_queue) == 1)
    letter = dead_letter(rabbit)
    assert (letter.body, letter.message_id) == (b"not JSON", "strange")
    assert headers_of(letter) == {
        "x-reason": "not JSON",
        "x-attempt": 1,
        "x-died-at": letter.headers["x-died-at"],
        "x-origin-exchange": "payment.events",
        "x-origin-routing-key": "payment.completed",
    }
    assert increase(EVENTS_CONSUMED)["payment.completed", "dead"] == 1


def test_ids_of_no_utf_8_are_none(rabbit, effects, consume):
    send(rabbit, type="payment.completed", message_id=b"\xff")
    consume(lambda: len(effects) == 1)
    (row,) = InboxMessage.objects.mongo_find({"type": "payment.completed"})
    assert row["_id"].startswith("payment.completed:sha256:")


def test_whatever_reading_a_message_raises_it_is_dead_and_the_next_goes_through(rabbit, effects, consume, monkeypatch):
    def breaks_for_one(body):
        if body == b"poison":
            raise ZeroDivisionError
        return json.loads(body)

    monkeypatch.setattr(consumer, "parse", breaks_for_one)
    send(rabbit, body=b"poison")
    send(rabbit)
    consume(lambda: len(effects) == 1 and message_count(rabbit, topology().dead_queue) == 1)
    assert dead_letter(rabbit).headers["x-reason"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    "headers", [{}, {"x-origin-exchange": "payment.events", "x-origin-routing-key": "payment.completed"}]
)
def test_a_payment_that_came_by_the_notifications_exchange_is_dead(rabbit, effects, consume, headers):
    body = {"event": "payment.completed", "data": a_payment(), "timestamp": "2026-11-22T10:00:00Z", "service": "p"}
    content = json.dumps(body).encode()
    put(rabbit, "notification.events", "notification.sent", content, type="payment.completed", headers=headers)
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    letter = dead_letter(rabbit)
    assert letter.headers["x-reason"] == "not from its exchange"
    assert letter.headers["x-origin-exchange"] == "notification.events"
    assert effects == []


def test_a_failure_that_came_by_the_key_of_a_payment_is_dead(rabbit, consume):
    body = {
        "event": "payment.failed",
        "data": {"bookingId": str(ObjectId())},
        "timestamp": "2026-11-22T10:00:00Z",
        "service": "p",
    }
    put(rabbit, "payment.events", "payment.completed", json.dumps(body).encode(), type="payment.failed")
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    assert dead_letter(rabbit).headers["x-reason"] == "not from its exchange"


def test_log_lines_hold_no_text_of_a_sender(rabbit, consume, effects):
    forged = "Asha Rao\n23:00:00 ERROR forged line \x1b[31m"
    send(rabbit, body=b"not JSON", message_id=forged, correlation_id=forged)
    send(rabbit, message_id=forged, correlation_id=forged)
    with capture_logs() as lines:
        consume(lambda: len(effects) == 1 and message_count(rabbit, topology().dead_queue) == 1)
    assert {line["event"] for line in lines} == {"event_failed", "event_handled"}
    assert "Asha" not in str(lines)
    assert all(line["message_id"].startswith("sha256:") for line in lines)


def test_an_unknown_type_is_dead_at_once(rabbit, effects, consume, increase):
    put(rabbit, "", topology().queue, b'{"event":"payment.invented"}', type="payment.invented")
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    assert dead_letter(rabbit).headers["x-reason"] == "unknown type"
    assert increase(EVENTS_CONSUMED) == {("unknown", "dead"): 1}


def test_a_day_that_no_calendar_has_is_dead_at_once(rabbit, consume):
    send(rabbit, a_payment(paidAt="2026-02-31T10:00:00Z"))
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    assert dead_letter(rabbit).headers["x-reason"] == "no such instant"


def test_nonsense_in_the_attempt_header_counts_as_none(rabbit, monkeypatch, consume):
    def fails(_facts):
        raise OSError

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", fails)
    send(rabbit, headers={"x-attempt": "many"})
    consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
    assert dead_letter(rabbit).headers["x-attempt"] == 3


def test_one_bookings_messages_are_handled_in_the_order_they_came(rabbit, effects, consume):
    booking = str(ObjectId())
    for number in range(30):
        send(rabbit, a_payment(bookingId=booking, transactionId=f"t-{number}"), message_id=f"m-{number}")
    consume(lambda: len(effects) == 30)
    assert [facts["transactionId"] for facts in effects] == [f"t-{number}" for number in range(30)]


def test_a_stop_finishes_the_message_in_hand_and_gives_the_others_back(rabbit, monkeypatch):
    began, go_on = Flag(), Flag()

    def slow(_facts):
        began.set()
        go_on.wait(10)

    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", slow)
    booking = str(ObjectId())
    send(rabbit, a_payment(bookingId=str(ObjectId()), transactionId="first"), type="payment.completed", message_id="0")
    consuming = Consumer(Subscription(rabbit, topology(), prefetch=10), topology(), threads=2)
    go_on.set()
    eventually(
        lambda: works(consuming) and InboxMessage.objects.mongo_count_documents({"_id": "payment.completed:0"}) == 1
    )
    began.clear()
    go_on.clear()
    for number in (1, 2, 3):
        send(rabbit, a_payment(bookingId=booking), message_id=str(number))
    eventually(lambda: works(consuming) and began.is_set())
    consuming.work(0.2)
    import threading

    threading.Timer(0.3, go_on.set).start()
    consuming.stop(10)
    assert InboxMessage.objects.mongo_count_documents({"_id": {"$in": [f"payment.completed:{n}" for n in "123"]}}) == 1
    eventually(lambda: message_count(rabbit, topology().queue) == 2)


def test_a_deleted_queue_is_made_again_and_consumed(rabbit, effects):
    import threading

    from events.lanes import consume_until

    stopping = threading.Event()
    thread = threading.Thread(target=consume_until, args=(stopping,))
    thread.start()
    try:
        send(rabbit)
        eventually(lambda: len(effects) == 1)
        with short_channel(rabbit) as channel:
            channel.queue_delete(topology().queue)
        eventually(lambda: _is_there(rabbit))
        send(rabbit, message_id="m-2")
        eventually(lambda: len(effects) == 2)
    finally:
        stopping.set()
        thread.join(10)


def _is_there(rabbit):
    with suppress(Exception):
        return message_count(rabbit, topology().queue) >= 0
