"""Values: money, moments, fingerprints."""

import copy
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS

from monolith.conversion import (
    Converted,
    Quarantine,
    copied,
    document_id,
    fingerprint,
    instant,
    paise,
    parted,
    shaped,
)
from monolith.schema import shape_of
from patients.models import Patient


@pytest.mark.parametrize(
    ("stored", "exact"),
    [
        (206.79299999999998, "206.79"),
        (1355.6429999999998, "1355.64"),
        (0.005, "0.01"),
        (2.675, "2.68"),
        (1.005, "1.01"),
        (500, "500.00"),
        (Decimal128("9497.643"), "9497.64"),
        (-0.005, "-0.01"),
    ],
)
def test_it_takes_money_to_the_paisa_half_up(stored, exact):
    assert str(paise(stored)) == exact


@pytest.mark.parametrize("stored", [float("nan"), float("inf"), "500", True, None, [], 10**15])
def test_it_takes_nothing_for_money_that_is_no_amount(stored):
    with pytest.raises(ValueError, match=r"not an? (number|amount)"):
        paise(stored)


def test_it_keeps_the_original_of_an_amount_that_differs():
    converted = Converted({"pricing": {"gst": 206.79299999999998, "totalAmount": 678.5}})

    converted.money("pricing", "gst", "totalAmount", "discount")
    converted.note_rounding()

    assert converted.document["pricing"] == {"gst": Decimal128("206.79"), "totalAmount": Decimal128("678.50")}
    assert converted.original == {"pricing.gst": 206.79299999999998}
    assert [(f.reason, "pricing.gst" in f.done) for f in converted.findings] == [("MONEY_ROUNDED", True)]


def test_it_leaves_an_unreadable_amount_out_and_says_so():
    converted = Converted({"pricing": {"gst": "many"}})

    converted.money("pricing", "gst")

    assert converted.document == {"pricing": {}}
    assert converted.original == {"pricing.gst": "many"}
    assert converted.findings[0].reason == "MONEY_UNREADABLE"


def test_it_reads_iso_texts_as_moments():
    assert instant("2026-10-18T05:30:00+05:30") == datetime(2026, 10, 18, tzinfo=UTC)
    assert instant("2026-10-18T00:00:00") == datetime(2026, 10, 18, tzinfo=UTC)
    assert instant("yesterday") is None
    assert instant("9999-12-31T23:59:59-05:00") is None
    assert instant(1_700_000_000) is None


def test_it_notes_dates_that_were_text_or_nothing():
    converted = Converted({"createdAt": "2026-10-18T00:00:00Z", "updatedAt": 5})

    shaped(converted, {"createdAt": None, "updatedAt": None, "deletedAt": None})

    assert converted.document == {"createdAt": datetime(2026, 10, 18, tzinfo=UTC)}
    assert [f.reason for f in converted.findings] == ["DATE_WAS_TEXT", "DATE_UNREADABLE"]
    assert converted.original["updatedAt"] == 5


def test_it_brings_what_is_embedded_or_listed_into_shape_and_leaves_the_source_alone():
    far = DatetimeMS(577_014_796_800_000)
    source = {
        "insurance": {"validUntil": "2027-01-01T00:00:00.000Z", "provider": "X"},
        "history": {"conditions": [{"since": "2020-01-01"}, {"since": far}, "asthma", {"since": None}]},
        "contact": "mum",
    }
    before: dict = copy.deepcopy(source)
    converted = Converted(dict(source))
    inner = {"since": None}

    shaped(converted, {"insurance": {"validUntil": None}, "history": {"conditions": [inner]}, "contact": inner})

    assert source == before
    assert converted.document == {
        "insurance": {"validUntil": datetime(2027, 1, 1, tzinfo=UTC), "provider": "X"},
        "history": {"conditions": [{"since": datetime(2020, 1, 1, tzinfo=UTC)}, {}, {"since": None}]},
    }
    assert converted.original == {
        "insurance.validUntil": "2027-01-01T00:00:00.000Z",
        "history.conditions": before["history"]["conditions"],
        "contact": "mum",
        "history.conditions.0.since": "2020-01-01",
        "history.conditions.1.since": far,
    }
    assert [f.reason for f in converted.findings] == [
        "DATE_WAS_TEXT",
        "PART_UNREADABLE",
        "DATE_WAS_TEXT",
        "DATE_UNREADABLE",
        "PART_UNREADABLE",
    ]


def test_it_knows_the_shape_of_the_models():
    shape = shape_of(Patient)

    assert shape["insurance"] == {"validUntil": None}
    assert shape["medicalHistory"] == {
        "conditions": [{"diagnosedDate": None}],
        "allergies": [{}],
        "currentMedications": [{"startDate": None, "endDate": None}],
        "surgeries": [{"date": None}],
        "familyHistory": [{}],
        "habits": {},
    }
    assert shape["createdAt"] is None
    assert "name" not in shape


def test_it_tells_equal_documents_from_changed_ones():
    document = {"_id": ObjectId(), "name": "x", "at": datetime(2026, 1, 1, tzinfo=UTC)}

    assert fingerprint(document) == fingerprint(dict(document))
    assert fingerprint(document) != fingerprint({**document, "name": "y"})


def test_it_refuses_a_document_without_an_object_id():
    with pytest.raises(Quarantine) as refused:
        document_id({"_id": "abc"})
    assert refused.value.finding.reason == "NO_ID"


def test_it_copies_the_parts_it_will_change_and_nothing_else():
    source = {"pricing": {"surge": {"hours": [1]}}, "messages": [{"a": 1}]}

    copy = copied(source, "pricing")
    copy["pricing"]["surge"]["multiplier"] = Decimal(2)

    assert source == {"pricing": {"surge": {"hours": [1]}}, "messages": [{"a": 1}]}
    assert copy["messages"] is source["messages"]


def test_it_parts_what_has_a_name_of_ours_from_theirs_and_leaves_the_source_as_it_was():
    source = {"version": 3, "status": "X", "payment": {"status": "PAID", "order": {"amount": 5}, "needsStaff": None}}
    before = copy.deepcopy(source)

    theirs, ours = parted("nursebookings", source)

    assert theirs == {"status": "X", "payment": {"status": "PAID"}}
    assert ours == {"payment.needsStaff": None, "payment.order": {"amount": 5}, "version": 3}
    assert source == before


@pytest.mark.parametrize("payment", [None, 5, [{"order": 1}], {}])
def test_it_parts_nothing_from_a_part_that_has_no_name_of_ours(payment):
    assert parted("nursebookings", {"payment": payment}) == ({"payment": payment}, {})
