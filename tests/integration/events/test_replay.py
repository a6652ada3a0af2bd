"""manage.py replay_dead: dead letters go back as if they came for the first time."""

import struct
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from events import handlers
from events.broker import Subscription
from events.limits import DELIVERY_LIMIT
from events.topology import topology
from tests.integration.events.rabbit import Raw, headers_of, message_count, put, send, take, writing_raw

pytestmark = pytest.mark.broker


@pytest.fixture
def letters(rabbit):
    """Three dead letters: two payments, one of another type."""
    for number, (type_, reason) in enumerate(
        [
            ("payment.completed", "ValueError"),
            ("payment.completed", "BOOKING_NOT_FOUND"),
            ("payment.failed", "ValueError"),
        ]
    ):
        origin = {"x-origin-exchange": "payment.events", "x-origin-routing-key": type_}
        past = {"x-reason": reason, "x-attempt": 5, "x-died-at": "2026-11-22T10:00:00+00:00"}
        headers = {**past, **origin, "foreign": "yes"}
        put(rabbit, "", topology().dead_queue, b"{}", type=type_, message_id=f"m-{number}", headers=headers)
    return rabbit


@pytest.fixture
def effects_of_payments(monkeypatch):
    """What the handler of payment.completed was given."""
    seen: list[Any] = []
    monkeypatch.setitem(handlers.HANDLERS, "payment.completed", seen.append)
    return seen


def replay(capsys, *arguments):
    call_command("replay_dead", *arguments)
    return capsys.readouterr().out


def test_it_puts_every_dead_letter_back_without_its_past(letters, capsys):
    assert "3 put back" in replay(capsys)
    back = take(letters, topology().queue, 3)
    assert [each.message_id for each in back] == [f"m-{n}" for n in range(3)]
    assert [headers_of(each) for each in back] == [
        {"x-origin-exchange": "payment.events", "x-origin-routing-key": type_}
        for type_ in ("payment.completed", "payment.completed", "payment.failed")
    ]
    assert message_count(letters, topology().dead_queue) == 0


def test_a_dry_run_shows_and_moves_nothing(letters, capsys):
    shown = replay(capsys, "--dry-run", "--type", "payment.failed")
    assert "1 would be put back" in shown
    assert "m-2  payment.failed  died 2026-11-22T10:00:00+00:00  after 5: ValueError" in shown
    assert (message_count(letters, topology().queue), message_count(letters, topology().dead_queue)) == (0, 3)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (("--type", "payment.completed"), ["m-0", "m-1"]),
        (("--reason", "NOT_FOUND"), ["m-1"]),
        (("--message-id", "m-2"), ["m-2"]),
        (("--limit", "2"), ["m-0", "m-1"]),
        (("--limit", "0"), []),
        (("--type", "payment.failed", "--limit", "1"), ["m-2"]),
        (("--reason", "ValueError", "--limit", "1"), ["m-0"]),
        (("--type", "payment.completed", "--reason", "ValueError"), ["m-0"]),
    ],
)
def test_a_filter_chooses(letters, capsys, filter, expected):
    replay(capsys, *filter)
    assert [each.message_id for each in take(letters, topology().queue, len(expected))] == expected
    assert message_count(letters, topology().dead_queue) == 3 - len(expected)


def test_a_dry_run_shows_no_more_than_would_be_put_back(letters, capsys):
    shown = replay(capsys, "--dry-run", "--reason", "ValueError", "--limit", "1")
    assert "1 would be put back" in shown
    assert "m-2" not in shown


ODD: dict[str, dict[str, Any]] = {
    "attempts of words": {"headers": {"x-attempt": "abc"}},
    "no attempts": {"headers": {"x-attempt": None, "x-reason": {"a": 1}, "x-died-at": [1]}},
    "a header of no UTF-8": {"headers": {b"\xff": 1}},
    "an instant past all calendars": {"headers": {"x-died-at": Raw(b"T" + struct.pack(">Q", 2**62))}},
    "an id of no UTF-8": {"message_id": b"\xff"},
    "a past of its own": {"headers": {"x-death": [{"exchange": 1}, 2], "x-origin-exchange": 3}},
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_letter_hides_no_other(letters, capsys, odd):
    with writing_raw():
        put(letters, "", topology().dead_queue, b"x", **ODD[odd])
    assert "4 would be put back" in replay(capsys, "--dry-run")
    assert "1 put back" in replay(capsys, "--message-id", "m-1")
    assert "3 put back" in replay(capsys)


def test_a_terminal_is_told_nothing_by_a_letter(rabbit, capsys):
    put(
        rabbit,
        "",
        topology().dead_queue,
        b"x",
        message_id="\x1b]0;owned\x07",
        type="a\nb",
        headers={"x-reason": "\x9b2J"},
    )
    shown = replay(capsys, "--dry-run")
    assert "\\x1b]0;owned\\x07  a\\nb" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert len(shown.splitlines()) == 2


def test_a_letter_that_the_broker_buried_comes_from_where_it_came(rabbit, effects_of_payments, consume, capsys):
    forged = {"x-origin-exchange": "notification.events", "x-origin-routing-key": "notification.sent"}
    send(rabbit, headers=forged)
    for _ in range(DELIVERY_LIMIT + 1):
        subscription = Subscription(rabbit, topology(), prefetch=1)
        while not subscription.poll(0.05):
            pass
        subscription.close()
    assert "1 put back" in replay(capsys)
    consume(lambda: effects_of_payments)


def test_what_came_by_another_exchange_is_not_believed_when_put_back(rabbit, effects_of_payments, consume, capsys):
    body = b'{"event":"payment.completed"}'
    believed = {"x-origin-exchange": "payment.events", "x-origin-routing-key": "payment.completed"}
    put(rabbit, "notification.events", "notification.sent", body, type="payment.completed", headers=believed)
    for _ in range(2):
        consume(lambda: message_count(rabbit, topology().dead_queue) == 1)
        assert "not from its exchange" in replay(capsys)
    assert effects_of_payments == []


def test_looking_often_loses_no_dead_letter(letters, capsys):
    for _ in range(25):
        replay(capsys, "--dry-run")
    assert message_count(letters, topology().dead_queue) == 3


def test_without_a_broker_it_says_so(settings):
    settings.RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:1/none"
    with pytest.raises(CommandError, match="RabbitMQ cannot be reached"):
        call_command("replay_dead")
