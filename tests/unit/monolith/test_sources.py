"""Exports: one Extended JSON document a line, and whatever else stands there."""

from datetime import UTC, datetime

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
