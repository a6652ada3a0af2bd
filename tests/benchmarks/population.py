"""The people, services and visits that benchmarks and import tests work on: invented, and the same for the same seed.

Documents are as the monolith wrote them (float rupees, local times as text). `ours` gives them as this service keeps
them, made by the importer's own conversions.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import django
from bson import ObjectId, json_util

# The importer knows the shape of a document from the models.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
django.setup()

from monolith.bookings import converted_booking  # noqa: E402
from monolith.catalog import converted_service  # noqa: E402
from monolith.patients import converted_patient  # noqa: E402

Document = dict[str, Any]

ZONE = ZoneInfo("Asia/Kolkata")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# bcryptjs of "Secret123x", ten rounds: hashing one for every patient would take minutes.
PASSWORD_HASH = "$2b$10$BHftqnPoQQsq5iKZrg8c6uoV5hStQN5DZEz6fftidZzFyGUF23mK6"
CITIES = ("Bangalore", "Mumbai", "Delhi", "Pune")
TIMES = ("10:00 AM", "9:05", "14:30", "02:30 PM", "11:00", "07:15", "18:45")
STATUSES = ("REQUESTED", "COMPLETED", "COMPLETED", "CANCELLED", "NO_SHOW", "ASSIGNED")
SERVICES = 20  # one page of the catalog
OF_A_PROVIDER = 40  # bookings, so that more bookings mean more providers


def identity(kind: int, number: int) -> ObjectId:
    """An id that says what it is of and which one; the first eight digits are its time."""
    return ObjectId(f"6500{kind:04x}{number:016x}")


def services(count: int = SERVICES) -> Iterator[Document]:
    """Catalog documents; all active, open daily, without prescriptions, so that any of them can be booked."""
    for number in range(count):
        price = 299 + 50 * number
        yield {
            "_id": identity(1, number),
            "name": f"SERVICE_{number:03d}",
            "slug": f"service-{number:03d}",
            "category": ("NURSING", "PHYSIOTHERAPY")[number % 2],
            "displayName": f"Service number {number}",
            "shortDescription": "A visit at home by trained staff, with everything that is needed for it.",
            "pricing": {"basePrice": price, "currency": "INR"},
            "serviceDetails": {
                "duration": 30,
                "equipmentRequired": ["Gloves", "Mask"],
                "suppliesNeeded": [],
                "skillLevel": "BASIC",
                "certificationRequired": [],
            },
            "availability": {
                "isActive": True,
                "availableCities": list(CITIES),
                "availableHours": {"start": "06:00", "end": "22:00"},
                "availableDays": [],
            },
            "requirements": {"prescriptionRequired": False, "advanceBookingHours": 2, "contraindications": []},
            "included": ["The visit", "Disposables"],
            "notIncluded": ["Medicines"],
            "faqs": [{"_id": identity(2, number), "question": "How long does it take?", "answer": "Half an hour."}],
            "patientInstructions": {"beforeService": [], "duringService": [], "afterService": []},
            "providerInstructions": [],
            "stats": {"totalBookings": 0, "totalRevenue": 0, "avgRating": 0, "totalReviews": 0, "completionRate": 100},
            "seo": {"keywords": ["home visit"]},
            "isFeatured": number % 5 == 0,
            "isPopular": number % 4 == 0,
            "sortOrder": number,
            "createdAt": EPOCH,
            "updatedAt": EPOCH,
            "__v": 0,
        }


def patients(count: int) -> Iterator[Document]:
    """Patients with an address and a little medical history; all sign in with "Secret123x"."""
    for number in range(count):
        home = {"street": f"{number} MG Road", "city": CITIES[number % 4], "state": "Karnataka", "pincode": "560001"}
        yield {
            "_id": identity(3, number),
            "name": f"Patient {number}",
            "email": f"patient{number}@example.com",
            "password": PASSWORD_HASH,
            "phone": f"9{number:09d}",
            "medicalHistory": {
                "conditions": [{"_id": identity(4, number), "name": "Diabetes", "severity": "Mild"}],
                "allergies": [{"_id": identity(5, number), "allergen": "Penicillin", "reaction": "Rash"}],
                "currentMedications": [],
                "surgeries": [],
                "familyHistory": [],
                "habits": {"smoking": False, "alcohol": False},
            },
            "insurance": {"hasInsurance": False},
            "savedPaymentMethods": [],
            "preferences": {
                "notificationChannels": {"sms": True, "email": True, "whatsapp": False, "push": True},
                "language": "English",
            },
            "isActive": True,
            "isVerified": False,
            "phoneVerified": False,
            "emailVerified": False,
            "totalBookings": 0,
            "totalSpent": 0,
            "savedAddresses": [{"_id": identity(6, number), "label": "Home", **home, "isDefault": True}],
            "address": home,
            "referralCode": f"PAT{number:08X}",
            "createdAt": EPOCH,
            "updatedAt": EPOCH,
            "__v": 0,
        }


def bookings(count: int, of_patients: int, *, first_day: datetime = EPOCH, days: int = 200) -> Iterator[Document]:
    """Visits spread evenly over patients and over `days` from `first_day`; booking n is patient (n mod patients)'s."""
    chance = random.Random(f"{count}/{of_patients}")
    for number in range(count):
        day = first_day + timedelta(days=number % days)
        yield _booking(number, identity(3, number % of_patients), day, chance)


def _booking(number: int, patient: ObjectId, day: datetime, chance: random.Random) -> Document:
    status = STATUSES[number % len(STATUSES)]
    base = 299 + 50 * (number % SERVICES)
    fee = base * 0.15
    gst = (base + fee) * 0.18
    made_at = day - timedelta(days=2, seconds=-(number % 86_400))
    paid = status in {"COMPLETED", "ASSIGNED"}
    document = {
        "_id": identity(7, number),
        "patient": patient,
        "serviceType": f"SERVICE_{number % SERVICES:03d}",
        "serviceDetails": {"description": "As discussed", "specialInstructions": "Ring twice"},
        "scheduledDate": day,
        "scheduledTime": TIMES[number % len(TIMES)],
        "estimatedDuration": 60,
        "isRecurring": False,
        "recurringDates": [],
        "serviceLocation": {
            "type": "HOME",
            "address": {
                "street": f"{chance.randrange(200)} Lake Road",
                "city": CITIES[number % 4],
                "state": "Karnataka",
                "pincode": "560001",
                "coordinates": {"lat": 19.07, "lng": 72.87},
            },
            "contactPerson": "Family",
            "contactPhone": "9876543210",
        },
        "patientCondition": {
            "age": chance.randrange(1, 95),
            "mobility": "MOBILE",
            "consciousness": "CONSCIOUS",
            "urgency": "ROUTINE",
        },
        "pricing": {
            "basePrice": base,
            "platformFee": fee,
            "gst": gst,
            "totalAmount": base + fee + gst,
            "payableAmount": base + fee + gst,
        },
        "payment": {"status": "PENDING"},
        "status": status,
        "statusTimestamps": {"requestedAt": made_at},
        "actualService": {"serviceReport": {"proceduresDone": [], "medicinesAdministered": [], "photos": []}},
        "messages": [],
        "equipmentRequired": [],
        "createdAt": made_at,
        "updatedAt": made_at,
        "__v": 0,
    }
    if paid:
        document["payment"] = {
            "status": "PAID",
            "method": "ONLINE",
            "transactionId": f"pay_{number}",
            "paidAt": made_at,
        }
        document["serviceProvider"] = identity(8, number // OF_A_PROVIDER)
    return document


def ours_patient(document: Document) -> Document:
    """The patient as the importer stores them."""
    return converted_patient(document).document


def ours_service(document: Document) -> Document:
    """The service as the importer stores it."""
    return converted_service(document).document


def ours_booking(document: Document) -> Document:
    """The booking as the importer stores it."""
    return converted_booking(document, zone=ZONE, price=lambda _type, _at: None, knows=lambda _type: True).document


def write_export(folder: Path, *, bookings_count: int, patients_count: int, first_day: datetime = EPOCH) -> None:
    """Write the three files of a monolith's export."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, documents in (
        ("servicecatalogs", services()),
        ("patients", patients(patients_count)),
        ("nursebookings", bookings(bookings_count, patients_count, first_day=first_day)),
    ):
        with (folder / f"{name}.jsonl").open("w") as export:
            export.writelines(json_util.dumps(document) + "\n" for document in documents)
