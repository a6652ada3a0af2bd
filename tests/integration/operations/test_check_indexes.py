from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from booking_service.api.models import IdempotentRequest
from booking_service.operations.indexes import Fault, collection_findings, documents

COLLECTION = IdempotentRequest._meta.db_table
DECLARED = IdempotentRequest._meta.indexes[0]


@pytest.fixture
def rebuilt() -> Iterator[None]:
    """The collection's own indexes are back after the test."""
    yield
    for name in IdempotentRequest.objects.mongo_index_information():
        if name != "_id_":
            IdempotentRequest.objects.mongo_drop_index(name)
    IdempotentRequest.objects.mongo_create_indexes(
        [index.document_index() for index in IdempotentRequest._meta.indexes]
    )


def run() -> str:
    out = StringIO()
    call_command("check_indexes", stdout=out)
    return out.getvalue()


def test_it_finds_every_declared_index_built_by_the_migrations() -> None:
    assert "Every declared index is built." in run()
    assert len(documents()) >= 5


def test_it_fails_for_a_missing_index(rebuilt: None) -> None:
    IdempotentRequest.objects.mongo_drop_index(DECLARED.name)
    with pytest.raises(CommandError, match="1 missing or different"):
        run()


def test_it_fails_for_an_index_built_otherwise(rebuilt: None) -> None:
    IdempotentRequest.objects.mongo_drop_index(DECLARED.name)
    IdempotentRequest.objects.mongo_create_index([("elsewhere", 1)], name=DECLARED.name)
    with pytest.raises(CommandError, match="1 missing or different"):
        run()


def test_it_fails_for_an_index_that_compares_texts_otherwise(rebuilt: None) -> None:
    IdempotentRequest.objects.mongo_drop_index(DECLARED.name)
    options = {"expireAfterSeconds": 0, "collation": {"locale": "en", "strength": 2}}
    IdempotentRequest.objects.mongo_create_index([("expiresAt", 1)], name=DECLARED.name, **options)
    with pytest.raises(CommandError, match="1 missing or different"):
        run()


def test_it_names_an_index_nobody_declared(rebuilt: None) -> None:
    IdempotentRequest.objects.mongo_create_index([("body", 1)], name="by_hand")
    assert f"{COLLECTION}.by_hand: undeclared" in run()


def test_it_names_an_index_no_query_has_used() -> None:
    faults = {f.fault for model in documents() for f in collection_findings(model)}
    assert faults == {Fault.UNUSED}
