"""`manage.py dev_token`: a token for trying things out, never in production."""

from io import StringIO

import pytest
from bson import ObjectId
from django.core.management import CommandError, call_command

from booking_service.devstack import people
from patients import repositories, tokens


def printed(*arguments: str) -> str:
    output = StringIO()
    call_command("dev_token", *arguments, stdout=output)
    return output.getvalue().strip()


def test_it_names_the_stand_ins_people():
    for who, person in [("nurse", people.NURSE), ("physiotherapist", people.PHYSIOTHERAPIST), ("admin", people.ADMIN)]:
        token = tokens.caller_token(printed(who))

        assert str(token["id"]) == person.id
        assert isinstance(token, tokens.MonolithToken)
        assert token.may_be_provider


def test_it_names_a_provider_by_id():
    provider = str(ObjectId())

    assert tokens.caller_token(printed("nurse", provider))["id"] == provider


def test_it_invents_one_patient():
    first, second = tokens.caller_token(printed("patient")), tokens.caller_token(printed("patient"))

    assert first["id"] == second["id"]
    invented = repositories.by_email("kavya.developer@example.com")
    assert invented is not None
    assert invented["_id"] == first.patient_id


def test_it_names_a_patient_by_id():
    invented = tokens.caller_token(printed("patient"))["id"]

    assert tokens.caller_token(printed("patient", invented))["id"] == invented


@pytest.mark.parametrize(
    "given", [("patient", "6b03601f0e24e9ab6cb589be"), ("patient", "banana"), ("nurse", "7"), ("doctor",)]
)
def test_it_refuses_whom_it_cannot_name(given):
    with pytest.raises(CommandError):
        printed(*given)


def test_it_does_not_run_in_production(settings):
    settings.PRODUCTION = True

    with pytest.raises(CommandError, match="production"):
        printed("admin")
