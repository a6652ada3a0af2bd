"""GET and PUT /api/patients/:id, GET /api/patients/stats"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS

from booking_service.api.callers import Caller, Role
from booking_service.api.errors import InvalidInput
from booking_service.djongo import transaction
from patients import services
from patients.exceptions import EmailTaken, PatientNotFound
from patients.models import AuditIsAppendOnly, ClinicalAccess, Patient

ADMIN = Caller(Role.ADMIN, ObjectId())
ME = "/api/patients/me"

EVERYTHING: dict[str, Any] = {
    "name": "Asha R. Rao",
    "phone": "9876500000",
    "dateOfBirth": "1980-02-29",
    "gender": "Female",
    "bloodGroup": "O+",
    "address": {
        "street": "1 MG Road",
        "landmark": "Opposite the park",
        "city": "Pune",
        "state": "Maharashtra",
        "pincode": "411001",
        "coordinates": {"lat": 18.5, "lng": 73.8},
    },
    "emergencyContact": {"name": "Ravi", "relationship": "Brother", "phone": "9876500001"},
    "medicalHistory": {
        "conditions": [{"name": "Diabetes", "severity": "Mild", "diagnosedDate": "2010-01-01", "notes": "."}],
        "allergies": [{"allergen": "Penicillin", "reaction": "Rash", "severity": "Severe"}],
        "currentMedications": [{"name": "Metformin", "dosage": "500 mg", "frequency": "twice a day"}],
        "surgeries": [{"name": "Appendix", "date": "2001-05-05", "hospital": "City"}],
        "familyHistory": [{"relation": "Mother", "condition": "Diabetes"}],
        "habits": {"smoking": False, "alcohol": True, "exercise": "walks"},
    },
    "insurance": {"hasInsurance": True, "provider": "Star", "policyNumber": "P-1", "validUntil": "2030-01-01"},
    "preferences": {"language": "Hindi", "notificationChannels": {"sms": False, "email": True}},
}
DAYS = {"dateOfBirth": "1980-02-29T00:00:00.000Z"}


def stored(account) -> dict:
    return Patient.objects.mongo_find_one({"_id": account.id})


@pytest.mark.parametrize("name", ["me", "profile", "id"])
def test_a_patient_reads_their_record(asha, name):
    answer = asha.api("GET", f"/api/patients/{asha.id if name == 'id' else name}")

    assert answer.status_code == 200
    assert answer.body["data"]["_id"] == str(asha.id)
    assert answer.body["data"].keys().isdisjoint({"password", "emailLower", "sessions", "passwordChangedAt", "__v"})


def test_whatever_else_a_document_holds_stays_inside(asha):
    extra = {
        "resetPasswordToken": "secret-1",
        "savedPaymentMethods": [{"token": "secret-2"}],
        "__v": 3,
        "internal": "secret-3",
    }
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": extra})
    assert "secret" not in asha.api("GET", ME).content.decode()
    assert "secret" not in asha.api("PUT", ME, {"gender": "female"}).content.decode()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_stranger_cannot_tell_an_absent_patient_from_another(asha, registered, method):
    stranger, before = registered(), stored(asha)
    answers = [
        stranger.api(method, f"/api/patients/{who}", {"name": "Mallory"} if method == "PUT" else None)
        for who in (asha.id, ObjectId(), "x", "000", "me2")
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.body["message"] for answer in answers}) == 1
    assert stored(asha) == before


def test_all_that_a_patient_may_change_is_stored_and_comes_back(asha):
    answer = asha.api("PUT", ME, EVERYTHING)

    assert answer.status_code == 200, answer.body
    data = asha.api("GET", ME).body["data"]
    for name, value in (EVERYTHING | DAYS).items():
        if name not in {"medicalHistory", "insurance"}:
            assert data[name] == value
    history = data["medicalHistory"]
    assert history["conditions"][0] == {
        "name": "Diabetes",
        "severity": "Mild",
        "diagnosedDate": "2010-01-01T00:00:00.000Z",
        "notes": ".",
    }
    assert history["habits"] == EVERYTHING["medicalHistory"]["habits"]
    assert history["familyHistory"] == EVERYTHING["medicalHistory"]["familyHistory"]
    assert data["insurance"]["policyNumber"] == "P-1"
    assert answer.body["data"] == data


@pytest.mark.parametrize("field", EVERYTHING)
def test_any_one_of_them_may_come_alone(asha, field):
    before = stored(asha)
    assert asha.api("PUT", ME, {field: EVERYTHING[field]}).status_code == 200
    after = stored(asha)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= {field, "updatedAt"}


@pytest.mark.parametrize(
    "key",
    [
        "email", "password", "isVerified", "phoneVerified", "emailVerified", "_id", "totalSpent", "totalBookings",
        "referralCode", "isActive", "sessions", "passwordChangedAt", "savedAddresses", "$set", "address.city",
        "x" * 300,
    ],
)  # fmt: skip
def test_nothing_else_can_be_changed(asha, key):
    before = stored(asha)
    answer = asha.api("PUT", ME, {"name": "Mallory", key: EVERYTHING.get(key, True)})
    assert (answer.status_code, answer.body["errors"][0]["code"]) == (400, "UNKNOWN_KEY")
    assert stored(asha) == before


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("name", "A", "name"),
        ("phone", "12345", "phone"),
        ("dateOfBirth", "2999-01-01", "dateOfBirth"),
        ("dateOfBirth", "1800-01-01", "dateOfBirth"),
        ("dateOfBirth", "29-02-1980", "dateOfBirth"),
        ("dateOfBirth", "1980-W09-5", "dateOfBirth"),
        ("dateOfBirth", "1980-02-30", "dateOfBirth"),
        ("gender", "x", "gender"),
        ("bloodGroup", "C+", "bloodGroup"),
        ("address", {"pincode": "41100"}, "address.pincode"),
        ("address", {"coordinates": {"lat": 91, "lng": 0}}, "address.coordinates.lat"),
        ("address", {"coordinates": {"lat": 0, "lng": -181}}, "address.coordinates.lng"),
        ("address", {"city": {"$gt": ""}}, "address.city"),
        ("address", {"planet": "x"}, "address.planet"),
        ("emergencyContact", {"phone": "123"}, "emergencyContact.phone"),
        ("medicalHistory", {"conditions": [{"severity": "Mild"}]}, "medicalHistory.conditions.0.name"),
        ("medicalHistory", {"conditions": [{"name": "x"}] * 51}, "medicalHistory.conditions"),
        ("medicalHistory", {"habits": {"smoking": "yes"}}, "medicalHistory.habits.smoking"),
        ("insurance", {"hasInsurance": 1}, "insurance.hasInsurance"),
        ("preferences", {"notificationChannels": {"fax": True}}, "preferences.notificationChannels.fax"),
    ],
)
def test_it_says_what_is_wrong_where(asha, field, value, path):
    before = stored(asha)
    answer = asha.api("PUT", ME, {field: value})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.body["errors"]] == [path]
    assert stored(asha) == before


def test_a_phone_number_of_somebody_else_is_refused(asha, registered):
    other, before = registered(), stored(asha)
    answer = asha.api("PUT", ME, {"phone": other.phone, "gender": "female"})
    assert (answer.status_code, answer.body["code"]) == (409, "PHONE_TAKEN")
    assert stored(asha) == before


def test_another_phone_number_is_not_verified_and_the_same_one_stays_so(asha):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"phoneVerified": True, "emailVerified": True}})

    data = asha.api("PUT", ME, {"phone": asha.phone}).body["data"]
    assert (data["phoneVerified"], data["emailVerified"]) == (True, True)
    data = asha.api("PUT", ME, {"phone": "9876511111"}).body["data"]
    assert (data["phoneVerified"], data["emailVerified"]) == (False, True)


def test_another_email_address_which_staff_may_set_is_not_verified(asha, registered):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"phoneVerified": True, "emailVerified": True}})

    same = services.patient_update(actor=ADMIN, patient_id=asha.id, changes={"email": asha.email.upper()})
    assert same["emailVerified"] is True
    other = services.patient_update(actor=ADMIN, patient_id=asha.id, changes={"email": "New@example.com"})
    assert (other["emailVerified"], other["phoneVerified"]) == (False, True)
    assert stored(asha)["emailLower"] == "new@example.com"
    with pytest.raises(EmailTaken):
        services.patient_update(actor=ADMIN, patient_id=asha.id, changes={"email": registered().email.upper()})


def test_text_that_looks_like_an_operator_is_only_text(asha):
    for name in ("$phone", "$$ROOT", "{{7*7}}", "<script>"):
        assert asha.api("PUT", ME, {"name": name, "phone": "9876522222"}).body["data"]["name"] == name


def test_an_admin_reads_and_corrects_any_record(asha):
    assert services.patient_get(actor=ADMIN, patient_id=asha.id)["name"] == "Asha Rao"
    services.patient_deactivate(actor=ADMIN, patient_id=asha.id)
    assert services.patient_get(actor=ADMIN, patient_id=asha.id)["isActive"] is False
    with pytest.raises(PatientNotFound):
        services.patient_get(actor=ADMIN, patient_id=ObjectId())


def test_stats(asha):
    with transaction.atomic():
        services.patient_counters_add(patient_id=asha.id, bookings=2, spent=Decimal("678.50"))
        services.patient_counters_add(patient_id=asha.id, spent=Decimal("0.20"))

    answer = asha.api("GET", "/api/patients/stats")

    assert answer.status_code == 200
    assert answer.body["data"].keys() == {
        "totalBookings", "totalSpent", "memberSince", "lastActive", "isVerified", "phoneVerified", "emailVerified",
    }  # fmt: skip
    assert (answer.body["data"]["totalBookings"], answer.body["data"]["totalSpent"]) == (2, 678.7)


@pytest.mark.parametrize("odd", [None, "3", [], Decimal128("Infinity")])
def test_counters_that_are_no_numbers_count_on_from_nothing(asha, odd):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"totalBookings": odd, "totalSpent": odd}})
    assert asha.api("GET", "/api/patients/stats").status_code == 200
    with transaction.atomic():
        services.patient_counters_add(patient_id=asha.id, bookings=2, spent=Decimal("678.50"))
    counted = asha.api("GET", "/api/patients/stats").body["data"]
    expected = (None, None) if isinstance(odd, Decimal128) else (2, 678.5)
    assert (counted["totalBookings"], counted["totalSpent"]) == expected


@pytest.mark.parametrize("odd", ["soonish", 5, DatetimeMS(8_640_000_000_000_000)])
def test_a_birthday_that_is_none_is_unknown_to_bookings(asha, odd):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"dateOfBirth": odd}})
    assert services.patient_contact(asha.id).date_of_birth is None
    assert asha.api("GET", ME).status_code == 200


def test_contact_is_what_bookings_need(asha):
    asha.api("PUT", ME, {"dateOfBirth": "1980-02-29", "gender": "female"})
    contact = services.patient_contact(asha.id)
    assert (contact.name, contact.email, contact.phone) == ("Asha Rao", asha.email, asha.phone)
    assert contact.date_of_birth == datetime(1980, 2, 29, tzinfo=UTC)
    assert contact.preferences["notificationChannels"]["sms"] is True
    with pytest.raises(PatientNotFound):
        services.patient_contact(ObjectId())


# --- audit -----------------------------------------------------------------------------------------------------------


def lines(**where) -> list[dict]:
    return list(ClinicalAccess.objects.mongo_find(where).sort("_id", 1))


def test_a_change_of_clinical_fields_is_audited_with_it(asha):
    answer = asha.api("PUT", ME, {"name": "Asha", "bloodGroup": "A-", "insurance": {}}, **{"X-Request-ID": "req-1"})

    assert answer.status_code == 200
    (line,) = lines()
    assert line.pop("_id")
    assert line.pop("at")
    assert line == {
        "action": "WRITE",
        "actorRole": "PATIENT",
        "actorId": asha.id,
        "actorName": "",
        "objectType": "patient",
        "objectId": str(asha.id),
        "fields": ["bloodGroup", "insurance"],
        "requestId": "req-1",
    }


def test_a_change_that_cannot_be_audited_does_not_happen(asha, monkeypatch):
    def fails(_document):
        raise RuntimeError

    before = stored(asha)
    monkeypatch.setattr(services.repositories, "access_add", fails)
    assert asha.api("PUT", ME, {"bloodGroup": "A-"}).status_code == 500
    assert stored(asha) == before


def test_a_change_of_a_name_is_nothing_clinical(asha):
    asha.api("PUT", ME, {"name": "Asha"})
    assert lines() == []


def test_every_read_by_an_admin_is_a_line(asha):
    asha.api("PUT", ME, {"bloodGroup": "A-"})
    for _ in range(3):
        services.patient_get(actor=ADMIN, patient_id=asha.id)
    read = lines(action="READ")
    assert [(line["actorRole"], line["actorId"], line["fields"]) for line in read] == [
        ("ADMIN", ADMIN.id, ["bloodGroup"])
    ] * 3


def test_ones_own_reads_are_a_line_every_few_minutes(asha, monkeypatch):
    from patients import audit

    asha.api("PUT", ME, {"bloodGroup": "A-"})
    for _ in range(3):
        asha.api("GET", ME)
    assert len(lines(action="READ")) == 1

    monkeypatch.setattr(audit.time, "monotonic", lambda: 1e12)
    asha.api("GET", ME)
    assert len(lines(action="READ")) == 2


def test_a_change_by_an_admin_that_shows_what_is_clinical_is_a_read_too(asha):
    asha.api("PUT", ME, {"bloodGroup": "A-"})
    shown = services.patient_update(actor=ADMIN, patient_id=asha.id, changes={"insurance": {"provider": "Star"}})
    assert {"bloodGroup", "insurance"} <= shown.keys()
    by_admin = lines(actorRole="ADMIN")
    assert [(line["action"], line["fields"]) for line in by_admin] == [
        ("WRITE", ["insurance"]),
        ("READ", ["bloodGroup"]),
    ]
    services.patient_update(actor=ADMIN, patient_id=asha.id, changes={})
    assert lines(actorRole="ADMIN")[-1]["fields"] == ["bloodGroup", "insurance"]


def test_staff_are_shown_nothing_clinical_by_a_change(asha):
    asha.api("PUT", ME, {"bloodGroup": "A-"})
    staff = Caller(Role.STAFF, ObjectId())
    assert "bloodGroup" not in services.patient_update(actor=staff, patient_id=asha.id, changes={"name": "Asha"})
    assert lines(actorRole="STAFF") == []


def test_a_sign_in_that_shows_what_is_clinical_is_an_own_read(asha, api):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"bloodGroup": "A-"}})
    for _ in range(2):
        answer = api("POST", "/api/patients/login", {"email": asha.email, "password": asha.password})
        assert answer.body["data"]["patient"]["bloodGroup"] == "A-"
    (line,) = lines()
    assert (line["action"], line["actorRole"], line["fields"]) == ("READ", "PATIENT", ["bloodGroup"])


@pytest.mark.parametrize(
    "change",
    [
        {"phone": "abc"},
        {"phone": ""},
        {"email": "not an address"},
        {"email": "not an \u212aaddress"},
        {"email": "\u212aaddress@example.com"},
        {"email": "a@example.com\u200b"},
        {"name": "A"},
        {"name": "Asha \u202eoaR"},
        {"gender": "unheard of"},
        {"dateOfBirth": datetime(1700, 1, 1, tzinfo=UTC)},
        {"dateOfBirth": datetime(9999, 1, 1, tzinfo=UTC)},
    ],
)
@pytest.mark.parametrize("role", [Role.STAFF, Role.ADMIN])
def test_nobody_writes_a_contact_that_is_none(asha, change, role):
    before = stored(asha)
    with pytest.raises(InvalidInput) as refusal:
        services.patient_update(actor=Caller(role, ObjectId()), patient_id=asha.id, changes=change)
    assert [error.field for error in refusal.value.errors] == list(change)
    assert stored(asha) == before


def test_staff_may_clear_what_need_not_be_known(asha):
    staff = Caller(Role.STAFF, ObjectId())
    services.patient_update(actor=staff, patient_id=asha.id, changes={"gender": "", "dateOfBirth": None})
    assert stored(asha)["gender"] == ""


WRITES: dict[str, Callable[[Any], Any]] = {
    "save": lambda line: line.save(),
    "save_base": lambda line: line.save_base(),
    "delete": lambda line: line.delete(),
    "update": lambda _line: ClinicalAccess.objects.update(action="X"),
    "filtered": lambda _line: ClinicalAccess.objects.filter(action="WRITE").update(action="X"),
    "base": lambda _line: ClinicalAccess._base_manager.update(action="X"),
    "delete_all": lambda _line: ClinicalAccess.objects.all().delete(),
    "raw_delete": lambda _line: ClinicalAccess.objects.all()._raw_delete("default"),
    "bulk_update": lambda line: ClinicalAccess.objects.bulk_update([line], ["action"]),
    "bulk_create": lambda line: ClinicalAccess.objects.bulk_create([line], update_conflicts=True),
    "create": lambda _line: ClinicalAccess.objects.create(action="X"),
    "update_or_create": lambda line: ClinicalAccess.objects.update_or_create(pk=line.pk, defaults={"action": "X"}),
    **{
        f"mongo_{call}": partial(lambda call, _line: getattr(ClinicalAccess.objects, f"mongo_{call}"), call)
        for call in (
            "update_one",
            "update_many",
            "replace_one",
            "delete_one",
            "delete_many",
            "find_one_and_update",
            "find_one_and_delete",
            "bulk_write",
            "aggregate",
            "drop",
            "rename",
        )
    },
}


@pytest.mark.parametrize("way", WRITES)
def test_the_audit_only_grows(asha, way):
    asha.api("PUT", ME, {"bloodGroup": "A-"})
    before = lines()
    with pytest.raises(AuditIsAppendOnly):
        WRITES[way](ClinicalAccess.objects.get())
    assert lines() == before
