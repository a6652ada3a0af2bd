"""Whatever route and caller: clinical data that leaves, and clinical data that is written, is on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId

from booking_service.partners import payments as payment_service
from bookings import reading
from bookings.models import Booking
from patients import audit
from patients import services as patients
from patients.models import ClinicalAccess, Patient
from tests.factories import service_made
from tests.integration.security.matrix import MATRIX, path_of
from tests.integration.security.test_access import order_open
from tests.integration.security.world import CALLERS, world_made

KNEE = {
    "serviceDetails": {"description": "Knee wound"},
    "patientCondition": {"mobility": "BEDRIDDEN"},
    "specialRequirements": "Sterile gloves",
}
ILLNESS = {"bloodGroup": "A+", "medicalHistory": {"conditions": [{"name": "Rare illness"}]}}
BOOKINGS, PATIENTS = set(reading.CLINICAL_FIELDS), set(patients.CLINICAL_FIELDS)
# What the matrix sends says nothing clinical there.
WRITTEN: dict[str, dict[str, Any]] = {
    "POST /api/bookings": KNEE,
    "PUT /api/patients/<str:patient_id>": {"insurance": {"provider": "Star"}},
}
SIGN_IN = ("POST /api/patients/login", "POST /api/patients/token/refresh", "POST /api/patients/logout")
API = [route for route in MATRIX if " /api/" in route]
ABOUT_ONE = [route for route in API if "<str:booking_id>" in route and not route.startswith("GET")]


@pytest.fixture
def world(registered, monkeypatch):
    service_made()
    monkeypatch.setattr(payment_service, "order_open", order_open)
    world = world_made(registered, monkeypatch)
    world.booking("ASSIGNED")
    return world


def allowed(route: str) -> Iterator[str]:
    return (who for who, status in zip(CALLERS, MATRIX[route].expected, strict=True) if status < 300)


def asked(world, route: str, who: str) -> tuple[str, Any]:
    """The path, about objects full of clinical data, and the body; nothing of before covers what follows."""
    path, body = path_of(route, MATRIX[route], world), MATRIX[route].body
    body = body(world, who) if callable(body) else body
    Booking.objects.mongo_update_many({}, {"$set": KNEE})
    Patient.objects.mongo_update_many({}, {"$set": ILLNESS})
    audit._own_reads.clear()
    return path, {**body, **WRITTEN.get(route, {})} if isinstance(body, dict) else body


def clinical(node: Any) -> Iterator[tuple[str, set[str]]]:
    """The id and the clinical fields of each document in an answer that has some."""
    if isinstance(node, list):
        for entry in node:
            yield from clinical(entry)
    elif isinstance(node, dict):
        names = BOOKINGS if "serviceType" in node else PATIENTS
        if isinstance(node.get("_id"), str) and (shown := {name for name in names if node.get(name)}):
            yield node["_id"], shown
        for entry in node.values():
            yield from clinical(entry)


def documents() -> dict[str, dict[str, Any]]:
    """What is clinical in every document, by its id."""
    kept: dict[str, dict[str, Any]] = {}
    for model, names in ((Booking, BOOKINGS), (Patient, PATIENTS)):
        for document in model.objects.mongo_find({}):
            kept[str(document["_id"])] = {name: document[name] for name in names if document.get(name)}
    return kept


def lines_after(last: ObjectId) -> list[dict[str, Any]]:
    return list(ClinicalAccess.objects.mongo_find({"_id": {"$gt": last}}))


def covers(line: dict[str, Any], document_id: str, fields: set[str]) -> bool:
    """Whether a line is about these fields of the document; a patient's own line is about all of their bookings."""
    is_it = line["objectId"] == document_id
    is_own = line["objectType"] == "bookings" and line["objectId"] == str(line["actorId"])
    return (is_it or is_own) and fields <= set(line["fields"])


@pytest.mark.parametrize("route", API)
def test_no_clinical_field_leaves_without_a_line(world, route):
    for who in allowed(route):
        path, body = asked(world, route, who)
        last = ObjectId()

        answer = world.apis[who](route.split()[0], path, body)

        assert answer.status_code < 300, (who, answer.body)
        lines = lines_after(last)
        for document_id, fields in clinical(answer.body):
            covered = set().union(*(line["fields"] for line in lines if covers(line, document_id, set())))
            assert fields <= covered, (who, fields - covered)
        # Whoever signs in is the patient whose account it is.
        assert {line["actorRole"] for line in lines} <= {"PATIENT" if route in SIGN_IN else role_of(who)}, who


@pytest.mark.parametrize("route", API)
def test_no_clinical_field_is_written_without_a_line(world, route):
    for who in allowed(route):
        path, body = asked(world, route, who)
        before, last = documents(), ObjectId()

        world.apis[who](route.split()[0], path, body)

        written = {line["objectId"] for line in lines_after(last) if line["action"] == "WRITE"}
        changed = {key for key, fields in documents().items() if fields != before.get(key, {})}
        assert changed <= written, who


def role_of(who: str) -> str:
    roles = {"provider": "NURSE", "other provider": "NURSE", "admin": "ADMIN", "service": "SERVICE"}
    return roles.get(who, "PATIENT")


def test_the_attacks_reach_what_is_clinical(world):
    """A matrix that shows nothing clinical would prove nothing."""
    seen = set()
    for route in API:
        for who in allowed(route):
            path, body = asked(world, route, who)
            if any(clinical(world.apis[who](route.split()[0], path, body).body)):
                seen.add((route, who))
    assert {who for _, who in seen} >= {"patient A", "provider", "admin", "monolith token", "anonymous"}
    assert len({route for route, _ in seen}) >= 18


@pytest.mark.parametrize("route", ABOUT_ONE)
def test_an_answer_shows_no_more_than_reading_it_afterwards(world, route):
    for who in allowed(route):
        path, body = asked(world, route, who)
        shown = dict(clinical(world.apis[who](route.split()[0], path, body).body))
        readable = dict(clinical(world.apis[who]("GET", "/".join(path.split("/")[:4])).body))
        assert shown in ({}, readable), who


@pytest.mark.parametrize("action", ["cancel", "complete", "no-show", "decline"])
def test_a_provider_who_is_done_with_a_visit_sees_nothing_clinical_of_it(world, action):
    route = f"PUT /api/bookings/<str:booking_id>/{action}"
    path, body = asked(world, route, "provider")
    answer = world.apis["provider"]("PUT", path, body)
    assert answer.status_code == 200
    assert list(clinical(answer.body)) == []


@pytest.mark.parametrize("action", ["confirm", "en-route", "start"])
def test_a_provider_on_the_way_sees_it_and_that_is_a_line(world, action):
    route = f"PUT /api/bookings/<str:booking_id>/{action}"
    path, body = asked(world, route, "provider")
    ((booking_id, fields),) = clinical(world.apis["provider"]("PUT", path, body).body)
    assert fields >= set(KNEE)
    read = ClinicalAccess.objects.mongo_find_one({"objectId": booking_id, "action": "READ", "actorRole": "NURSE"})
    assert set(read["fields"]) == fields


def test_what_cannot_go_on_record_is_not_done(world, monkeypatch):
    path, body = asked(world, "PUT /api/bookings/<str:booking_id>/confirm", "admin")
    before = documents(), Booking.objects.mongo_find_one({"status": "ASSIGNED"}, sort=[("_id", -1)])

    def fails(_document):
        raise RuntimeError

    monkeypatch.setattr(audit.repositories, "access_add", fails)
    assert world.apis["admin"]("PUT", path, body).status_code == 500
    assert (documents(), Booking.objects.mongo_find_one({"status": "ASSIGNED"}, sort=[("_id", -1)])) == before


def test_a_line_that_is_given_back_covers_nothing(world):
    from booking_service.api.callers import Caller, Role
    from booking_service.djongo.transaction import run

    actor = Caller(Role.PATIENT, world.asha.id)
    about = {"actor": actor, "object_type": "patient", "object_id": world.asha.id, "fields": {"bloodGroup"}}

    def fails():
        audit.own_read_record(**about)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run(fails)
    assert ClinicalAccess.objects.mongo_find_one({"actorId": world.asha.id, "fields": "bloodGroup"}) is None
    audit.own_read_record(**about)
    assert ClinicalAccess.objects.mongo_find_one({"actorId": world.asha.id, "fields": "bloodGroup"})


def test_reading_nothing_clinical_covers_nothing_that_comes_later(asha):
    asha.api("GET", "/api/patients/me")
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": ILLNESS})
    asha.api("GET", "/api/patients/me")
    (line,) = ClinicalAccess.objects.mongo_find({"actorId": asha.id})
    assert (line["action"], line["fields"]) == ("READ", ["bloodGroup", "medicalHistory"])
