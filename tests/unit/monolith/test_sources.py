"""Exports: one Extended JSON document a line, and whatever else stands there."""

from datetime import UTC, datetime

import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS

from monolith.sources import ExportFolder


def folder(tmp_path, *lines):
    (tmp_path / "patients.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return ExportFolder(tmp_path)


def test_it_reads_relaxed_and_canonical_extended_json(tmp_path):
    source = folder(
        tmp_path,
        b'{"_id": {"$oid": "6b02ee6254bb8f95d9a320a6"}, "at": {"$date": "2026-11-22T13:30:10.671Z"}, "n": 3}',
        b'{"at": {"$date": {"$numberLong": "0"}}, "n": {"$numberInt": "3"}, "d": {"$numberDecimal": "1.5"}}',
    )

    relaxed, canonical = [read.document for read in source.read("patients", None)]

    assert relaxed["_id"] == ObjectId("6b02ee6254bb8f95d9a320a6")
    assert relaxed["at"] == datetime(2026, 11, 22, 13, 30, 10, 671000, tzinfo=UTC)
    assert canonical == {"at": datetime(1970, 1, 1, tzinfo=UTC), "n": 3, "d": Decimal128("1.5")}


def test_a_date_that_python_does_not_know_is_no_end_of_its_document(tmp_path):
    source = folder(tmp_path, b'{"name": "x", "at": {"$date": {"$numberLong": "577014796800000"}}}')

    (read,) = source.read("patients", None)

    assert read.document == {"name": "x", "at": DatetimeMS(577_014_796_800_000)}


def test_it_names_the_line_that_is_no_document_and_reads_on(tmp_path):
    source = folder(
        tmp_path,
        b'{"_id": ',
        b"\xff\xfe",
        b"[1]",
        b"",
        b'{"_id": {"$oid": "x"}}',
        b'{"at": {"$date": "no"}}',
        b'{"a": 1}',
    )

    reads = list(source.read("patients", None))

    assert [read.document for read in reads] == [None, None, None, None, None, {"a": 1}]
    assert [read.place for read in reads[:5]] == [f"patients.jsonl:{line}" for line in (1, 2, 3, 5, 6)]
    assert all(read.fault for read in reads[:5])


@pytest.mark.parametrize(
    "odd",
    [
        b'{"n": 99999999999999999999}',
        b'{"n": -9223372036854775809}',
        b'{"n": "a\\ud800"}',
        b'{"a\\ud800": 1}',
        b'{"a\\u0000b": 1}',
        b'{"n": {"$numberDecimal": "x"}}',
        b'{"n": ' * 171 + b"1" + b"}" * 171,
        b'{"n": ' + b"[" * 170 + b"]" * 170 + b"}",
        b'{"n": ' + b"[" * 1500 + b"]" * 1500 + b"}",
        b'{"n": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"n": "' + b"x" * (1 << 24) + b'"}',
    ],
    ids=lambda odd: odd[:20].decode(),
)
def test_a_line_that_mongodb_could_not_hold_is_no_document(tmp_path, odd):
    source = folder(tmp_path, odd, b'{"a": 1}')

    refused, read = source.read("patients", None)

    assert (refused.document, refused.place, refused.reason) == (None, "patients.jsonl:1", "UNREADABLE")
    assert read.document == {"a": 1}


def test_it_gives_what_changed_since_and_what_does_not_tell(tmp_path):
    source = folder(
        tmp_path,
        b'{"n": 1, "updatedAt": {"$date": "2026-11-01T00:00:00Z"}}',
        b'{"n": 2, "updatedAt": {"$date": "2026-11-02T00:00:00Z"}}',
        b'{"n": 3}',
    )

    found = [read.document["n"] for read in source.read("patients", datetime(2026, 11, 2, tzinfo=UTC))]

    assert found == [2, 3]


def test_it_reads_a_missing_file_as_none(tmp_path):
    source = folder(tmp_path, b"{}")

    assert source.count("patients") == 1
    assert source.count("nursebookings") == 0
    assert list(source.read("nursebookings", None)) == []
