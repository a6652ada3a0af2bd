"""What can be done with patients. The actor is an argument; documents are plain, with the monolith's field names."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import ObjectId

from booking_service.api.attempts import AttemptLimits
from booking_service.api.bulkhead import PASSWORD_HASHES
from booking_service.api.callers import Caller, Role
from booking_service.api.errors import FieldError, InvalidInput, PermissionDenied
from booking_service.djongo.transaction import transactional
from patients import contact, passwords, repositories, sign_in_state
from patients.audit import Access, clinical_access_record, own_read_record
from patients.exceptions import (
    AccountDeactivated,
    AddressNotFound,
    DefaultAddressRequired,
    InvalidCredentials,
    PatientNotFound,
    ReferralCodeTaken,
    TooManyAddresses,
)
from patients.sessions import NewSession, SignedIn, session_new, session_open
from patients.signals import patient_registered

Document = dict[str, Any]

CLINICAL_FIELDS = frozenset({"bloodGroup", "medicalHistory", "insurance"})
# What a patient may change about themselves; staff may correct the email address too.
OWN_FIELDS = frozenset(
    {
        "name",
        "phone",
        "dateOfBirth",
        "gender",
        "bloodGroup",
        "address",
        "emergencyContact",
        "medicalHistory",
        "insurance",
        "preferences",
    }
)
STAFF_FIELDS = OWN_FIELDS | {"email"}
VERIFIED_FLAGS = {"phoneVerified": "phone", "emailVerified": "emailLower"}

SIGN_IN_LIMITS = AttemptLimits("sign-in")
REFERRAL_ALPHABET = string.ascii_uppercase + string.digits
REFERRAL_DRAWS = 8


@dataclass(frozen=True, slots=True)
class PatientContact:
    """How to reach a patient, and what booking rules ask of them."""

    id: ObjectId
    name: str
    email: str
    phone: str
    date_of_birth: datetime | None = None
    gender: str | None = None
    preferences: Mapping[str, Any] = field(default_factory=dict)


# --- account ------------------------------------------------------------------------------------------------------


@PASSWORD_HASHES.place()
def patient_register(*, name: str, email: str, phone: str, password: str) -> tuple[Document, SignedIn]:
    """Make an account; the patient's profile and the tokens of a first session.

    Raises:
        EmailTaken, PhoneTaken: also when two race for the same; decided by unique indexes.
        Busy: nothing was looked at.
    """
    hashed = passwords.password_hash(password)
    for _ in range(REFERRAL_DRAWS - 1):
        try:
            return _register(name=name, email=email, phone=phone, hashed=hashed)
        except ReferralCodeTaken:
            continue
    return _register(name=name, email=email, phone=phone, hashed=hashed)


@transactional
def _register(*, name: str, email: str, phone: str, hashed: str) -> tuple[Document, SignedIn]:
    patient_id = ObjectId()
    session = session_new(patient_id)
    document = _new_patient(patient_id, name=name, email=email, phone=phone) | _account(hashed, session)
    repositories.add(document)
    told = {"patientId": str(patient_id)} | {key: document[key] for key in ("name", "email", "phone", "referralCode")}
    patient_registered.send(sender=patient_register, patient=told)
    return _visible(document), session.signed_in


def _new_patient(patient_id: ObjectId, *, name: str, email: str, phone: str) -> Document:
    now = datetime.now(UTC)
    return {
        "_id": patient_id,
        "name": name,
        "email": email,
        "emailLower": email.lower(),
        "phone": phone,
        "savedAddresses": [],
        "preferences": {
            "notificationChannels": {"sms": True, "email": True, "whatsapp": False, "push": True},
            "language": "English",
        },
        "isVerified": False,
        "phoneVerified": False,
        "emailVerified": False,
        "referralCode": referral_code(),
        "totalBookings": 0,
        "totalSpent": 0,
        "createdAt": now,
        "updatedAt": now,
    }


def _account(hashed: str, session: NewSession) -> Document:
    return {
        "password": hashed,
        "isActive": True,
        "sessions": [session.document],
        "lastActive": session.document["openedAt"],
    }


def referral_code() -> str:
    """A new code of the monolith's shape; that no two patients have the same is the unique index's business."""
    return "PAT" + "".join(secrets.choice(REFERRAL_ALPHABET) for _ in range(6))


@PASSWORD_HASHES.place()
def patient_login(*, email: str, password: str, address: str) -> tuple[Document, SignedIn]:
    """Sign in: the profile and the tokens of a new session. An old hash is replaced on the way.

    Args:
        address: where the attempt comes from; failures are counted by it and by account.

    Raises:
        InvalidCredentials: unknown email or wrong password, after the same work.
        AccountDeactivated: the password was right.
        TooManyAttempts: no password was looked at.
        Busy: nor was it counted as an attempt.
    """
    email_lower = email.lower()
    with SIGN_IN_LIMITS.attempt(account=email_lower, address=address):
        found = repositories.by_email(email_lower)
        stored: Any = found.get("password") if found else None
        if not passwords.password_is_right(password, stored) or found is None:
            raise InvalidCredentials
    if found.get("isActive") is False:
        raise AccountDeactivated
    if passwords.needs_upgrade(password, stored):
        repositories.password_upgrade(found["_id"], seen=stored, hashed=passwords.password_hash(password))
    # Seen before the session is open: what cannot go on record leaves none behind.
    profile = _seen_by(Caller(Role.PATIENT, found["_id"]), _visible(found))
    signed_in = session_open(found)
    if signed_in is None:
        raise InvalidCredentials
    return profile, signed_in


@PASSWORD_HASHES.place()
def password_change(
    *, actor: Caller, session_id: ObjectId | None, current_password: str, new_password: str, address: str
) -> SignedIn | None:
    """Set another password and end every other session.

    A caller with a token of no session (the monolith's) gets a new session, for their token ends too.

    Raises:
        InvalidCredentials: `current_password` is wrong; counted like a failed sign-in.
        TooManyAttempts: no password was looked at.
        Busy: nor was it counted as an attempt.
    """
    patient_id = _own_id(actor)
    found = repositories.credentials(patient_id)
    if found is None:
        raise InvalidCredentials("The current password is wrong.")
    with SIGN_IN_LIMITS.attempt(account=_typed_at_sign_in(found), address=address):
        if not passwords.password_is_right(current_password, found.get("password")):
            raise InvalidCredentials("The current password is wrong.")
    kept = [] if session_id is None else [session_id]
    now = datetime.now(UTC)
    hashed = passwords.password_hash(new_password)
    if not repositories.password_set(
        patient_id, changed_at=found.get("passwordChangedAt"), hashed=hashed, sessions_kept=kept, at=now
    ):
        raise InvalidCredentials("The current password is wrong.")
    sign_in_state.forget(patient_id)
    if session_id is not None:
        return None
    return session_open({"_id": patient_id, "passwordChangedAt": _stored_precision(now)})


def _typed_at_sign_in(found: Document) -> str:
    """What names the account at a sign-in, so that both share its attempts; else what nobody can type there."""
    return found.get("emailLower") or f"ID {found['_id']}"


def _stored_precision(moment: datetime) -> datetime:
    """As MongoDB will give it back: milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def patient_deactivate(*, actor: Caller, patient_id: ObjectId) -> None:
    """Close an account: no sign-in any more, and every token of it ends."""
    _set_active(actor, patient_id, active=False)


def patient_reactivate(*, actor: Caller, patient_id: ObjectId) -> None:
    """Open a closed account again; every token of before ends, those of other issuers that came meanwhile too."""
    _set_active(actor, patient_id, active=True)


def _set_active(actor: Caller, patient_id: ObjectId, *, active: bool) -> None:
    if not actor.is_admin:
        raise PermissionDenied
    if not repositories.set_active(patient_id, active=active, at=datetime.now(UTC)):
        raise PatientNotFound
    sign_in_state.forget(patient_id)


# --- profile ------------------------------------------------------------------------------------------------------


def patient_get(*, actor: Caller, patient_id: ObjectId) -> Document:
    """A patient's profile, for the patient and for admins; its clinical part is audited.

    Raises:
        PatientNotFound: absent, or not the actor's.
    """
    _check_is_theirs(actor, patient_id)
    found = repositories.profile(patient_id)
    if found is None:
        raise PatientNotFound
    return _seen_by(actor, found)


def _seen_by(actor: Caller, profile: Document, written: frozenset[str] = frozenset()) -> Document:
    """The profile as `actor` may see it, on record: the one way out for all use cases. Changes and returns `profile`.

    Staff see clinical fields on their page, which asks for the right to it; here they get none.

    Args:
        written: the clinical fields that the actor has just written; the line of the writing covers them.
    """
    if actor.role is Role.STAFF:
        return {name: value for name, value in profile.items() if name not in CLINICAL_FIELDS}
    clinical = (CLINICAL_FIELDS & profile.keys()) - written
    if actor.is_patient:
        own_read_record(actor=actor, object_type="patient", object_id=profile["_id"], fields=clinical)
    else:
        _audit(actor, Access.READ, profile["_id"], clinical)
    return profile


def _audit(actor: Caller, action: Access, patient_id: ObjectId, fields: Iterable[str]) -> None:
    clinical_access_record(actor=actor, action=action, object_type="patient", object_id=patient_id, fields=fields)


def patient_update(*, actor: Caller, patient_id: ObjectId, changes: Mapping[str, Any]) -> Document:
    """Change some of a patient's fields; the profile after it. Another phone or email address is not verified.

    Args:
        changes: values by the document's field names, each replaced as a whole.

    Raises:
        PatientNotFound: absent, or not the actor's.
        InvalidInput: a field that is not to be changed, or a name, email, phone, birthday or gender that is none.
        PhoneTaken, EmailTaken: another account has it.
    """
    _check_is_theirs(actor, patient_id)
    _check_may_change(actor, changes)
    if errors := contact.contact_errors(changes):
        raise InvalidInput(errors=errors)
    return _store(actor, patient_id, dict(changes))


@transactional
def _store(actor: Caller, patient_id: ObjectId, changes: Document) -> Document:
    if "email" in changes:
        changes["emailLower"] = changes["email"].lower()
    stamped = {**changes, "updatedAt": datetime.now(UTC)}
    resets = VERIFIED_FLAGS.values() & stamped.keys()
    after = (
        repositories.change_resetting(patient_id, stamped, VERIFIED_FLAGS)
        if resets
        else repositories.change(patient_id, stamped)
    )
    if after is None:
        raise PatientNotFound
    written = CLINICAL_FIELDS & changes.keys()
    _audit(actor, Access.WRITE, patient_id, written)
    return _seen_by(actor, after, written)


def _check_may_change(actor: Caller, changes: Iterable[str]) -> None:
    allowed = STAFF_FIELDS if actor.is_admin else OWN_FIELDS
    refused = sorted(set(changes) - allowed)
    if refused:
        raise InvalidInput(errors=[FieldError(name, "This cannot be changed.", "NOT_CHANGEABLE") for name in refused])


def patient_stats(*, actor: Caller) -> Document:
    """What a patient's home page shows of them."""
    found = repositories.stats(_own_id(actor))
    if found is None:
        raise PatientNotFound
    return {
        "totalBookings": found.get("totalBookings", 0),
        "totalSpent": found.get("totalSpent", 0),
        "memberSince": found.get("createdAt"),
        "lastActive": found.get("lastActive"),
        "isVerified": found.get("isVerified", False),
        "phoneVerified": found.get("phoneVerified", False),
        "emailVerified": found.get("emailVerified", False),
    }


# --- addresses ----------------------------------------------------------------------------------------------------


def address_list(*, actor: Caller) -> list[Document]:
    """The actor's saved addresses, oldest first."""
    found = repositories.addresses(_own_id(actor))
    if found is None:
        raise PatientNotFound
    return found


def address_add(*, actor: Caller, address: Mapping[str, Any]) -> Document:
    """Save an address. The first becomes the default, a later one when it asks for it.

    Raises:
        TooManyAddresses: there are as many as one may have.
    """
    document = {"_id": ObjectId(), "label": "Home", **address}
    added = repositories.address_add(_own_id(actor), document, at=datetime.now(UTC))
    if added is None:
        raise TooManyAddresses
    return added


def address_update(*, actor: Caller, address_id: ObjectId, changes: Mapping[str, Any]) -> Document:
    """Change some fields of an address; `isDefault: true` moves the default to it.

    Raises:
        AddressNotFound: the actor has no such address.
        DefaultAddressRequired: `isDefault: false` was asked of the default.
    """
    patient_id = _own_id(actor)
    changed = repositories.address_change(patient_id, address_id, dict(changes), at=datetime.now(UTC))
    if changed is not None:
        return changed
    if repositories.address_exists(patient_id, address_id):
        raise DefaultAddressRequired
    raise AddressNotFound


def address_delete(*, actor: Caller, address_id: ObjectId) -> None:
    """Delete an address; when it was the default, the oldest left becomes it. Raises AddressNotFound."""
    if not repositories.address_remove(_own_id(actor), address_id, at=datetime.now(UTC)):
        raise AddressNotFound


# --- for other apps -----------------------------------------------------------------------------------------------


def patient_contact(patient_id: ObjectId) -> PatientContact:
    """How to reach a patient, closed accounts too. Raises PatientNotFound."""
    found = repositories.contact(patient_id)
    if found is None:
        raise PatientNotFound
    born = found.get("dateOfBirth")
    return PatientContact(
        id=patient_id,
        name=found.get("name", ""),
        email=found.get("email", ""),
        phone=found.get("phone", ""),
        date_of_birth=born if isinstance(born, datetime) else None,
        gender=found.get("gender"),
        preferences=found.get("preferences") or {},
    )


def patient_counters_add(*, patient_id: ObjectId, bookings: int = 0, spent: Decimal = Decimal(0)) -> None:
    """Add to what the patient has booked and paid, in the caller's transaction."""
    repositories.counters_add(patient_id, bookings=bookings, spent=spent)


# --- whose --------------------------------------------------------------------------------------------------------


def _own_id(actor: Caller) -> ObjectId:
    if not actor.is_patient or actor.id is None:
        raise PermissionDenied
    return actor.id


def _check_is_theirs(actor: Caller, patient_id: ObjectId) -> None:
    if not actor.is_admin and not (actor.is_patient and actor.id == patient_id):
        raise PatientNotFound


def _visible(document: Mapping[str, Any]) -> Document:
    return {key: document[key] for key in ("_id", *repositories.PROFILE_FIELDS) if key in document}
