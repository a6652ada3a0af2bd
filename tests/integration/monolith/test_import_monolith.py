"""`manage.py import_monolith`"""

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import Code, DBRef, Decimal128, ObjectId, Timestamp, json_util
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from django.core.management import CommandError
from django.db import connection
from pymongo import MongoClient
from pymongo.database import Database

from booking_service.api.callers import Caller, Role
from bookings import moving
from catalog import services
from catalog.exceptions import ServiceChanged
from monolith import repositories
from monolith.repositories import MonolithDatabase, target_identity
from monolith.sources import DEEPEST
from patients.models import Patient
from tests.benchmarks.population import write_export
from tests.factories import service_document, tomorrow
from tests.integration.catalog.documents import EDITOR
from tests.integration.monolith.conftest import SAMPLE, collection, everything, one, stored

ROOT = Path(__file__).resolve().parents[3]

BANANA, AURA, NO_PRICE, DONE = (
    "6b02ee6354bb8f95d9a320d3",
    "6b02ee6454bb8f95d9a32143",
    "6b02ee6454bb8f95d9a3215e",
    "6b02ee6454bb8f95d9a321f7",
)
OF_NOBODY = "6b02ee6554bb8f95d9a32294"
UPPER_CASE, BAD_PHONE, DEACTIVATED = (
    "6b02ee6354bb8f95d9a320c7",
    "6b02ee6354bb8f95d9a320ca",
    "6b02ee6354bb8f95d9a320cd",
)
FIRST_PATIENT = "6b02ee6254bb8f95d9a320a6"
# A visit of the sample in the future, REQUESTED; tests move it to where they need it.
REQUESTED_VISIT = "6b02ee6454bb8f95d9a320e5"


def in_days(number):
    """Midnight UTC of a day from now, as an export writes it."""
    day = (datetime.now(UTC) + timedelta(days=number)).date()
    return {"$date": f"{day}T00:00:00Z"}


def visit(documents, key=REQUESTED_VISIT, **changes):
    """The export with one visit changed."""
    one(documents, key).update(changes)
    return documents


def at_ten(documents):
    return visit(documents, scheduledDate=in_days(20), scheduledTime="10:00 AM", status="REQUESTED")


def and_its_twin(documents, **changes):
    """A second visit like the requested one."""
    twin = copy.deepcopy(one(documents, REQUESTED_VISIT))
    return [*documents, {**twin, "_id": {"$oid": "f" * 24}, **changes}]


# --- the sample -------------------------------------------------------------------------------------------------------
def test_it_reports_every_line_of_the_sample_that_is_not_as_it_should_be(run, report):
    run()

    told = {key: reasons for key, (_, reasons) in report().items() if reasons != "MONEY_ROUNDED"}
    refunds = {key: reasons for key, reasons in told.items() if "REFUND_WITHOUT_PAYMENT" in reasons}
    assert len(refunds) == 6
    assert {key: told[key] for key in told.keys() - refunds.keys()} == {
        UPPER_CASE: "EMAIL_NOT_LOWER",
        BAD_PHONE: "PHONE_INVALID",
        BANANA: "TIME_UNREADABLE,MONEY_ROUNDED",
        AURA: "UNKNOWN_SERVICE_TYPE,MONEY_ROUNDED",
        NO_PRICE: "NO_PRICE",
        DONE: "UNKNOWN_STATUS",
        OF_NOBODY: "UNKNOWN_PATIENT",
    }


def test_it_drops_nothing_in_silence(run, report):
    output = run()

    assert collection("patients").count_documents({}) == 14
    assert collection("servicecatalogs").count_documents({}) == 7
    assert collection("nursebookings").count_documents({}) == 58
    quarantine = {entry["_id"]: entry for entry in collection("monolithquarantine").find({})}
    assert set(quarantine) == {f"nursebookings:{DONE}", f"nursebookings:{OF_NOBODY}"}
    assert quarantine[f"nursebookings:{DONE}"]["source"]["status"] == "DONE"
    assert Counter(outcome for outcome, _ in report().values())["quarantined"] == 2
    assert "DIFFERS" not in output
    assert "nursebookings: documents: 58, verified" in output
    assert "sum of pricing.payableAmount: 121804.20, verified" in output


def test_it_keeps_ids_and_makes_exact_money_and_real_instants(run):
    run()

    banana = stored("nursebookings", BANANA)
    assert banana["pricing"]["gst"] == Decimal128("206.79")
    originals = {entry["path"]: entry["value"] for entry in banana["monolith"]["original"]}
    assert originals["pricing.gst"] == 206.79299999999998
    assert banana["payment"]["paidAmount"] == Decimal128("1355.64")
    assert "startsAt" not in banana
    assert stored("nursebookings", NO_PRICE)["startsAt"] == datetime(2026, 12, 27, 9, 0)  # 02:30 PM in Kolkata


def test_it_computes_the_counters_anew(run):
    run()

    patient = stored("patients", "6b02ee6354bb8f95d9a320be")
    assert patient["totalBookings"] == 12  # the monolith's 13 counted the booking of nobody
    paid = [
        booking["payment"]["paidAmount"].to_decimal()
        for booking in collection("nursebookings").find({"patient": patient["_id"], "payment.status": "PAID"})
    ]
    assert patient["totalSpent"].to_decimal() == sum(paid) > 0
    stats = collection("servicecatalogs").find_one({"name": "INJECTION"})["stats"]
    assert (stats["totalBookings"], stats["totalReviews"], stats["avgRating"]) == (18, 1, 4)


def test_it_keeps_a_deactivated_patient_deactivated(run):
    run()

    assert stored("patients", DEACTIVATED)["isActive"] is False


def test_it_shows_the_imported_services_at_once(run):
    assert services.services_search("physio", skip=0, limit=5) == ([], 0)

    run()

    assert services.services_search("physio", skip=0, limit=5)[1] == 2


def test_it_sends_no_event_for_what_is_imported(run):
    run()

    assert collection("outboxevents").count_documents({}) == 0


# --- again ------------------------------------------------------------------------------------------------------------
def test_a_second_run_changes_nothing_and_reports_the_same(run, report):
    run()
    before, told = everything(), report()

    output = run()

    assert everything() == before
    assert {key: reasons for key, (_, reasons) in report().items()} == {k: reasons for k, (_, reasons) in told.items()}
    assert "58 unchanged, 2 quarantined" in output


def test_a_dry_run_reports_everything_and_writes_nothing(run, report):
    run(dry_run=True)
    told = report()

    assert all(documents == [] for documents in everything().values())
    run()
    assert told == report()


def test_it_takes_from_the_quarantine_what_was_corrected(run, export):
    run()

    run(export(nursebookings=lambda found: visit(found, DONE, status="CANCELLED")))

    assert stored("nursebookings", DONE)["status"] == "CANCELLED"
    left = [entry["_id"] for entry in collection("monolithquarantine").find({})]
    assert left == [f"nursebookings:{OF_NOBODY}"]


def test_it_catches_up_with_what_changed_since(run, export):
    run()
    later = {"$date": "2027-01-01T00:00:00Z"}
    changed = export(nursebookings=lambda found: visit(found, AURA, status="CANCELLED", updatedAt=later))

    output = run(changed, since=datetime(2026, 12, 31, tzinfo=UTC))

    assert stored("nursebookings", AURA)["status"] == "CANCELLED"
    assert "nursebookings: 1 read: 1 taken with a fix" in output


def test_it_goes_on_from_the_last_run(run, monoliths_database):
    run(monoliths_database)

    output = run(monoliths_database, since="last")

    assert "patients: 14 read" not in output


def test_it_goes_on_with_what_does_not_tell_when_it_was_changed(run, monoliths_database):
    run(monoliths_database)
    long_ago, now = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    seconds = Timestamp(int(now.timestamp()), 1)
    odd = [now.isoformat(), long_ago.isoformat(), now.timestamp() * 1000, seconds, None, ..., [long_ago], "never"]
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["patients"]
        for number, at in enumerate([long_ago, now, *odd]):
            person = {"_id": ObjectId(), "name": "Asha", "email": f"asha-{number}@example.com"}
            theirs.insert_one(person if at is ... else {**person, "updatedAt": at})

    output = run(monoliths_database, since="last")

    missed = set(range(len(odd) + 2)) - {
        int(patient["email"][5:].partition("@")[0])
        for patient in collection("patients").find({"email": {"$regex": "^asha-"}})
    }
    assert missed == {0}
    assert "DIFFERS" not in output


def test_it_takes_what_became_visible_just_after_the_last_run_had_read(run, monoliths_database):
    run(monoliths_database)
    earlier = collection("monolithimports").find_one(sort=[("beganAt", -1)])["beganAt"] - timedelta(seconds=1)
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["nursebookings"]
        theirs.update_one({"_id": ObjectId(AURA)}, {"$set": {"status": "CANCELLED", "updatedAt": earlier}})

    run(monoliths_database, since="last")

    assert stored("nursebookings", AURA)["status"] == "CANCELLED"


def test_it_does_not_go_on_from_an_export_which_was_made_nobody_knows_when(run, monoliths_database):
    run()

    output = run(monoliths_database, since="last")

    assert "patients: 14 read: 14 unchanged" in output


def test_it_does_not_go_on_from_a_run_over_another_database(run, monoliths_database, mongodb_uri):
    run(monoliths_database)
    other = _with_database(mongodb_uri, f"{connection.settings_dict['NAME']}_other")
    longer_ago = {"_id": ObjectId(), "name": "Asha", "email": "asha@example.com", "updatedAt": datetime(2020, 1, 1)}
    with MongoClient[dict](other) as client:
        client.get_default_database()["patients"].insert_one(longer_ago)
        try:
            first, second = run(other, since="last"), run(other, since="last")
        finally:
            client.drop_database(client.get_default_database())

    assert "patients: 1 read: 1 taken" in first
    assert "patients: 0 read" in second


def test_it_goes_on_from_the_last_run_with_other_credentials_and_options(run, monoliths_database):
    run(monoliths_database)
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()
        theirs.command("createUser", "reader", pwd="Secret414002x", roles=["read"])
        host, port = client.address or ("", 0)
        as_reader = f"mongodb://reader:Secret414002x@{host}:{port}/{theirs.name}?directConnection=true"
        try:
            output = run(as_reader, since="last")
        finally:
            theirs.command("dropUser", "reader")

    assert "patients: 0 read" in output


def test_it_goes_on_from_the_last_run_whatever_the_uri_calls_the_replica_set(run, monoliths_database):
    run(monoliths_database)

    output = run(_elsewhere(monoliths_database), since="last")

    assert "patients: 0 read" in output


def _elsewhere(uri):
    """The same server by another of its names."""
    here, there = ("localhost", "127.0.0.1") if "localhost" in uri else ("127.0.0.1", "localhost")
    assert here in uri
    return uri.replace(here, there)


@pytest.mark.parametrize("other", [{"setName": "production"}, {"hosts": ["production-0:27017"]}], ids=str)
def test_it_does_not_go_on_from_a_run_over_another_replica_set_at_the_same_address(
    run, monoliths_database, monkeypatch, other
):
    run(monoliths_database)
    command = Database.command
    monkeypatch.setattr(Database, "command", lambda *args, **options: command(*args, **options) | other)

    output = run(monoliths_database, since="last")

    assert "patients: 14 read" in output


def test_servers_that_are_no_replica_set_are_told_apart_by_the_uri(mongodb_uri, monkeypatch):
    monkeypatch.setattr(Database, "command", lambda *_args, **_options: {"isWritablePrimary": True})

    as_reader = mongodb_uri.replace("://", "://reader:Secret414002x@") + "&appName=x"

    first, same, other = (MonolithDatabase(uri).digest for uri in (mongodb_uri, as_reader, _elsewhere(mongodb_uri)))

    assert first == same != other


def test_it_does_not_go_on_from_a_run_that_left_a_gap(run, monoliths_database):
    run(monoliths_database)
    run(monoliths_database, since=datetime.now(UTC))
    (noted,) = collection("monolithimports").find({})

    run(monoliths_database, since=noted["beganAt"].replace(tzinfo=UTC) - timedelta(days=1))

    assert collection("monolithimports").count_documents({}) == 2


def test_it_keeps_ours_when_both_sides_changed_a_document(run, export, report):
    run()
    collection("patients").update_one(
        {"_id": ObjectId(FIRST_PATIENT)}, {"$set": {"name": "Changed Here", "updatedAt": datetime(2026, 12, 1)}}
    )

    run(export(patients=lambda found: [{**p, "name": "Changed There"} for p in found]))

    assert stored("patients", FIRST_PATIENT)["name"] == "Changed Here"
    assert report()[FIRST_PATIENT] == ("kept ours", "CHANGED_ON_BOTH_SIDES")
    assert stored("patients", BAD_PHONE)["name"] == "Changed There"
    waiting = collection("monolithquarantine").find_one({"_id": f"patients:{FIRST_PATIENT}"})
    assert waiting["source"]["name"] == "Changed There"


def test_staff_notice_that_a_service_was_caught_up_with_while_they_had_it_open(run, export):
    run()
    before = collection("servicecatalogs").find_one({"name": "INJECTION_IM"})

    dearer = {"basePrice": 899, "currency": "INR"}
    output = run(export(servicecatalogs=lambda found: [{**found[0], "pricing": dearer}, *found[1:]]))

    assert "DIFFERS" not in output
    assert stored("servicecatalogs", str(before["_id"]))["pricing"]["basePrice"] == Decimal128("899.00")
    theirs = {"service_id": before["_id"], "version": before["__v"], "document": service_document("INJECTION_IM")}
    with pytest.raises(ServiceChanged):
        services.service_update(actor=EDITOR, **theirs)


def test_catching_up_keeps_sessions_and_the_new_hash_of_an_old_password(run, export):
    run()
    ours = {"password": "argon2$of-the-same-password", "sessions": [{"_id": ObjectId(), "refreshId": "x"}]}
    collection("patients").update_one({"_id": ObjectId(FIRST_PATIENT)}, {"$set": ours})

    run(export(patients=lambda found: [{**p, "name": "Changed There"} for p in found]))

    patient = stored("patients", FIRST_PATIENT)
    assert (patient["name"], patient["password"]) == ("Changed There", ours["password"])
    assert len(patient["sessions"]) == 1


def test_a_sign_out_while_it_catches_up_is_not_undone(run, export, monkeypatch):
    run()
    patient, write, at = ObjectId(FIRST_PATIENT), repositories.write, datetime(2026, 12, 1)
    mine = [{"_id": ObjectId(), "refreshId": "x"}]
    collection("patients").update_one({"_id": patient}, {"$set": {"sessions": mine}})

    def signed_out_just_before(name, puts):
        if name == "patients":
            collection("patients").update_one({"_id": patient}, {"$set": {"sessions": [], "signedOutAt": at}})
        return write(name, puts)

    monkeypatch.setattr(repositories, "write", signed_out_just_before)
    run(export(patients=lambda found: [{**p, "name": "Changed There"} for p in found]))

    found = stored("patients", FIRST_PATIENT)
    assert (found["name"], found["sessions"], found["signedOutAt"]) == ("Changed There", [], at)


def test_another_password_of_the_monolith_counts_and_ends_what_was_opened_with_the_old_one(run, export):
    run()
    ours = {"password": "argon2$of-the-old-password", "sessions": [{"_id": ObjectId(), "refreshId": "x"}]}
    collection("patients").update_one({"_id": ObjectId(FIRST_PATIENT)}, {"$set": ours})
    changed = {"passwordChangedAt": {"$date": "2026-12-01T00:00:00Z"}}

    run(export(patients=lambda found: [{**p, **changed} for p in found]))

    patient = stored("patients", FIRST_PATIENT)
    assert (patient["password"].startswith("bcrypt$"), patient["sessions"]) == (True, [])


def test_a_reminder_sent_while_it_catches_up_is_not_forgotten(run, export, monkeypatch):
    run()
    write, sent = repositories.write, {"DAY_BEFORE": {"state": "SENT"}}

    def reminded_just_before(name, puts):
        if name == "nursebookings":
            collection(name).update_one({"_id": ObjectId(REQUESTED_VISIT)}, {"$set": {"reminders": sent}})
        return write(name, puts)

    monkeypatch.setattr(repositories, "write", reminded_just_before)
    run(export(nursebookings=lambda found: visit(found, specialInstructions="Changed there")))

    found = stored("nursebookings", REQUESTED_VISIT)
    assert (found["specialInstructions"], found["reminders"]) == ("Changed there", sent)


# --- broken input -----------------------------------------------------------------------------------------------------
def test_one_broken_line_stops_nothing(run, export, report):
    folder = export()
    with (folder / "nursebookings.jsonl").open("a") as file:
        file.write('{"_id": {"$oid": "broken\nnot json at all\n{}\n')

    output = run(folder)

    assert collection("nursebookings").count_documents({}) == 58
    assert {reasons for _, reasons in report().values()} >= {"UNREADABLE", "NO_ID"}
    assert "DIFFERS" not in output


@pytest.mark.parametrize(
    "odd",
    [
        '"n": 99999999999999999999',
        r'"n": "a\ud800"',
        r'"a\u0000b": 1',
        '"n": ' + "[" * 190 + "]" * 190,
        '"n": ' + "[" * 1500 + "]" * 1500,
    ],
    ids=lambda odd: odd[:12],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_line_that_mongodb_could_not_hold_stops_nothing(run, export, odd, dry_run):
    folder = export()
    first, *others = (folder / "patients.jsonl").read_text().splitlines()
    (folder / "patients.jsonl").write_text("\n".join([f"{first[:-1]}, {odd}}}", *others]))

    output = run(folder, dry_run=dry_run)

    assert re.search(r"patients: 14 read: .*1 quarantined \(.*UNREADABLE 1", output)
    assert "DIFFERS" not in output
    assert collection("patients").count_documents({}) == (0 if dry_run else 13)


def test_the_most_nested_document_that_is_read_can_be_kept_wherever_it_goes(run, export, report):
    nested = json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))  # in a document, which is one more
    nobody = {"_id": {"$oid": "f" * 24}}

    run(export(patients=lambda found: [{**found[0], "name": nested}, {**found[1], "n": nested}, *found[2:]]))
    run(export(patients=lambda found: [{**found[1], "m": nested}, {**nobody, "n": nested}]))

    assert collection("patients").count_documents({}) == 14
    assert stored("patients", FIRST_PATIENT)["monolith"]["original"] == [{"path": "name", "value": nested}]
    assert report()[nobody["_id"]["$oid"]] == ("quarantined", "NO_EMAIL")


@pytest.mark.parametrize(
    "odd",
    [
        {"insurance": {"coverageAmount": float("nan")}},
        {"unheardOf": [1, float("nan")]},
        {"a.b": 1},
        {"notes": {"a.b": {"c": 1}, "": [{"": 2}], "0": 3}},
    ],
    ids=str,
)
def test_what_is_copied_as_it_is_verifies(run, export, odd):
    output = run(export(patients=lambda found: [{**found[0], **odd}, *found[1:]]))

    assert "patients: 14 compared field by field: no difference, verified" in output
    assert collection("patients").count_documents({}) == 14


@pytest.mark.parametrize("name", ["unheardOf", "a.b", ""])
@pytest.mark.parametrize("value", [5, float("nan"), {"": [1, 2]}], ids=str)
def test_what_is_here_otherwise_than_it_was_read_differs(run, export, monkeypatch, name, value):
    write = repositories.write

    def written_otherwise(collection_name, puts):
        return write(collection_name, [replace(put, document=_without(put.document, name)) for put in puts])

    monkeypatch.setattr(repositories, "write", written_otherwise)
    with pytest.raises(CommandError, match="DIFFERS"):
        run(export(patients=lambda found: [{**found[0], name: value}, *found[1:]]))


def _without(document, name):
    return {key: value for key, value in document.items() if key != name}


def test_dates_that_are_text_are_dates_here_wherever_they_stand(run, export, report):
    text = "2020-01-02T00:00:00.000Z"
    history = {"conditions": [{"name": "Asthma"}, {"name": "Diabetes", "diagnosedDate": text}]}
    changes = {"insurance": {"provider": "Star", "validUntil": text}, "medicalHistory": history}

    output = run(export(patients=lambda found: [{**found[0], **changes}, *found[1:]]))

    patient = stored("patients", FIRST_PATIENT)
    assert patient["insurance"]["validUntil"] == datetime(2020, 1, 2)
    assert patient["medicalHistory"]["conditions"][1]["diagnosedDate"] == datetime(2020, 1, 2)
    assert report()[FIRST_PATIENT] == ("taken with a fix", "DATE_WAS_TEXT")
    assert "DIFFERS" not in output


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"patient": [1]}, "NO_PATIENT"),
        ({"serviceLocation": "at home"}, "PART_UNREADABLE"),
        ({"serviceLocation": {"address": ["1 MG Road"]}}, "PART_UNREADABLE"),
        ({"patientDetails": "mother"}, "PART_UNREADABLE"),
        ({"statusTimestamps": "x"}, "PART_UNREADABLE"),
        ({"actualService": 5}, "PART_UNREADABLE"),
        ({"payment": None}, "NO_PAYMENT"),
        ({"payment": "cash"}, "PART_UNREADABLE"),
        ({"pricing": {"payableAmount": None, "totalAmount": 500.001}}, "MONEY_ROUNDED"),
        ({"rating": {"stars": {"$numberDecimal": "NaN"}}}, "RATING_UNREADABLE"),
        ({"rating": {"stars": 4.5}}, "RATING_UNREADABLE"),
    ],
)
def test_a_visit_with_something_of_another_kind_in_it_stops_nothing(run, export, report, changes, told):
    output = run(export(nursebookings=lambda found: visit(at_ten(found), **changes)))

    assert told in report()[REQUESTED_VISIT][1].split(",")
    assert "DIFFERS" not in output


OWN_NAMES = [
    ("nursebookings", REQUESTED_VISIT, {"claims": [{"a": 1}]}),
    ("nursebookings", REQUESTED_VISIT, {"claims": [{"resource": "p", "first": 0, "last": 10**12}]}),
    ("nursebookings", REQUESTED_VISIT, {"version": 7, "timeline": [{"to": "DONE"}], "rescheduleCount": 3}),
    ("nursebookings", REQUESTED_VISIT, {"startsAt": {"$date": "2099-01-01T00:00:00Z"}}),
    ("nursebookings", REQUESTED_VISIT, {"endsAt": {"$date": "2099-01-01T00:00:00Z"}}),
    ("nursebookings", REQUESTED_VISIT, {"refund": {"status": "REQUESTED", "amount": 5}, "noShow": {"reason": "x"}}),
    ("nursebookings", REQUESTED_VISIT, {"notifications": [], "reminders": True, "monolith": {"updatedAt": 1}}),
    ("patients", FIRST_PATIENT, {"version": 7, "emailLower": "x", "sessions": [{"refreshId": "x"}]}),
    ("patients", FIRST_PATIENT, {"signedOutAt": {"$date": "2099-01-01T00:00:00Z"}, "monolith": 5}),
    ("servicecatalogs", "6b02ee6211a9b27b1f6387f4", {"version": 7, "monolith": {"fingerprint": "x"}}),
]


@pytest.mark.parametrize(("name", "key", "names"), OWN_NAMES, ids=str)
def test_names_of_this_service_in_a_document_of_the_monolith_say_nothing(run, export, report, name, key, names):
    runs = []
    for day in (1, 2):
        changes = {**names, "updatedAt": {"$date": f"2026-12-0{day}T00:00:00Z"}, "unheardOf": day}

        def changed(found, changes=changes):
            one(found, key).update(changes)
            return found

        runs.append(run(export(**{name: changed})))
        assert "NAME_OF_OURS" in report()[key][1].split(",")

    found = stored(name, key)
    originals = {entry["path"]: entry["value"] for entry in found["monolith"]["original"]}
    assert found["unheardOf"] == 2
    assert not any("DIFFERS" in output for output in runs)
    assert originals.keys() >= names.keys()
    assert not any(found.get(own) == originals[own] for own in names)


def test_a_booking_written_here_and_copied_back_is_imported_again(run, export, monoliths_database):
    run(export(nursebookings=at_ten))
    admin, at_three = Caller(Role.ADMIN, ObjectId()), tomorrow(hour=15, days=9)
    moving.booking_reschedule(actor=admin, booking_id=ObjectId(REQUESTED_VISIT), starts_at=at_three)
    ours = stored("nursebookings", REQUESTED_VISIT)
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["nursebookings"]
        theirs.replace_one({"_id": ours["_id"]}, ours)
    for name in ("nursebookings", "slotclaims"):
        collection(name).delete_many({})

    output = run(monoliths_database)

    again = stored("nursebookings", REQUESTED_VISIT)
    assert "DIFFERS" not in output
    assert [again[name] for name in ("startsAt", "status")] == [ours[name] for name in ("startsAt", "status")]
    assert again["claims"][0]["first"] == ours["claims"][0]["first"]
    assert collection("slotclaims").count_documents({"booking": ours["_id"]}) == 12


def test_a_service_that_the_catalog_cannot_read_stops_nothing(run, export, report):
    def broken(found):
        closed = {**found[1]["availability"], "closedDates": ["Christmas"]}
        many = {**found[2], "sortOrder": [3]}  # which no index takes beside a list of cities
        return [{**found[0], "name": 5}, {**found[1], "availability": closed}, many, *found[3:]]

    output = run(export(servicecatalogs=broken))

    assert [told for told in report().values() if told[1] == "RULE_BROKEN"] == [("quarantined", "RULE_BROKEN")] * 3
    assert collection("servicecatalogs").count_documents({}) == 4
    assert "DIFFERS" not in output


@pytest.fixture
def no_long_visits():
    """MongoDB itself refuses a visit of two hours, as it refuses some documents for reasons of its own."""
    refuse = {"collMod": "nursebookings", "validator": {"estimatedDuration": {"$lt": 120}}}
    collection("nursebookings").database.command(refuse)
    yield
    collection("nursebookings").database.command({**refuse, "validator": {}})


@pytest.mark.parametrize("days", [-20, 20])
@pytest.mark.parametrize("runs_before", [0, 1])
@pytest.mark.usefixtures("no_long_visits")
def test_a_document_that_mongodb_refuses_stops_nothing(run, export, report, days, runs_before):
    def with_a_twin(note, **changes):
        here = {"scheduledDate": in_days(days), "scheduledTime": "10:00 AM", "status": "REQUESTED"}
        later = {"scheduledTime": "15:00", "specialInstructions": note, "estimatedDuration": 60}
        return export(nursebookings=lambda found: and_its_twin(visit(found, **here, **changes), **later))

    for _ in range(runs_before):
        run(with_a_twin("first"))
    before = collection("slotclaims").count_documents({"booking": ObjectId(REQUESTED_VISIT)})

    output = run(with_a_twin("then", estimatedDuration=120))

    assert stored("nursebookings", "f" * 24)["specialInstructions"] == "then"
    assert report()[REQUESTED_VISIT] == ("quarantined", "RULE_BROKEN")
    assert collection("nursebookings").count_documents({}) == 58 + runs_before
    assert "DIFFERS" not in output
    assert collection("slotclaims").count_documents({"booking": ObjectId(REQUESTED_VISIT)}) == before


def test_an_email_with_something_unseen_in_it_is_quarantined(run, export, report):
    run(export(patients=lambda found: [{**found[0], "email": "asha@example.com\u200b"}, *found[1:]]))

    assert report()[FIRST_PATIENT] == ("quarantined", "NO_EMAIL")


def test_two_patients_with_one_email_or_phone_do_not_both_get_it(run, export, report):
    def twins(found):
        first = copy.deepcopy(found[0])
        same_email = {**first, "_id": {"$oid": "a" * 24}, "phone": "9111111111", "referralCode": "A"}
        same_phone = {**first, "_id": {"$oid": "b" * 24}, "email": "b@example.com", "referralCode": "B"}
        same_code = {**first, "_id": {"$oid": "c" * 24}, "email": "c@example.com", "phone": "9222222222"}
        return [*found, same_email, same_phone, same_code]

    run(export(patients=twins))

    assert report()["a" * 24] == ("quarantined", "EMAIL_TAKEN")
    assert report()["b" * 24] == ("taken with a fix", "PHONE_TAKEN")
    assert report()["c" * 24] == ("taken with a fix", "REFERRAL_CODE_TAKEN")
    assert stored("patients", "b" * 24)["phone"] == ""


def test_a_phone_that_another_patient_has_is_left_out_when_catching_up_too(run, export, report):
    run()

    def moved(found):
        return [{**found[0], "phone": found[1]["phone"]}, *found[1:]]

    run(export(patients=moved))

    assert report()[FIRST_PATIENT] == ("taken with a fix", "PHONE_TAKEN")


def test_the_later_of_two_documents_with_one_id_wins(run, export):
    run(export(nursebookings=lambda found: [*found, {**one(found, AURA), "status": "CANCELLED"}]))

    assert stored("nursebookings", AURA)["status"] == "CANCELLED"
    assert collection("nursebookings").count_documents({}) == 58


def test_the_monoliths_service_takes_the_place_of_a_seeded_one_that_nobody_edited(run, report):
    seeded = {"name": "INJECTION_IM", "slug": "injection-im", "__v": 0}
    edited = {"name": "IV_DRIP", "slug": "iv-drip", "__v": 3}
    common = {"displayName": "x", "category": "NURSING", "pricing": {}, "availability": {}}
    collection("servicecatalogs").insert_many([{**common, **seeded}, {**common, **edited}])

    run()

    assert report()["6b02ee6211a9b27b1f6387f4"] == ("taken with a fix", "SEED_REPLACED")
    assert report()["6b02ee6211a9b27b1f6387f7"] == ("quarantined", "NAME_TAKEN")
    assert collection("servicecatalogs").count_documents({"name": "INJECTION_IM"}) == 1


@pytest.mark.parametrize(
    ("name", "slug", "also"),
    [
        ("WOUND_DRESSING", "injection-im", {"name": "INJECTION_IM", "slug": "injection-im", "__v": 3}),
        ("DRESSING", "wound-dressing", {"name": "X", "slug": "x"}),
    ],
)
def test_a_seeded_service_stays_where_the_monoliths_is_not_taken_or_named_otherwise(
    run, export, report, name, slug, also
):
    common = {"displayName": "x", "category": "NURSING", "pricing": {}, "availability": {}}
    seeded = {"name": "WOUND_DRESSING", "slug": "wound-dressing", "__v": 0, "stats": {"totalBookings": 3}}
    collection("servicecatalogs").insert_many([{**common, **seeded}, {**common, **also}])

    run(export(servicecatalogs=lambda found: [{**found[0], "name": name, "slug": slug}]))

    assert report()["6b02ee6211a9b27b1f6387f4"] == ("quarantined", "NAME_TAKEN")
    assert set(collection("servicecatalogs").distinct("name")) == {"WOUND_DRESSING", also["name"]}


def test_it_refuses_a_folder_without_exports(run, tmp_path):
    with pytest.raises(CommandError, match=r"patients\.jsonl"):
        run(tmp_path / "nothing")


# --- slots ------------------------------------------------------------------------------------------------------------
def test_it_holds_the_time_of_a_visit_still_to_come(run, export):
    run(export(nursebookings=at_ten))

    booking = stored("nursebookings", REQUESTED_VISIT)
    claims = list(collection("slotclaims").find({"booking": booking["_id"]}))
    assert len(claims) == 12  # an hour of five-minute cells
    assert {claim["_id"].rpartition(":")[0] for claim in claims} == {f"person:{booking['patient']}"}
    assert booking["claims"][0]["resource"] == f"person:{booking['patient']}"


def test_it_holds_nothing_for_visits_that_are_over_or_final(run, export):
    run(export(nursebookings=lambda found: visit(at_ten(found), status="CANCELLED")))

    assert collection("slotclaims").count_documents({"booking": ObjectId(REQUESTED_VISIT)}) == 0


def test_it_takes_a_double_booking_of_the_monolith_and_reports_it(run, export, report):
    run(export(nursebookings=lambda found: and_its_twin(at_ten(found))))

    assert "SLOT_CONFLICT" in report()["f" * 24][1]
    assert stored("nursebookings", "f" * 24)["claims"] == []
    assert collection("slotclaims").count_documents({"booking": ObjectId(REQUESTED_VISIT)}) == 12


def test_it_holds_a_patients_time_when_only_the_provider_is_double_booked(run, export, report):
    nurse, other = {"$oid": "e" * 24}, {"$oid": FIRST_PATIENT}

    def of_one_nurse(found):
        assigned = visit(at_ten(found), status="ASSIGNED", serviceProvider=nurse)
        return and_its_twin(assigned, patient=other)

    run(export(nursebookings=of_one_nurse))

    assert "SLOT_CONFLICT" in report()["f" * 24][1]
    resources = {run_["resource"] for run_ in stored("nursebookings", "f" * 24)["claims"]}
    assert resources == {f"person:{FIRST_PATIENT}"}
    first = {run_["resource"].partition(":")[0] for run_ in stored("nursebookings", REQUESTED_VISIT)["claims"]}
    assert first == {"person", "provider"}


def test_a_visit_that_the_monolith_moved_or_cancelled_gives_its_old_time_back(run, export):
    def moved(found):
        return visit(at_ten(found), scheduledTime="14:30")

    def cancelled(found):
        return visit(at_ten(found), status="CANCELLED")

    run(export(nursebookings=at_ten))
    before = {claim["_id"] for claim in collection("slotclaims").find({"booking": ObjectId(REQUESTED_VISIT)})}

    run(export(nursebookings=moved))
    after = {claim["_id"] for claim in collection("slotclaims").find({"booking": ObjectId(REQUESTED_VISIT)})}
    assert len(after) == 12
    assert before.isdisjoint(after)

    run(export(nursebookings=cancelled))
    assert collection("slotclaims").count_documents({"booking": ObjectId(REQUESTED_VISIT)}) == 0


# --- from a database, and killed --------------------------------------------------------------------------------------
@pytest.fixture
def monoliths_database(mongodb_uri):
    """The sample in a database of its own; its URI."""
    name = f"{connection.settings_dict['NAME']}_monolith"
    with MongoClient[dict](mongodb_uri) as client:
        for collection_name in ("patients", "servicecatalogs", "nursebookings"):
            lines = (SAMPLE / f"{collection_name}.jsonl").read_text().splitlines()
            client[name][collection_name].insert_many([json_util.loads(line) for line in lines])
        yield _with_database(mongodb_uri, name)
        client.drop_database(name)


def _with_database(uri, name):
    server, _, options = uri.partition("?")
    return f"{server.rpartition('/')[0]}/{name}?{options}"


def test_it_reads_the_monoliths_database_as_it_reads_its_export(run, monoliths_database):
    run()
    before = everything()

    output = run(monoliths_database)

    assert everything() == before
    assert "58 unchanged" in output
    assert "patients: 14 read" not in run(monoliths_database, since="last")


def test_a_date_that_python_does_not_know_stops_nothing(run, report, monoliths_database):
    far = DatetimeMS(577_014_796_800_000)
    for name, key in (("patients", FIRST_PATIENT), ("nursebookings", REQUESTED_VISIT)):
        with MongoClient[dict](monoliths_database) as client:
            theirs = client.get_default_database()[name]
            changes = {"insurance.validUntil": far, "createdAt": far, "payment.paidAt": far, "unheardOf": far}
            theirs.update_one({"_id": ObjectId(key)}, {"$set": changes})

    output = run(monoliths_database)

    assert "DIFFERS" not in output
    assert collection("patients").count_documents({}) == 14
    assert collection("nursebookings").count_documents({}) == 58
    assert report()[FIRST_PATIENT] == ("taken with a fix", "DATE_UNREADABLE")
    patient = Patient.objects.mongo_find_one({"_id": ObjectId(FIRST_PATIENT)})
    assert "validUntil" not in patient["insurance"]
    assert "createdAt" not in patient
    assert "58 unchanged" in run(monoliths_database)


def test_a_text_that_is_none_stops_nothing(run, report, monoliths_database):
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["patients"]
        (found,) = theirs.with_options(CodecOptions(RawBSONDocument)).find({"_id": ObjectId(FIRST_PATIENT)})
        theirs.delete_one({"_id": ObjectId(FIRST_PATIENT)})
        theirs.insert_one(RawBSONDocument(bytes(found.raw).replace(b"Joseph Iyer", b"Joseph \xff\xfe\xfd\xfc")))

    output = run(monoliths_database)

    assert report()[FIRST_PATIENT] == ("quarantined", "UNREADABLE")
    assert collection("patients").count_documents({}) == 13
    assert "DIFFERS" not in output
    with MongoClient[dict](monoliths_database) as client:
        mended = {"_id": ObjectId(FIRST_PATIENT)}, {"$set": {"name": "Joseph Iyer"}}
        client.get_default_database()["patients"].update_one(*mended)
    run(monoliths_database)
    assert collection("patients").count_documents({}) == 14
    assert collection("monolithquarantine").count_documents({"_id": f"patients:{FIRST_PATIENT}"}) == 0


@pytest.mark.parametrize(
    ("name", "key", "field"),
    [
        ("nursebookings", REQUESTED_VISIT, "serviceType"),
        ("nursebookings", REQUESTED_VISIT, "status"),
        ("servicecatalogs", "6b02ee6211a9b27b1f6387f4", "category"),
        ("patients", FIRST_PATIENT, "name"),
    ],
)
def test_javascript_is_text(run, monoliths_database, name, key, field):
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()[name]
        text = (theirs.find_one({"_id": ObjectId(key)}) or {})[field]
        theirs.update_one({"_id": ObjectId(key)}, {"$set": {field: Code(text), "unheardOf": [Code("f()", {"a": 1})]}})

    output = run(monoliths_database)

    assert "DIFFERS" not in output
    assert (stored(name, key)[field], stored(name, key)["unheardOf"]) == (text, ["f()"])


BIG = 10 << 20  # bytes, of the 16 MiB that MongoDB keeps


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"savedAddresses": [5, {"street": "x" * BIG}]}, "RULE_BROKEN"),  # kept here and as the original
        ({"insurance": 5, "unheardOf": "x" * (BIG + (6 << 20) - 2000)}, "UNREADABLE"),
        ({"email": 5, "unheardOf": "x" * (BIG + (6 << 20) - 2000)}, "UNREADABLE"),
    ],
    ids=["twice", "taken", "refused"],
)
def test_a_document_that_is_too_large_to_be_kept_stops_nothing(run, report, monoliths_database, odd, reason):
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["patients"]
        theirs.update_one({"_id": ObjectId(FIRST_PATIENT)}, {"$set": odd})

    output = run(monoliths_database)

    assert report()[FIRST_PATIENT] == ("quarantined", reason)
    assert collection("monolithquarantine").count_documents({"_id": f"patients:{FIRST_PATIENT}"}) == 1
    assert collection("patients").count_documents({}) == 13
    assert "DIFFERS" not in output


def nested(levels):
    return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}


@pytest.mark.parametrize(
    "odd",
    [
        {"status": "X", "unheardOf": nested(179)},  # with the document that it is in, all that MongoDB keeps
        {"unheardOf": nested(DEEPEST)},
        {"claims": nested(179)},
        {"unheardOf": DBRef("patients", 1, x=nested(178))},
    ],
    ids=["refused", "taken", "original", "reference"],
)
def test_a_document_that_is_too_deep_to_be_kept_stops_nothing(run, report, monoliths_database, odd):
    with MongoClient[dict](monoliths_database) as client:
        theirs = client.get_default_database()["nursebookings"]
        theirs.update_one({"_id": ObjectId(REQUESTED_VISIT)}, {"$set": odd})

    output = run(monoliths_database)

    assert report()[REQUESTED_VISIT] == ("quarantined", "UNREADABLE")
    assert collection("monolithquarantine").count_documents({"_id": f"nursebookings:{REQUESTED_VISIT}"}) == 1
    assert collection("nursebookings").count_documents({}) == 57
    assert "DIFFERS" not in output


def test_what_is_wrong_with_a_document_is_told_in_a_few_words(run, export, report):
    odd = {"included": list(range(1_000_000))}

    run(export(servicecatalogs=lambda found: [{**found[0], **odd}, *found[1:]]))

    (entry,) = collection("monolithquarantine").find({"collection": "servicecatalogs"})
    assert (entry["reason"], len(entry["why"])) == ("RULE_BROKEN", 1000)


def test_it_refuses_to_import_its_own_database(run, mongodb_uri):
    with pytest.raises(CommandError, match="own database"):
        run(_with_database(mongodb_uri, target_identity()[1]))


def test_a_run_that_was_killed_before_its_end_leaves_no_counter_behind(run, monkeypatch, monoliths_database):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    for step in ("counters_recompute", "service_counters_set", "run_add"):
        with monkeypatch.context() as patch:
            patch.setattr(repositories, step, killed)
            with pytest.raises(KeyboardInterrupt):
                run(monoliths_database)

    assert "58 unchanged" in run(monoliths_database)

    assert stored("patients", "6b02ee6354bb8f95d9a320be")["totalBookings"] == 12
    assert collection("servicecatalogs").find_one({"name": "INJECTION"})["stats"]["totalBookings"] == 18


def test_a_killed_run_finishes_the_same(run, tmp_path, mongodb_uri):
    folder = tmp_path / "export"
    write_export(folder, bookings_count=3000, patients_count=300, first_day=datetime.now(UTC).replace(hour=0, minute=0))
    name = connection.settings_dict["NAME"]
    environment = {**os.environ, "MONGODB_URI": _with_database(mongodb_uri, name), "ENVIRONMENT": "test"}
    command = [sys.executable, "manage.py", "import_monolith", "--from", str(folder), "--no-progress"]
    for documents in (1, 2000):
        process = subprocess.Popen(
            [*command, "--report", str(tmp_path / "killed.tsv")], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while collection("nursebookings").estimated_document_count() < documents and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()

    output = run(folder)
    finished = everything()
    assert collection("nursebookings").count_documents({}) == 3000
    assert "DIFFERS" not in output

    for collection_name in finished:
        collection(collection_name).delete_many({})
    run(folder)
    assert json.dumps(everything(), default=str) == json.dumps(finished, default=str)
