"""The shapes of this app's input. What a shape lets through is stored, and comes back on read."""

# ruff: noqa: N815 - the fields carry the names that clients send

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework.fields import empty

from booking_service.api.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    FloatField,
    InstantField,
    IntegerField,
    ListField,
    ObjectIdField,
    RegexField,
    StrictSerializer,
    TextField,
    URLField,
    ValidationError,
)
from bookings import scheduling, terms
from bookings.lifecycle import Part

REASON = 500
NOT_A_TIME = "Give a time such as 9:05, 14:30 or 02:30 PM."
NOT_A_DATE = "Give a date as YYYY-MM-DD."
NO_TIME = "Give scheduledDate and scheduledTime, or startsAt."
GIVEN_TWICE = "Give it by one of its two names."
TWO_TIMES = "startsAt is not the time that scheduledDate and scheduledTime mean."


def text(length: int, **options: Any) -> CharField:
    """An optional text; an empty one is as good as none, but is kept."""
    return CharField(**{"max_length": length, "required": False, "allow_blank": True, **options})


def lines(length: int) -> TextField:
    """An optional text of several lines."""
    return TextField(max_length=length, required=False, allow_blank=True)


def texts(length: int, most: int = 30) -> ListField:
    """An optional list of short texts."""
    return ListField(child=CharField(max_length=length), max_length=most, required=False)


class NumberField(FloatField):
    """A JSON number, kept as it is: a whole one stays whole."""

    def to_internal_value(self, data: Any) -> Any:
        super().to_internal_value(data)
        return data


class CoordinatesInput(StrictSerializer):
    lat = FloatField(min_value=-90, max_value=90)
    lng = FloatField(min_value=-180, max_value=180)


class AddressInput(StrictSerializer):
    street = CharField(max_length=200)
    landmark = text(200)
    city = CharField(max_length=100)
    state = text(100)
    pincode = RegexField(r"\A[0-9]{6}\Z", max_length=6)
    coordinates = CoordinatesInput(required=False, allow_null=True)


class ServiceLocationInput(StrictSerializer):
    type = ChoiceField(["HOME", "CLINIC", "HOSPITAL"], default="HOME")
    address = AddressInput()
    contactPerson = text(100)
    contactPhone = RegexField(r"\A[6-9][0-9]{9}\Z", max_length=10, required=False)
    floorNumber = text(20)
    additionalDirections = lines(500)


class ServiceDetailsInput(StrictSerializer):
    description = lines(1000)
    injectionType = text(100)
    medicineToBeAdministered = text(200)
    medicineName = text(200)
    dosage = text(100)
    woundType = text(100)
    bodyPart = text(100)
    painArea = text(100)
    diagnosis = lines(500)
    symptoms = lines(1000)
    duration = text(100)
    frequency = text(100)
    specialInstructions = lines(1000)
    notes = lines(1000)


class PatientConditionInput(StrictSerializer):
    age = IntegerField(min_value=0, max_value=130, required=False)
    mobility = text(50)
    consciousness = text(50)
    urgency = text(50)
    diagnosis = lines(500)
    symptoms = lines(1000)
    allergies = texts(100)
    medications = texts(100)
    notes = lines(1000)


class PatientDetailsInput(StrictSerializer):
    name = CharField(max_length=100)
    age = IntegerField(min_value=0, max_value=130, required=False)
    gender = text(20)


class PackageDetailsInput(StrictSerializer):
    totalSessions = IntegerField(min_value=1, max_value=365, required=False)
    frequency = text(100)


class EquipmentInput(StrictSerializer):
    """What the visit needs: a name, or the monolith's `{item}`."""

    item = CharField(max_length=100)
    quantity = IntegerField(min_value=1, max_value=1000, required=False)
    providedBy = text(50)

    def run_validation(self, data: Any = empty) -> Any:
        return _EQUIPMENT_NAME.run_validation(data) if isinstance(data, str) else super().run_validation(data)


_EQUIPMENT_NAME = CharField(max_length=100)


class TimeInput(StrictSerializer):
    """The visit's time, in either form; validated input always has `startsAt` (UTC) when it has a time."""

    scheduledDate = CharField(max_length=24, required=False)
    scheduledTime = CharField(max_length=20, required=False)
    startsAt = InstantField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises ValidationError for half a time, or two different ones."""
        starts_at, day, at = attrs.get("startsAt"), attrs.pop("scheduledDate", None), attrs.get("scheduledTime")
        if starts_at is not None and not scheduling.is_plausible(starts_at.date()):
            raise ValidationError({"startsAt": NOT_A_DATE})
        if day is None and at is None:
            return attrs
        if day is None or at is None:
            raise ValidationError({"scheduledDate" if day is None else "scheduledTime": NO_TIME}, "required")
        meant = _instant(day, at)
        if starts_at not in (None, meant):
            raise ValidationError({"startsAt": TWO_TIMES}, "ambiguous")
        return {**attrs, "startsAt": meant}


def _instant(day: str, at: str) -> datetime:
    try:
        date = scheduling.parse_date(day)
    except ValueError:
        raise ValidationError({"scheduledDate": NOT_A_DATE}) from None
    try:
        return scheduling.local_instant(date, scheduling.parse_time(at), terms.zone())
    except ValueError:
        raise ValidationError({"scheduledTime": NOT_A_TIME}) from None


class BookingChanges(TimeInput):
    """What the patient may change of a booking: all that they said but the service."""

    serviceLocation = ServiceLocationInput(required=False)
    serviceDetails = ServiceDetailsInput(required=False)
    patientCondition = PatientConditionInput(required=False)
    patientDetails = PatientDetailsInput(required=False)
    prescriptionUrl = URLField(max_length=500, required=False)
    paymentMethod = ChoiceField(["ONLINE", "CASH", "INSURANCE"], required=False)
    specialRequirements = lines(1000)
    isPackage = BooleanField(required=False)
    packageDetails = PackageDetailsInput(required=False)
    estimatedDuration = IntegerField(min_value=1, max_value=1440, required=False)
    isRecurring = BooleanField(required=False)
    recurrencePattern = text(100)
    recurringDates = texts(40, most=90)
    equipmentRequired = ListField(child=EquipmentInput(), max_length=30, required=False)


class BookingInput(BookingChanges):
    """The input of `POST /`."""

    serviceType = CharField(max_length=60)
    serviceLocation = ServiceLocationInput()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if "startsAt" not in attrs:
            raise ValidationError({"startsAt": NO_TIME}, "required")
        return attrs


class RescheduleInput(TimeInput):
    reason = lines(REASON)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if "startsAt" not in attrs:
            raise ValidationError({"startsAt": NO_TIME}, "required")
        return attrs


class ReasonInput(StrictSerializer):
    reason = lines(REASON)


class NoShowInput(ReasonInput):
    absentParty = ChoiceField([Part.PATIENT.value, Part.PROVIDER.value], required=False)


class AssignInput(StrictSerializer):
    providerId = ObjectIdField()


class VitalsInput(StrictSerializer):
    bloodPressure = text(20)
    heartRate = NumberField(min_value=0, max_value=400, required=False)
    pulse = NumberField(min_value=0, max_value=400, required=False)
    temperature = NumberField(min_value=20, max_value=120, required=False)
    respiratoryRate = NumberField(min_value=0, max_value=200, required=False)
    oxygenSaturation = NumberField(min_value=0, max_value=100, required=False)
    spo2 = NumberField(min_value=0, max_value=100, required=False)
    bloodSugar = NumberField(min_value=0, max_value=2000, required=False)
    weight = NumberField(min_value=0, max_value=700, required=False)
    notes = lines(500)


class MedicineInput(StrictSerializer):
    name = CharField(max_length=100)
    dosage = text(100)
    route = text(50)
    time = text(40)


class ReportInput(StrictSerializer):
    """The service report, in the monolith's names."""

    vitalsChecked = VitalsInput(required=False)
    proceduresDone = texts(200)
    medicinesAdministered = ListField(child=MedicineInput(), max_length=30, required=False)
    observations = lines(2000)
    recommendations = lines(2000)
    followUpRequired = BooleanField(required=False)
    followUpDate = text(40)
    followUp = lines(500)
    photos = ListField(child=URLField(max_length=500), max_length=10, required=False)


# The short names that the contract uses for what the monolith stores.
_REPORT_NAMES = {
    "vitals": "vitalsChecked",
    "procedures": "proceduresDone",
    "medicines": "medicinesAdministered",
}


def service_report(body: Any) -> dict[str, Any]:
    """The report of a completion: the body itself or its `serviceReport`, in the monolith's or the short names.

    Raises ValidationError, also for a field that is there by both of its names.
    """
    report = body.get("serviceReport", body) if isinstance(body, Mapping) and len(body) == 1 else body
    if isinstance(report, Mapping):
        if twice := [name for name, stored in _REPORT_NAMES.items() if name in report and stored in report]:
            raise ValidationError(dict.fromkeys(twice, GIVEN_TWICE), "ambiguous")
        report = {_REPORT_NAMES.get(name, name): value for name, value in report.items()}
    return ReportInput.parse(report)


class ReviewInput(StrictSerializer):
    stars = IntegerField(min_value=1, max_value=5)
    review = lines(1000)
    punctuality = IntegerField(min_value=1, max_value=5, required=False)
    professionalism = IntegerField(min_value=1, max_value=5, required=False)
    skillLevel = IntegerField(min_value=1, max_value=5, required=False)
    communication = IntegerField(min_value=1, max_value=5, required=False)
