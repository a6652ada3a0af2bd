"""A patient of the monolith as this service keeps them. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from bson import Decimal128

from monolith.conversion import Converted, Document, Quarantine, copied, document_id, shaped
from monolith.schema import shape_of
from patients.models import Patient
from patients.passwords import MONOLITH_PREFIX, from_monolith

LONGEST_EMAIL = 254
_PHONE = re.compile(r"[6-9][0-9]{9}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
# Of a cost from 4, bcrypt's least, to 12: what costs more would keep a place to hash for as long as a stranger likes.
_BCRYPT = re.compile(rf"({re.escape(MONOLITH_PREFIX)})?\$2[aby]\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{{53}}")
_SHAPE = shape_of(Patient)


def converted_patient(source: Document) -> Converted:
    """The patient with the same id, email and password; counters at zero, for they are recomputed.

    Raises:
        Quarantine: without an email address nobody could sign in to it, and nobody could be told.
    """
    document_id(source)
    converted = Converted(copied(source))
    _name_and_email(converted)
    _phone(converted)
    _password(converted)
    shaped(converted, _SHAPE)
    converted.document.update(totalBookings=0, totalSpent=Decimal128(Decimal("0.00")))
    return converted


def _name_and_email(converted: Converted) -> None:
    document = converted.document
    email = document.get("email")
    if not isinstance(email, str) or not _is_address(email.strip()):
        raise Quarantine("NO_EMAIL", "its email is no address, so nobody could sign in")
    document["emailLower"] = email.strip().lower()
    if email != document["emailLower"]:
        converted.note("EMAIL_NOT_LOWER", "kept as it is written; signing in ignores capitals and spaces around it")
    if not isinstance(document.get("name"), str):
        converted.original["name"] = document.get("name")
        document["name"] = ""
        converted.note("NO_NAME", "taken with an empty name")


def _is_address(email: str) -> bool:
    """Whether somebody can type it to sign in: nothing unseen is in it, and it is no longer than is accepted."""
    return bool(_EMAIL.fullmatch(email)) and email.isprintable() and len(email) <= LONGEST_EMAIL


def _phone(converted: Converted) -> None:
    phone = converted.document.get("phone")
    if isinstance(phone, str) and _PHONE.fullmatch(phone):
        return
    if not isinstance(phone, str):
        converted.original["phone"] = phone
        converted.document["phone"] = ""
    converted.document["phoneVerified"] = False
    converted.note("PHONE_INVALID", "kept as it is, not verified; the patient can correct it")


def _password(converted: Converted) -> None:
    password = converted.document.get("password")
    if isinstance(password, str) and _BCRYPT.fullmatch(password):
        converted.document["password"] = from_monolith(password)
    else:
        converted.document["password"] = ""
        converted.note("NO_PASSWORD", "taken without a password: the stored one is no bcrypt hash of a cost up to 12")


def without_phone(converted: Converted) -> None:
    """Another patient has the number: this one keeps it as its original only."""
    converted.original["phone"] = converted.document["phone"]
    converted.document.update(phone="", phoneVerified=False)
    converted.note("PHONE_TAKEN", "taken without its phone, which another patient has; the original kept")


def without_referral_code(converted: Converted) -> None:
    """Another patient has the code: this one keeps it as its original only."""
    converted.original["referralCode"] = converted.document.pop("referralCode")
    converted.note("REFERRAL_CODE_TAKEN", "taken without its referral code, which another patient has")
