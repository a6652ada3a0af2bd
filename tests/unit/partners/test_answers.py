"""Reading a partner's answer: on both sides of every promise."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from bson import ObjectId

from booking_service.partners.answers import Answer, in_capitals


class Colour(StrEnum):
    RED = "RED"


def answer(**data: object) -> Answer:
    return Answer.of({"success": True, "data": data})


@pytest.mark.parametrize(
    "body", [None, [], "text", 1, {}, {"success": True}, {"success": True, "data": []}, {"data": {}}]
)
def test_it_wants_the_platforms_envelope(body):
    with pytest.raises(ValueError, match="envelope"):
        Answer.of(body)


def test_it_does_not_take_a_failure_for_an_answer():
    with pytest.raises(ValueError, match="envelope"):
        Answer.of({"success": False, "data": {}})


@pytest.mark.parametrize(("given", "read"), [(678, "678.00"), (Decimal("678.5"), "678.50"), (0, "0.00")])
def test_it_reads_money_to_the_paisa(given, read):
    assert str(answer(amount=given).money("amount")) == read


@pytest.mark.parametrize("given", [None, True, "678.50", -1, Decimal("1.001"), Decimal("1e40"), [], 678.5])
def test_it_refuses_what_is_not_money(given):
    with pytest.raises(ValueError):  # noqa: PT011 - every malformed answer is the same ValueError
        answer(amount=given).money("amount")


@pytest.mark.parametrize("given", [None, "", 5, "x" * 501, "a\0b", ["a"]])
def test_it_refuses_what_is_not_a_text(given):
    with pytest.raises(ValueError, match="name"):
        answer(name=given).text("name")


def test_an_optional_text_may_be_missing_but_not_of_another_type():
    assert answer().optional_text("name") == ""
    assert answer(name=None).optional_text("name") == ""
    with pytest.raises(ValueError, match="name"):
        answer(name=0).optional_text("name")


@pytest.mark.parametrize("given", [None, "zz", "5", 12, "0123456789abcdef0123456"])
def test_it_refuses_what_is_not_an_object_id(given):
    with pytest.raises(ValueError, match="id"):
        answer(id=given).object_id("id")


def test_it_reads_an_object_id():
    known = ObjectId()
    assert answer(id=str(known)).object_id("id") == known


@pytest.mark.parametrize("given", [None, 1, "true"])
def test_it_refuses_what_is_not_a_boolean(given):
    with pytest.raises(ValueError, match="isActive"):
        answer(isActive=given).flag("isActive")


def test_it_reads_a_choice_in_any_case_and_no_other():
    assert answer(colour="red").choice("colour", Colour) is Colour.RED
    with pytest.raises(ValueError, match="GREEN"):
        answer(colour="green").choice("colour", Colour)


@pytest.mark.parametrize("given", ["NURSING", [1], {"a": 1}])
def test_it_refuses_what_is_not_a_list_of_texts(given):
    with pytest.raises(ValueError, match="categories"):
        answer(categories=given).texts("categories")


def test_it_reads_instants_with_an_offset_only():
    assert answer(at="2026-11-22T10:00:00Z").optional_instant("at") == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert answer().optional_instant("at") is None
    for given in ["2026-11-22T10:00:00", "banana", 5]:
        with pytest.raises(ValueError):  # noqa: PT011 - every malformed answer is the same ValueError
            answer(at=given).optional_instant("at")


def test_only_ascii_letters_have_capitals():
    assert in_capitals("Nurse") == "NURSE"
    assert in_capitals("adm\u0131n") == "ADM\u0131N"
    with pytest.raises(ValueError):  # noqa: PT011 - every malformed answer is the same ValueError
        in_capitals("\ud800")


@pytest.mark.parametrize("given", ["red", "RED", "Red"])
def test_a_choice_may_be_written_in_any_case(given):
    assert answer(colour=given).choice("colour", Colour) is Colour.RED
