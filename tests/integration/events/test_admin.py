"""The admin's pages of the outbox and the inbox."""

from datetime import UTC, datetime

import pytest
from bson import ObjectId
from django.contrib.auth.models import Group, User
from django.test import Client

from booking_service.djongo import transaction
from events.admin import duration
from events.models import InboxMessage, OutboxEvent
from events.repositories import AT_ONCE, transaction_claim

LIST = "/admin/events/outboxevent/"


def signed_in(user):
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.fixture
def staff(_database):
    return signed_in(User.objects.create_superuser("boss", "boss@example.com", "Secret414002x"))


@pytest.fixture
def member():
    """Signs in a member of a group of staff."""

    def of(group):
        user = User.objects.create_user(group.replace(" ", ""), password="Secret414002x", is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        return signed_in(user)

    return of


@pytest.fixture
def event(waiting):
    """An event in a state of choice; its id."""

    def make(**state):
        (event_id,) = waiting(1, body=b'{"event":"booking.created","data":{"status":"REQUESTED"}}')
        OutboxEvent.objects.mongo_update_one({"_id": event_id}, {"$set": state})
        return event_id

    return make


def retry(client, *event_ids):
    ids = [str(event_id) for event_id in event_ids]
    return client.post(LIST, {"action": "retry", "_selected_action": ids}, follow=True).content.decode()


def test_staff_see_what_waits_with_its_age_attempts_and_last_error(staff, event):
    event(attempts=7, lastError="no queue is bound for this event")
    page = staff.get(LIST).content.decode()
    assert "no queue is bound for this event" in page
    assert ">7<" in page
    assert " ms" in page or " s" in page


@pytest.mark.parametrize(("condition", "shown"), [("waiting", 2), ("stuck", 1), ("dead", 1)])
def test_they_filter_by_condition(staff, event, condition, shown):
    event()
    event(attempts=3)
    event(status="DEAD")
    event(status="SENT", publishedAt=datetime.now(UTC))
    assert staff.get(f"{LIST}?condition={condition}").content.decode().count('name="_selected_action"') == shown


def test_they_filter_by_type(staff, event):
    event()
    event(type="booking.cancelled")
    shown = staff.get(f"{LIST}?type=booking.cancelled").content.decode()
    assert shown.count('name="_selected_action"') == 1


def test_they_find_by_booking_and_event(staff, event):
    event_id = event()
    event()
    row = OutboxEvent.objects.mongo_find_one({"_id": event_id})
    for term in (str(event_id), row["aggregateId"]):
        assert staff.get(f"{LIST}?q={term}").content.decode().count('name="_selected_action"') == 1
    assert staff.get(f"{LIST}?q=.*").content.decode().count('name="_selected_action"') == 0


def test_a_retry_makes_waiting_and_dead_events_due_and_leaves_sent_ones(staff, event):
    later = datetime(2030, 1, 1, tzinfo=UTC)
    stuck, dead, sent = event(dueAt=later, attempts=9), event(status="DEAD", dueAt=later), event(status="SENT")
    assert "2 of 3 events are tried again now." in retry(staff, stuck, dead, sent)
    states = {row["_id"]: (row["status"], row["attempts"]) for row in OutboxEvent.objects.mongo_find({})}
    assert states == {stuck: ("WAITING", 0), dead: ("WAITING", 0), sent: ("SENT", 0)}
    due = {row["dueAt"] for row in OutboxEvent.objects.mongo_find({"_id": {"$in": [stuck, dead]}})}
    assert due == {AT_ONCE}


def test_booking_staff_may_retry_and_readers_may_not(member, event):
    event_id = event(status="DEAD")
    assert member("Read only").get(LIST).status_code == 200
    retry(member("Booking staff"), event_id)
    assert OutboxEvent.objects.mongo_find_one({})["status"] == "WAITING"


def test_readers_may_not_retry(member, event):
    event_id = event(status="DEAD")
    retry(member("Read only"), event_id)
    assert OutboxEvent.objects.mongo_find_one({})["status"] == "DEAD"


def test_one_event_shows_what_it_says(staff, event):
    page = staff.get(f"{LIST}{event()}/change/").content.decode()
    assert "&quot;status&quot;: &quot;REQUESTED&quot;" in page


def test_a_patients_contact_data_are_not_shown(staff, event):
    event_id = event(type="patient.registered", body=b'{"data":{"email":"asha@example.com"}}')
    assert "asha@example.com" not in staff.get(f"{LIST}{event_id}/change/").content.decode()


@pytest.mark.parametrize("path", ["add/", "0123456789abcdef01234567/delete/"])
def test_nobody_adds_or_deletes(staff, path):
    assert staff.get(f"{LIST}{path}").status_code in (302, 403)


def test_the_inbox_is_listed_and_searched(staff):
    for number in (1, 2):
        row = {"_id": f"m-{number}", "type": "payment.completed", "correlationId": "r", "receivedAt": datetime.now(UTC)}
        InboxMessage.objects.mongo_insert_one(row)
    InboxMessage.objects.mongo_insert_one({**row, "_id": "payment.failed:m-1"})
    page = staff.get("/admin/events/inboxmessage/?q=m-1").content.decode()
    assert page.count("payment.failed:m-1</") == 1
    assert ">m-1</" in page
    assert "m-2" not in page


def test_the_inbox_tells_which_booking_a_transaction_paid(staff):
    booking = ObjectId()
    transaction.run(transaction_claim, "t-1", booking)
    page = staff.get("/admin/events/inboxmessage/?q=t-1").content.decode()
    assert "payment.transaction:t-1" in page
    assert str(booking) in staff.get("/admin/events/inboxmessage/payment.transaction:t-1/change/").content.decode()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "40 ms"), (3.21, "3.2 s"), (300, "5 min"), (7200, "2 h"), (345_600, "4 days")]
)
def test_ages_read_well(seconds, text):
    assert duration(seconds) == text
