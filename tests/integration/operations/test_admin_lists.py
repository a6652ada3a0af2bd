"""Every list of the admin reads what can be paged through, however many documents there are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from booking_service.api import admin_lists
from booking_service.api.callers import Role
from bookings.lifecycle import Status as Stage
from bookings.models import Booking
from catalog.models import ACTIONS, Service, ServiceChange
from events.admin import TypeFilter
from events.models import InboxMessage, OutboxEvent
from patients.audit import Access
from patients.models import ClinicalAccess, Patient
from tests.integration.catalog.documents import service_made
from tests.integration.conftest import Profiler

# Staff make these one by one: they are few, and their lists are for looking through all of them.
FEW = {Service, Group, User}
MOST, OF_A_KIND, LEAST = 60, 100, 400  # so that whatever reads all of one kind, or all to find some, reads too much
BESIDES = 20  # documents that may be read besides those that can be paged through
NEWEST = datetime(2026, 11, 26, tzinfo=UTC)
PATIENT, PROVIDER, STAFF, SERVICE = (ObjectId() for _ in range(4))

# What the documents of a list have alike: each filter, and each term of SEARCHES, is to find a part of them.
KINDS: dict[Any, list[dict[str, Any]]] = {
    Booking: [
        *({"status": stage} for stage in Stage),
        *({"payment": {"status": status}} for status in ("PENDING", "FAILED", "PAID")),
        *({"refund": {"status": status}} for status in ("NEEDS_STAFF", "REQUESTED")),
        {"payment": {"needsStaff": True}},
        {"patient": PATIENT},
        {"serviceProvider": PROVIDER},
        {"serviceType": "WOUND_DRESSING"},
    ],
    Patient: [{}],
    ClinicalAccess: [
        *({"actorRole": role} for role in Role),
        *({"action": action} for action in Access),
        {"actorId": STAFF},
        {"objectId": str(PATIENT)},
    ],
    ServiceChange: [*({"action": action} for action in ACTIONS), {"service": SERVICE}],
    OutboxEvent: [
        *({"status": status} for status in ("WAITING", "DEAD", "SENT")),
        {"status": "WAITING", "attempts": 3},
        *({"type": name} for name in TypeFilter.types),
        {"aggregateId": str(PATIENT)},
    ],
    InboxMessage: [{}],
}
ALIKE: dict[Any, dict[str, Any]] = {
    Booking: {"serviceType": "INJECTION", "status": "ARCHIVED"},
    ServiceChange: {"serviceName": "INJECTION", "action": "OTHER", "version": 1, "changes": []},
    OutboxEvent: {"status": "SENT", "lane": "BROKER", "type": "other", "attempts": 1, "body": b"{}"},
    ClinicalAccess: {"actorRole": "OTHER", "action": "OTHER", "fields": []},
}
TIMES = dict.fromkeys((Booking, Patient, OutboxEvent), "createdAt") | {InboxMessage: "receivedAt"}
# One document more, the oldest, of which terms of SEARCHES know.
ONE: dict[Any, dict[str, Any]] = {
    Patient: {"emailLower": "asha@example.com", "phone": "9876543210", "referralCode": "PAT00000001"},
    InboxMessage: {"_id": "payment.completed:m-1"},
}
SEARCHES: dict[Any, tuple[Any, ...]] = {
    Booking: (PATIENT, PROVIDER, "wound dressing", "no such service"),
    Patient: ("asha@example.com", "ravi@example.com", "9876543210", "PAT00000001"),
    ClinicalAccess: (PATIENT, STAFF, "nothing"),
    ServiceChange: ("wound", "nothing"),
    OutboxEvent: (PATIENT, "nothing"),
    InboxMessage: ("m-1", "m-2"),
}
# Filters that are of use together, and each of which finds many.
TOGETHER: dict[Any, tuple[str, ...]] = {
    OutboxEvent: ("?condition=waiting&type=booking.created", "?condition=dead&type=booking.created"),
}


def filled(model: Any) -> None:
    """Documents of all kinds, evenly spread over time."""
    kinds, time = KINDS[model], TIMES.get(model, "at")
    count = max(LEAST, OF_A_KIND * len(kinds))
    documents = [
        {**ids_for(model), **ALIKE.get(model, {}), **kinds[number % len(kinds)], time: NEWEST - timedelta(number)}
        for number in range(count)
    ]
    oldest = {**documents[-1], **ids_for(model), **ONE.get(model, {}), time: NEWEST - timedelta(count)}
    collection_of(model).insert_many([*documents, oldest])
    if model is ServiceChange:
        service = service_made("WOUND_DRESSING")
        collection_of(model).update_many({"service": SERVICE}, {"$set": {"service": service}})


def ids_for(model: Any) -> dict[str, Any]:
    """A document of its own, of nobody whom another one is of."""
    ids: dict[str, Any] = {name: ObjectId() for name in ("patient", "actorId", "service")}
    own = {"_id": str(ObjectId()) if model is InboxMessage else ObjectId()}
    return {**own, **ids, "objectId": str(ObjectId()), "aggregateId": str(ObjectId())}


def collection_of(model: Any) -> Any:
    return connection.database[model._meta.db_table]  # type: ignore[attr-defined]  # the engine's


def path_of(model: Any) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def questions(model: Any, page: Any) -> Iterator[str]:
    """What the list can be asked: its last page, every choice of every filter, every column both ways, searches."""
    yield from ("", "?all=", f"?p={page.paginator.num_pages}", *TOGETHER.get(model, ()))
    for each in page.filter_specs:
        yield from (choice["query_string"] for choice in each.choices(page))
        yield from (f"?{name}=1" for name in each.expected_parameters())
    for column in range(1, len(page.list_display) + 1):
        yield from (f"?o={column}", f"?o=-{column}")
    for term in (*SEARCHES[model], ObjectId()):
        yield f"?q={term}"


def reads_too_much(operation: dict[str, Any]) -> bool:
    examined = operation.get("docsExamined", 0)
    bounded = max(examined, operation.get("keysExamined", 0)) <= MOST + BESIDES
    sorts = operation.get("hasSortStage", False) and examined > BESIDES
    return "COLLSCAN" in operation["planSummary"] or sorts or not bounded


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(admin_lists, "MOST", MOST)
    monkeypatch.setattr(admin.ModelAdmin, "list_max_show_all", MOST - 1)
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="Admin-Password-9"))
    return client


@pytest.mark.parametrize("model", [model for model in admin.site._registry if model not in FEW], ids=str)
def test_it_reads_what_can_be_paged_through(root: Client, profiled: Profiler, model: Any) -> None:
    filled(model)
    read: dict[str, list[Any]] = {}
    for question in questions(model, root.get(path_of(model)).context["cl"]):
        profiled.start()
        assert root.get(path_of(model) + question).status_code == 200, question
        read[question] = profiled.reads(collection_of(model).name)

    assert all(operations for question, operations in read.items() if not question.startswith("?q="))
    assert [question for question, operations in read.items() if any(map(reads_too_much, operations))] == []


def test_it_says_that_there_are_more(root: Client) -> None:
    filled(Patient)
    page = root.get(path_of(Patient))
    assert page.context["cl"].result_count == MOST
    assert "and more: filter or search for the others" in page.content.decode()
    assert root.get(f"{path_of(Patient)}?p=4").status_code == 302
    found = root.get(f"{path_of(Patient)}?q=asha@example.com")
    assert found.context["cl"].result_count == 1
    assert "and more" not in found.content.decode()


def test_an_action_is_for_what_was_ticked_alone(root: Client) -> None:
    filled(Patient)
    (ticked,) = collection_of(Patient).find().limit(1)
    form = {"action": "deactivate", "select_across": "1", "_selected_action": [str(ticked["_id"])]}
    assert root.post(path_of(Patient), form).status_code == 302
    assert [patient["_id"] for patient in collection_of(Patient).find({"isActive": False})] == [ticked["_id"]]
    assert f"Select all {MOST}" not in root.get(path_of(Patient)).content.decode()
