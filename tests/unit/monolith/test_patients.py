"""A patient of the monolith."""

from decimal import Decimal

import pytest
from bson import Decimal128, ObjectId

from monolith.conversion import Quarantine
from monolith.patients import converted_patient, without_phone, without_referral_code

HASH = "$2b$10$a.0iCB.OeLU8XKbAXXbKIOawahUB9wMMcmNrmLOiPeozTY9sm3s.e"


def patient(**changes):
    document = {
        "_id": ObjectId(),
        "name": "Sunita Shah",
        "email": "sunita@example.com",
        "phone": "9876543210",
        "password": HASH,
        "phoneVerified": True,
        "referralCode": "PAT123",
        "totalBookings": 9,
        "totalSpent": 12.5,
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def reasons(converted):
    return [finding.reason for finding in converted.findings]


def test_it_keeps_id_email_and_the_old_password():
    source = patient()

    converted = converted_patient(source)

    assert converted.document["_id"] == source["_id"]
    assert converted.document["emailLower"] == "sunita@example.com"
    assert converted.document["password"] == f"bcrypt${HASH}"
    assert converted.findings == []


def test_it_starts_counters_at_nothing_for_they_are_recomputed():
    document = converted_patient(patient()).document

    assert (document["totalBookings"], document["totalSpent"]) == (0, Decimal128(Decimal("0.00")))


def test_it_leaves_the_source_as_it_was():
    source = patient()
    before = dict(source)

    converted_patient(source)

    assert source == before


def test_it_takes_an_email_in_capitals_for_sign_in_in_any_case():
    converted = converted_patient(patient(email="SUNITA@EXAMPLE.COM"))

    assert (converted.document["email"], converted.document["emailLower"]) == (
        "SUNITA@EXAMPLE.COM",
        "sunita@example.com",
    )
    assert reasons(converted) == ["EMAIL_NOT_LOWER"]


@pytest.mark.parametrize(
    "email", [..., None, "", "nobody", 5, "a@example.com\u200b", "a\0@example.com", f"{'a' * 250}@example.com"]
)
def test_it_quarantines_a_patient_without_an_email_address(email):
    with pytest.raises(Quarantine) as refused:
        converted_patient(patient(email=email))
    assert refused.value.finding.reason == "NO_EMAIL"


@pytest.mark.parametrize("phone", ["12345", "+919876543210", "", ..., 9876543210])
def test_it_takes_an_invalid_phone_as_not_verified(phone):
    converted = converted_patient(patient(phone=phone))

    assert converted.document["phoneVerified"] is False
    assert isinstance(converted.document["phone"], str)
    assert reasons(converted) == ["PHONE_INVALID"]


@pytest.mark.parametrize("cost", ["04", "10", "12"])
@pytest.mark.parametrize("prefix", ["", "bcrypt$"])
def test_it_keeps_a_hash_that_is_soon_compared(cost, prefix):
    hashed = HASH.replace("$10$", f"${cost}$")

    converted = converted_patient(patient(password=prefix + hashed))

    assert converted.document["password"] == f"bcrypt${hashed}"
    assert converted.findings == []


TOO_COSTLY = [HASH.replace("$10$", f"${cost}$") for cost in (13, 16, 31)]


@pytest.mark.parametrize(
    "password",
    [
        *(..., "", "plain text", "$2b$10$short", "bcrypt", 7, "bcrypt$", HASH.replace("$10$", "$03$")),
        *(prefix + hashed for prefix in ("", "bcrypt$") for hashed in TOO_COSTLY),
    ],
)
def test_it_takes_a_patient_without_a_usable_hash_without_a_password(password):
    converted = converted_patient(patient(password=password))

    assert converted.document["password"] == ""
    assert reasons(converted) == ["NO_PASSWORD"]


def test_it_gives_up_a_phone_or_a_code_that_somebody_else_has_and_keeps_the_original():
    converted = converted_patient(patient())

    without_phone(converted)
    without_referral_code(converted)

    assert converted.document["phone"] == ""
    assert "referralCode" not in converted.document
    assert converted.original == {"phone": "9876543210", "referralCode": "PAT123"}
    assert reasons(converted) == ["PHONE_TAKEN", "REFERRAL_CODE_TAKEN"]
