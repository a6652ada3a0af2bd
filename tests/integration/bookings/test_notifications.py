"""manage.py send_reminders, and what became of notifications."""

import io
from datetime import UTC, datetime, timedelta

import bson
import pytest
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from django.core.management import CommandError, call_command

from bookings import moving, notifications, services, visits
from bookings.exceptions import BookingNotFound
from bookings.notifications import UnknownNotification, notification_is_current
from tests.factories import booking_made, tomorrow
from tests.integration.bookings.parallel import in_parallel

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
VISIT = tomorrow(10, days=3)


def remind():
    output = io.StringIO()
    call_command("send_reminders", stdout=output)
    return output.getvalue().splitlines()


@pytest.fixture
def booking(asha):
    return booking_made(asha, startsAt=VISIT)


@pytest.fixture
def kinds(documents):
    """The kinds of notification that left, oldest first."""

    def told():
        import json

        rows = documents("outbox").find({"type": "notification.send"}).sort("_id")
        return [json.loads(bytes(row["body"]))["kind"] for row in rows]

    return told


def test_each_reminder_goes_out_once_at_its_time(outbox, booking, at, kinds):
    for now, expected in [
        (VISIT - 24 * HOUR - SECOND, ["REMINDER_24H: 0", "REMINDER_2H: 0"]),
        (VISIT - 24 * HOUR, ["REMINDER_24H: 1", "REMINDER_2H: 0"]),
        (VISIT - 23 * HOUR, ["REMINDER_24H: 0", "REMINDER_2H: 0"]),
        (VISIT - 2 * HOUR - SECOND, ["REMINDER_24H: 0", "REMINDER_2H: 0"]),
        (VISIT - 2 * HOUR, ["REMINDER_24H: 0", "REMINDER_2H: 1"]),
        (VISIT - SECOND, ["REMINDER_24H: 0", "REMINDER_2H: 0"]),
        (VISIT, ["REMINDER_24H: 0", "REMINDER_2H: 0"]),
    ]:
        at(now)
        assert remind() == expected, now
    assert kinds() == ["CONFIRMATION", "REMINDER_24H", "REMINDER_2H"]


def test_a_reminder_is_no_change_of_the_booking(outbox, asha, booking, at, documents):
    at(VISIT - HOUR)
    remind()

    assert documents("nursebookings").find_one({"_id": booking["_id"]})["version"] == 1
    assert "reminders" not in services.booking_get(actor=asha, booking_id=booking["_id"])


def test_reminders_follow_a_moved_visit(outbox, asha, booking, at, kinds):
    at(VISIT - 24 * HOUR)
    remind()
    moving.booking_reschedule(actor=asha, booking_id=booking["_id"], starts_at=VISIT + 72 * HOUR)
    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 0"]
    at(VISIT + 69 * HOUR)
    assert remind() == ["REMINDER_24H: 1", "REMINDER_2H: 0"]
    at(VISIT + 71 * HOUR)
    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 1"]
    assert kinds() == ["CONFIRMATION", "REMINDER_24H", "RESCHEDULE", "REMINDER_24H", "REMINDER_2H"]


def test_a_cancelled_visit_is_not_reminded_of(outbox, asha, booking, at, kinds):
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    at(VISIT - HOUR)

    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 0"]
    assert kinds() == ["CONFIRMATION", "CANCELLATION"]


def test_who_books_late_is_not_reminded_of_a_day_ahead(outbox, asha, documents, at, kinds):
    booking = booking_made(asha, startsAt=VISIT)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"createdAt": VISIT - 3 * HOUR}})
    at(VISIT - HOUR)

    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 1"]
    assert kinds() == ["CONFIRMATION", "REMINDER_2H"]


def test_a_command_that_ran_late_sends_only_the_last_reminder(outbox, booking, at, kinds):
    at(VISIT - HOUR)

    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 1"]
    assert kinds() == ["CONFIRMATION", "REMINDER_2H"]


def test_parallel_runs_remind_once(outbox, asha, booking, at, kinds, monkeypatch):
    monkeypatch.setattr(notifications, "BATCH", 2)
    for hour in range(11, 18):
        booking_made(asha, startsAt=tomorrow(hour, days=3))
    at(VISIT - 3 * HOUR)

    results = in_parallel([notifications.reminders_send] * 4)

    assert not [result for result in results if isinstance(result, Exception)]
    assert sum(result["REMINDER_24H"].sent for result in results) == 8
    assert kinds().count("REMINDER_24H") == 8


def test_one_booking_that_resists_does_not_keep_the_others_waiting(
    outbox, asha, booking, at, kinds, monkeypatch, documents, caplog
):
    monkeypatch.setattr(notifications, "BATCH", 2)
    odd = [{"timeline": ["gone"]}, {"timeline": 7}, {"reminders": "none"}, {"reminders": 7}]
    broken = [booking_made(asha, startsAt=tomorrow(hour, days=3))["_id"] for hour in (11, 12, 13, 14)]
    for booking_id, fields in zip(broken, odd, strict=True):
        documents("nursebookings").update_one({"_id": booking_id}, {"$set": fields})
    at(VISIT - 3 * HOUR)

    with pytest.raises(CommandError, match="4 reminders failed") as failure:
        remind()

    assert all(str(booking_id) in str(failure.value) for booking_id in broken)
    assert kinds().count("REMINDER_24H") == 1
    assert caplog.text.count("reminder_failed") == 4


def test_a_booking_with_a_text_that_is_none_keeps_nobody_waiting(outbox, api, asha, booking, at, kinds, documents):
    stored = documents("nursebookings").find_one({"_id": booking["_id"]})
    odd = bson.encode({**stored, "_id": ObjectId(), "specialRequirements": "ZZZZ"}).replace(b"ZZZZ", b"\xff\xfeZZ")
    raw = CodecOptions(document_class=RawBSONDocument)
    documents("nursebookings").with_options(codec_options=raw).insert_one(RawBSONDocument(odd))
    at(VISIT - 3 * HOUR)

    assert remind() == ["REMINDER_24H: 2", "REMINDER_2H: 0"]

    listed = api(asha)("GET", "/bookings")
    assert listed.status_code == 200
    assert {row.get("specialRequirements") for row in listed.body["data"]} == {None, "\ufffd\ufffdZZ"}


@pytest.mark.parametrize(
    "odd", [{"createdAt": "yesterday"}, {"createdAt": None}, {"reminders": None}, {"timeline": None}]
)
def test_an_odd_booking_is_reminded_of_like_others(outbox, booking, at, kinds, documents, odd):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": odd})
    at(VISIT - 5 * HOUR)

    assert remind() == ["REMINDER_24H: 1", "REMINDER_2H: 0"]
    assert remind() == ["REMINDER_24H: 0", "REMINDER_2H: 0"]


@pytest.mark.parametrize("hours", [0, 1, -1])
def test_a_reminder_that_waited_is_checked_before_it_is_delivered(asha, booking, at, hours):
    booking_id = booking["_id"]
    at(VISIT - hours * HOUR)

    assert notification_is_current(booking_id=booking_id, kind="REMINDER_2H", starts_at=VISIT) is (hours > 0)
    assert not notification_is_current(booking_id=booking_id, kind="REMINDER_2H", starts_at=VISIT + HOUR)
    services.booking_cancel(actor=asha, booking_id=booking_id)
    assert not notification_is_current(booking_id=booking_id, kind="REMINDER_2H", starts_at=VISIT)


@pytest.mark.parametrize("kind", ["CONFIRMATION", "ASSIGNMENT", "RESCHEDULE"])
def test_what_waited_is_told_unless_the_visit_was_moved_or_called_off(asha, nurse, admin, booking, kind):
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)

    def is_current(starts_at, kind=kind):
        return notification_is_current(booking_id=booking["_id"], kind=kind, starts_at=starts_at)

    assert is_current(VISIT)
    moving.booking_reschedule(actor=asha, booking_id=booking["_id"], starts_at=VISIT + HOUR)
    assert not is_current(VISIT)
    assert is_current(VISIT + HOUR)
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    assert not is_current(VISIT + HOUR)
    assert is_current(VISIT, kind="CANCELLATION")
    assert not notification_is_current(booking_id=ObjectId(), kind=kind, starts_at=VISIT)


def test_an_assignment_that_waited_is_told_while_somebody_has_the_visit(nurse, admin, directory, booking):
    def is_current():
        return notification_is_current(booking_id=booking["_id"], kind="ASSIGNMENT", starts_at=VISIT)

    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    assert is_current()
    visits.booking_decline(actor=nurse, booking_id=booking["_id"])
    assert not is_current()
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=directory.add().id)
    assert is_current()


def test_what_waited_about_a_visit_without_a_time_is_told(booking, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$unset": {"startsAt": 1}})

    assert notification_is_current(booking_id=booking["_id"], kind="CONFIRMATION", starts_at=None)
    assert not notification_is_current(booking_id=booking["_id"], kind="REMINDER_2H", starts_at=None)


def test_it_notes_what_became_of_a_notification(asha, booking):
    report = {"booking_id": booking["_id"], "kind": "confirmation", "channel": "sms"}
    when = datetime(2026, 11, 22, 10, tzinfo=UTC)

    notifications.notification_recorded(**report, delivered=False)
    assert shown(asha, booking)["SMS"]["status"] == "FAILED"
    notifications.notification_recorded(**report, delivered=True, sent_at=when)
    notifications.notification_recorded(**report, delivered=False)

    assert shown(asha, booking) == {"SMS": {"status": "SENT", "at": when.replace(tzinfo=None)}}
    assert services.booking_get(actor=asha, booking_id=booking["_id"])["version"] == 1


def shown(asha, booking):
    return services.booking_get(actor=asha, booking_id=booking["_id"])["notifications"]["CONFIRMATION"]


@pytest.mark.parametrize(("kind", "channel"), [("$set", "SMS"), ("CONFIRMATION", "a.b"), ("GREETING", "SMS")])
def test_it_refuses_a_report_of_what_it_never_sent(booking, kind, channel):
    with pytest.raises(UnknownNotification):
        notifications.notification_recorded(booking_id=booking["_id"], kind=kind, channel=channel, delivered=True)


@pytest.mark.parametrize("delivered", [True, False])
def test_it_refuses_a_report_about_no_booking(booking, delivered):
    report = {"kind": "CONFIRMATION", "channel": "SMS", "delivered": delivered}

    with pytest.raises(BookingNotFound):
        notifications.notification_recorded(booking_id=ObjectId(), **report)
