"""The only place that queries patients and the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId
from django.db import IntegrityError
from pymongo import ReturnDocument

from booking_service.djongo.errors import duplicate_keys
from patients.exceptions import EmailTaken, PhoneTaken, ReferralCodeTaken
from patients.models import ClinicalAccess, Patient

Document = dict[str, Any]

MOST_SESSIONS = 20
MOST_ADDRESSES = 20

# An allow-list: whatever else a document holds (hashes, sessions, what the monolith kept) never leaves the service.
PROFILE_FIELDS = (
    "name",
    "email",
    "phone",
    "dateOfBirth",
    "gender",
    "bloodGroup",
    "address",
    "savedAddresses",
    "emergencyContact",
    "medicalHistory",
    "insurance",
    "preferences",
    "profilePicture",
    "isActive",
    "isVerified",
    "phoneVerified",
    "emailVerified",
    "referralCode",
    "totalBookings",
    "totalSpent",
    "lastActive",
    "createdAt",
    "updatedAt",
)
PROFILE = dict.fromkeys(PROFILE_FIELDS, True)
CONTACT = dict.fromkeys(("name", "email", "phone", "dateOfBirth", "gender", "preferences"), True)
CREDENTIALS = dict.fromkeys(("emailLower", "password", "passwordChangedAt", "isActive"), True)
STATS = dict.fromkeys(
    ("totalBookings", "totalSpent", "createdAt", "lastActive", "isVerified", "phoneVerified", "emailVerified"), True
)
SIGN_IN_STATE = {"isActive": True, "passwordChangedAt": True, "signedOutAt": True, "sessions._id": True}

ACTIVE = {"$ne": False}
TAKEN = {"emailLower": EmailTaken, "phone": PhoneTaken, "referralCode": ReferralCodeTaken}


def _list(field: str) -> Document:
    """A field's entries in a pipeline; none where it is no list."""
    return {"$cond": [{"$isArray": f"${field}"}, f"${field}", []]}


def _refuse_duplicate(error: IntegrityError) -> None:
    for keys in duplicate_keys(error):
        for field in keys:
            if field in TAKEN:
                raise TAKEN[field] from error
    raise error


def add(document: Document) -> None:
    """Store a new patient. Raises EmailTaken, PhoneTaken or ReferralCodeTaken."""
    try:
        Patient.objects.mongo_insert_one(document)
    except IntegrityError as error:
        _refuse_duplicate(error)


def profile(patient_id: ObjectId) -> Document | None:
    """What a patient may see of themselves, for display; of a closed account too, for admins."""
    # By id alone and whole: MongoDB's shortest path. The allow-list is applied here.
    document = Patient.objects.mongo_for_display.find_one({"_id": patient_id})
    return document and {name: document[name] for name in ("_id", *PROFILE_FIELDS) if name in document}


def contact(patient_id: ObjectId) -> Document | None:
    """How to reach a patient, and what rules need to know."""
    return Patient.objects.mongo_find_one({"_id": patient_id}, CONTACT)


def stats(patient_id: ObjectId) -> Document | None:
    return Patient.objects.mongo_find_one({"_id": patient_id, "isActive": ACTIVE}, STATS)


def credentials(patient_id: ObjectId) -> Document | None:
    return Patient.objects.mongo_find_one({"_id": patient_id, "isActive": ACTIVE}, CREDENTIALS)


def by_email(email_lower: str) -> Document | None:
    """The whole document behind an email address, active or not."""
    return Patient.objects.mongo_find_one({"emailLower": {"$eq": email_lower}})


def change(patient_id: ObjectId, changes: Mapping[str, Any]) -> Document | None:
    """Set fields of an active patient; the profile after it. Raises EmailTaken or PhoneTaken."""
    return _update({"_id": patient_id, "isActive": ACTIVE}, {"$set": dict(changes)})


def change_resetting(patient_id: ObjectId, changes: Mapping[str, Any], flags: Mapping[str, str]) -> Document | None:
    """`change`, and each flag in `flags` {flag: field} becomes false when its field gets another value.

    One pipeline update, so that a flag set at the same moment for the old value cannot survive the new one.
    """
    reset = {
        flag: {"$cond": [{"$eq": [f"${field}", {"$literal": changes[field]}]}, {"$ifNull": [f"${flag}", False]}, False]}
        for flag, field in flags.items()
        if field in changes
    }
    values = {name: {"$literal": value} for name, value in changes.items()}
    return _update({"_id": patient_id, "isActive": ACTIVE}, [{"$set": reset}, {"$set": values}])


def _update(where: Document, update: Any, projection: Mapping[str, Any] = PROFILE) -> Document | None:
    try:
        return Patient.objects.mongo_find_one_and_update(
            where, update, projection=projection, return_document=ReturnDocument.AFTER
        )
    except IntegrityError as error:
        _refuse_duplicate(error)
        raise


def counters_add(patient_id: ObjectId, *, bookings: int, spent: Decimal) -> None:
    """Add to the counters; one that is no number counts as 0."""
    added = {"totalBookings": bookings, "totalSpent": spent and Decimal128(spent)}
    sums = {
        name: {"$add": [{"$cond": [{"$isNumber": f"${name}"}, f"${name}", 0]}, more]}
        for name, more in added.items()
        if more
    }
    if sums:
        Patient.objects.mongo_update_pipelined({"_id": patient_id}, [{"$set": sums}])


def set_active(patient_id: ObjectId, *, active: bool, at: datetime) -> bool:
    """Close or reopen an account; its sessions end either way. False when there is no such patient."""
    state = {"isActive": active, "deletedAt": None if active else at}
    ended = {"sessions": [], "signedOutAt": at, "updatedAt": at}
    result = Patient.objects.mongo_update_one({"_id": patient_id}, {"$set": state | ended})
    return bool(result.matched_count)


# --- sign-in ---------------------------------------------------------------------------------------------------------


def sign_in_state(patient_id: ObjectId) -> Document | None:
    """What decides whether a token still holds: isActive, passwordChangedAt and the ids of the sessions."""
    return Patient.objects.mongo_find_one({"_id": patient_id}, SIGN_IN_STATE)


def session_add(found: Mapping[str, Any], session: Document, *, at: datetime) -> bool:
    """Open a session, unless the account was closed or got another password since it was `found`.

    One that is lost with MongoDB's primary costs its patient another sign-in; to wait for a disk would cost everybody
    a third of what a sign-in takes besides its hash.
    """
    if isinstance(found.get("sessions", []), list):
        update = {"$push": {"sessions": {"$each": [session], "$slice": -MOST_SESSIONS}}, "$set": {"lastActive": at}}
    else:  # as a hand may have left it
        update = {"$set": {"sessions": [session], "lastActive": at}}
    result = Patient.objects.mongo_on_primary.update_one(
        {"_id": found["_id"], "isActive": ACTIVE, "passwordChangedAt": found.get("passwordChangedAt")}, update
    )
    return bool(result.matched_count)


def session_rotate(
    patient_id: ObjectId, session_id: ObjectId, *, used: str, following: str, expires_at: datetime, at: datetime
) -> bool:
    """Replace the refresh token `used` by `following`; False when `used` is not the session's latest any more."""
    result = Patient.objects.mongo_update_one(
        {
            "_id": patient_id,
            "isActive": ACTIVE,
            "sessions": {"$elemMatch": {"_id": session_id, "refreshId": used}},
        },
        {"$set": {"sessions.$.refreshId": following, "sessions.$.expiresAt": expires_at, "lastActive": at}},
    )
    return bool(result.matched_count)


def session_end(patient_id: ObjectId, session_id: ObjectId) -> bool:
    """End one session; whether it was open."""
    result = Patient.objects.mongo_update_one(
        {"_id": patient_id, "sessions._id": session_id}, {"$pull": {"sessions": {"_id": session_id}}}
    )
    return bool(result.modified_count)


def sessions_end(patient_id: ObjectId, *, at: datetime) -> None:
    """End every session, and every token issued before `at` that belongs to none."""
    Patient.objects.mongo_update_one({"_id": patient_id}, {"$set": {"sessions": [], "signedOutAt": at}})


def session_is_latest(patient_id: ObjectId, session_id: ObjectId, *, refresh_id: str) -> bool:
    """Whether `refresh_id` is the refresh token that the session would rotate next."""
    latest = {"sessions": {"$elemMatch": {"_id": session_id, "refreshId": refresh_id}}}
    return Patient.objects.mongo_find_one({"_id": patient_id, **latest}, {"_id": True}) is not None


def password_set(
    patient_id: ObjectId,
    *,
    changed_at: datetime | None,
    hashed: str,
    sessions_kept: Sequence[ObjectId],
    at: datetime,
) -> bool:
    """Set another password and end all sessions but `sessions_kept`; False when it was not last changed `changed_at`.

    That an old hash of the same password was replaced in the meantime is no change.
    """
    kept = {
        "$filter": {
            "input": _list("sessions"),
            "cond": {"$in": ["$$this._id", {"$literal": list(sessions_kept)}]},
        }
    }
    result = Patient.objects.mongo_update_one(
        {"_id": patient_id, "isActive": ACTIVE, "passwordChangedAt": changed_at},
        [
            {
                "$set": {
                    "password": {"$literal": hashed},
                    "passwordChangedAt": at,
                    "updatedAt": at,
                    "sessions": kept,
                }
            }
        ],
    )
    return bool(result.matched_count)


def password_upgrade(patient_id: ObjectId, *, seen: str, hashed: str) -> None:
    """Store the same password under a better hash, unless it was changed in the meantime."""
    Patient.objects.mongo_update_one({"_id": patient_id, "password": seen}, {"$set": {"password": hashed}})


# --- addresses -------------------------------------------------------------------------------------------------------


def addresses(patient_id: ObjectId) -> list[Document] | None:
    """The saved addresses, oldest first; None when there is no such active patient."""
    found = Patient.objects.mongo_find_one({"_id": patient_id, "isActive": ACTIVE}, {"savedAddresses": True})
    return None if found is None else found.get("savedAddresses") or []


def address_exists(patient_id: ObjectId, address_id: ObjectId) -> bool:
    return Patient.objects.mongo_find_one({"_id": patient_id, "savedAddresses._id": address_id}, {"_id": 1}) is not None


# What the monolith kept that is no address with an id stays where it is: nobody can name it, or make it the default.
_PRESENT = _list("savedAddresses")
_IS_ADDRESS = {"$eq": [{"$type": "$$this._id"}, "objectId"]}


def _one_default(preferred: ObjectId | None) -> list[Document]:
    """Pipeline stages after which exactly one address is the default: `preferred`, else the present, else the first."""
    known = {"$filter": {"input": "$savedAddresses", "cond": _IS_ADDRESS}}
    defaults = {"$filter": {"input": known, "cond": {"$eq": ["$$this.isDefault", True]}}}
    first_default = {"$first": {"$map": {"input": defaults, "in": "$$this._id"}}}
    first = {"$first": {"$map": {"input": known, "in": "$$this._id"}}}
    chosen = preferred if preferred is not None else {"$ifNull": [first_default, first]}
    marked = {"$mergeObjects": ["$$this", {"isDefault": {"$eq": ["$$this._id", "$$chosen"]}}]}
    each = {"$map": {"input": "$savedAddresses", "in": {"$cond": [_IS_ADDRESS, marked, "$$this"]}}}
    return [{"$set": {"savedAddresses": {"$let": {"vars": {"chosen": chosen}, "in": each}}}}]


def address_add(patient_id: ObjectId, address: Document, *, at: datetime) -> Document | None:
    """The stored address; None when the patient is gone or has MOST_ADDRESSES already."""
    with_it = {"$concatArrays": [_PRESENT, [{"$literal": address}]]}
    preferred = address["_id"] if address.get("isDefault") else None
    where = {"_id": patient_id, "isActive": ACTIVE, f"savedAddresses.{MOST_ADDRESSES - 1}": {"$exists": False}}
    return _addresses_update(
        where, [{"$set": {"savedAddresses": with_it, "updatedAt": at}}, *_one_default(preferred)], address["_id"]
    )


def address_change(patient_id: ObjectId, address_id: ObjectId, changes: Document, *, at: datetime) -> Document | None:
    """The address after the change; None when there is none, or `isDefault: false` is asked of the default."""
    is_it: Document = {"_id": address_id}
    if changes.get("isDefault") is False:
        is_it["isDefault"] = {"$ne": True}
    merged = {"$mergeObjects": ["$$this", {"$literal": changes}]}
    each = {"$cond": [{"$eq": ["$$this._id", address_id]}, merged, "$$this"]}
    preferred = address_id if changes.get("isDefault") else None
    return _addresses_update(
        {"_id": patient_id, "isActive": ACTIVE, "savedAddresses": {"$elemMatch": is_it}},
        [
            {"$set": {"savedAddresses": {"$map": {"input": _PRESENT, "in": each}}, "updatedAt": at}},
            *_one_default(preferred),
        ],
        address_id,
    )


def address_remove(patient_id: ObjectId, address_id: ObjectId, *, at: datetime) -> bool:
    """Remove an address; when it was the default, the oldest left becomes it. False when there is none."""
    others = {"$filter": {"input": _PRESENT, "cond": {"$ne": ["$$this._id", address_id]}}}
    result = Patient.objects.mongo_update_one(
        {"_id": patient_id, "isActive": ACTIVE, "savedAddresses._id": address_id},
        [{"$set": {"savedAddresses": others, "updatedAt": at}}, *_one_default(None)],
    )
    return bool(result.matched_count)


def _addresses_update(where: Document, stages: list[Document], address_id: ObjectId) -> Document | None:
    after = _update(where, stages, {"savedAddresses": {"$elemMatch": {"_id": address_id}}})
    return after and after["savedAddresses"][0]


# --- audit -----------------------------------------------------------------------------------------------------------


def access_add(document: Document) -> None:
    """One more line of the audit; joins the open transaction."""
    ClinicalAccess.objects.mongo_insert([document])
