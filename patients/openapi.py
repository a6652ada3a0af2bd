"""The answers of the patients' endpoints, for `/api/schema`: documents pass through, only the schema tells."""

from __future__ import annotations

from booking_service.api.schema import obj
from booking_service.api.shapes import FLAG, ID, INSTANT, MAYBE_INSTANT, NUMBER, OBJECT, TEXT, Schema

ADDRESS = obj("_id isDefault", _id=ID, label=TEXT, street=TEXT, city=TEXT, state=TEXT, pincode=TEXT, isDefault=FLAG)
ADDRESSES: Schema = {"type": "array", "items": ADDRESS}
PATIENT = obj(
    "_id name email",
    _id=ID,
    name=TEXT,
    email=TEXT,
    phone=TEXT,
    gender=TEXT,
    bloodGroup=TEXT,
    dateOfBirth=MAYBE_INSTANT,
    address=OBJECT,
    emergencyContact=OBJECT,
    medicalHistory=OBJECT,
    insurance=OBJECT,
    preferences=OBJECT,
    isVerified=FLAG,
    phoneVerified=FLAG,
    emailVerified=FLAG,
    totalBookings={"type": "integer"},
    totalSpent=NUMBER,
    referralCode=TEXT,
    createdAt=INSTANT,
)
TOKENS = obj("token refreshToken", token=TEXT, refreshToken=TEXT)
SIGNED_IN = obj("patient token refreshToken", patient=PATIENT, token=TEXT, refreshToken=TEXT)
STATS = obj(
    "totalBookings totalSpent memberSince lastActive isVerified phoneVerified emailVerified",
    totalBookings={"type": "integer"},
    totalSpent=NUMBER,
    memberSince=MAYBE_INSTANT,
    lastActive=MAYBE_INSTANT,
    isVerified=FLAG,
    phoneVerified=FLAG,
    emailVerified=FLAG,
)
NOTHING: Schema = {"nullable": True}

REGISTER_EXAMPLE = {"name": "Asha Rao", "email": "asha.rao@example.com", "phone": "9876543210", "password": "Secret123"}
LOGIN_EXAMPLE = {"email": "asha.rao@example.com", "password": "Secret123"}
PROFILE_EXAMPLE = {"gender": "female", "bloodGroup": "O+", "preferences": {"language": "en"}}
ADDRESS_EXAMPLE = {
    "label": "Home",
    "street": "12 MG Road",
    "city": "Bangalore",
    "state": "Karnataka",
    "pincode": "560001",
    "coordinates": {"lat": 12.97, "lng": 77.59},
}
