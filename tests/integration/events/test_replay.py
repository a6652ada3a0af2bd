"""manage.py replay_dead: dead letters go back as if they came for the first time."""

import pytest
from django.core.management import CommandError, call_command

from events.topology import topology
from tests.integration.events.rabbit import message_count, put, take

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
        headers = {"x-reason": reason, "x-attempt": 5, "x-died-at": "2026-11-22T10:00:00+00:00", "kept": "yes"}
        put(rabbit, "", topology().dead_queue, b"{}", type=type_, message_id=f"m-{number}", headers=headers)
    return rabbit


def replay(capsys, *arguments):
    call_command("replay_dead", *arguments)
    return capsys.readouterr().out


def test_it_puts_every_dead_letter_back_without_its_past(letters, capsys):
    assert "3 put back" in replay(capsys)
    back = take(letters, topology().queue, 3)
    assert [(each.message_id, each.headers) for each in back] == [(f"m-{n}", {"kept": "yes"}) for n in range(3)]
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


def test_looking_often_loses_no_dead_letter(letters, capsys):
    for _ in range(25):
        replay(capsys, "--dry-run")
    assert message_count(letters, topology().dead_queue) == 3


def test_without_a_broker_it_says_so(settings):
    settings.RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:1/none"
    with pytest.raises(CommandError, match="RabbitMQ cannot be reached"):
        call_command("replay_dead")
