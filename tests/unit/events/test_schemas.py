"""events.schemas and events.asyncapi: one contract, in the code and in the document."""

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from booking_service.api.renderers import encode
from booking_service.partners.answers import LONGEST_TEXT
from catalog.pricing import price_lines
from catalog.rules import HIGHEST_PRICE, HIGHEST_SURGE
from events.asyncapi import channel_name, document
from events.schemas import CONSUMED, CONSUMED_BY_NAME, PUBLISHED, RUPEES

PAYMENT: dict[str, Any] = {
    "event": "payment.completed",
    "data": {"bookingId": "a" * 24, "transactionId": "t", "amount": Decimal("678.50"), "method": None},
    "timestamp": "2026-11-22T10:00:00.000Z",
    "service": "payments",
}
completed = CONSUMED_BY_NAME["payment.completed"]


@pytest.mark.parametrize("contract", [*PUBLISHED, *CONSUMED], ids=lambda contract: contract.name)
def test_every_schema_is_a_valid_json_schema_and_stands_in_the_document(contract):
    Draft7Validator.check_schema(contract.schema)
    made = document(version="1.0.0")
    assert made["components"]["messages"][contract.name]["payload"] == contract.schema
    operation = "subscribe" if contract in PUBLISHED else "publish"
    reference = made["channels"][channel_name(contract)][operation]["message"]["$ref"]
    assert reference == f"#/components/messages/{contract.name}"


def test_the_document_keeps_to_asyncapi_2_6():
    """As its own JSON Schema says, from @asyncapi/specs (Apache-2.0)."""
    specification = json.loads(Path(__file__).with_name("asyncapi-2.6.0.json").read_text())
    made = json.loads(encode(document(version="1.0.0")))
    assert [error.message for error in Draft7Validator(specification).iter_errors(made)] == []
    made["components"]["messages"]["booking.created"]["correlationId"]["location"] = "correlation_id"
    assert not Draft7Validator(specification).is_valid(made)


def found(made: Any, pointer: str) -> Any:
    for name in pointer.removeprefix("#/").split("/"):
        made = made[name]
    return made


def test_every_reference_of_the_document_is_there():
    made = document(version="1.0.0")
    for item in made["channels"].values():
        (operation,) = (item[name] for name in ("subscribe", "publish") if name in item)
        assert found(made, operation["message"]["$ref"])["payload"]


@pytest.mark.parametrize("contract", [*PUBLISHED, *CONSUMED], ids=lambda contract: contract.name)
def test_a_correlation_id_points_at_a_header_that_is_always_there(contract):
    message = document(version="1.0.0")["components"]["messages"][contract.name]
    assert ("correlationId" in message) == ("headers" in message) == (contract in PUBLISHED)
    if contract in PUBLISHED:
        name = message["correlationId"]["location"].removeprefix("$message.header#/")
        assert message["headers"]["properties"][name]["type"] == "string"
        assert name in message["headers"]["required"]


def test_the_document_names_every_event_once():
    made = document(version="1.0.0")
    assert len(made["channels"]) == len(PUBLISHED) + len(CONSUMED) == len(made["components"]["messages"])


def test_no_published_event_has_room_for_clinical_text():
    clinical = {"patientCondition", "diagnosis", "serviceReport", "medicalHistory", "vitals", "prescriptionUrl"}
    for contract in PUBLISHED:
        assert not clinical & set(contract.properties)
        assert contract.schema["properties"]["data"]["additionalProperties"] is False


def changed(**data):
    body = copy.deepcopy(PAYMENT)
    body["data"] |= data
    return body


def test_what_keeps_the_contract_passes():
    assert completed.violation(PAYMENT) is None
    assert completed.violation(changed(paidAt="2026-11-22T15:30:00+05:30", more="of others")) is None


@pytest.mark.parametrize(
    "data",
    [
        {"bookingId": "A" * 24},
        {"bookingId": "a" * 24 + "\n"},
        {"bookingId": None},
        {"transactionId": ""},
        {"transactionId": "x" * 201},
        {"amount": "678.50"},
        {"amount": -1},
        {"amount": True},
        {"amount": 10**9},
        {"currency": "USD"},
        {"transactionId": "t\x00"},
        {"transactionId": "\ud800"},
        {"method": "\u202ednik"},
        {"paidAt": "yesterday"},
        {"paidAt": "2026-11-22"},
    ],
)
def test_what_breaks_it_is_named_without_its_value(data):
    violation = completed.violation(changed(**data))
    assert violation is not None
    (name,) = data
    assert violation.startswith(f"data.data.{name} breaks")
    assert str(data[name]) not in violation.removeprefix(f"data.data.{name}") or not data[name]


@pytest.mark.parametrize(
    ("order_id", "passes"),
    [
        ("x" * LONGEST_TEXT, True),
        ("", True),
        (None, True),
        (5, True),
        ({"id": "x"}, True),
        ("x" * (LONGEST_TEXT + 1), False),
        ("x\x00", False),
    ],
)
def test_a_failure_may_name_whatever_an_order_may_be_called(order_id, passes):
    failed = CONSUMED_BY_NAME["payment.failed"]
    body = {**PAYMENT, "event": "payment.failed", "data": {"bookingId": "a" * 24, "orderId": order_id}}
    assert (failed.violation(body) is None) == Draft7Validator(failed.schema).is_valid(body) == passes


@pytest.mark.parametrize("missing", ["event", "data", "timestamp", "service"])
def test_an_incomplete_envelope_breaks_it(missing):
    body = {name: value for name, value in PAYMENT.items() if name != missing}
    assert completed.violation(body) is not None


def test_the_compiled_check_and_the_published_schema_agree():
    bodies: list[Any] = [PAYMENT, changed(bookingId="x"), changed(amount=-1), {}, [], changed(paidAt="no")]
    for body in bodies:
        assert Draft7Validator(completed.schema).is_valid(body) == (completed.violation(body) is None)


def test_the_highest_price_of_the_catalog_is_an_amount_in_every_contract():
    payable = price_lines(Decimal(HIGHEST_PRICE), HIGHEST_SURGE)[-1]

    assert payable <= RUPEES["maximum"]
