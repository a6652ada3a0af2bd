"""The shapes that patients' endpoints take and give."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework.fields import Field

from booking_service.api import serializers
from patients.passwords import LONGEST_PASSWORD

PHONE = r"\A[6-9][0-9]{9}\Z"
PINCODE = r"\A[0-9]{6}\Z"
GENDERS = ("male", "female", "other", "prefer_not_to_say")
BLOOD_GROUPS = ("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-")
SEVERITIES = ("mild", "moderate", "severe")
OLDEST_YEARS = 130
MOST_ENTRIES = 50


def text(longest: int = 200, *, required: bool = False) -> serializers.CharField:
    return serializers.CharField(max_length=longest, required=required, allow_blank=not required)


def lines(longest: int) -> serializers.TextField:
    return serializers.TextField(max_length=longest, required=False, allow_blank=True)


def phone_number(**options: Any) -> serializers.RegexField:
    return serializers.RegexField(PHONE, max_length=10, **options)


class WordField(serializers.CharField):
    """One of a few words, in any case; kept as it was written."""

    default_error_messages = {"unknown_word": "Give one of {words}."}

    def __init__(self, words: tuple[str, ...], **options: Any) -> None:
        self.words = words
        super().__init__(max_length=max(map(len, words)), **options)

    def to_internal_value(self, data: Any) -> str:
        word = super().to_internal_value(data)
        if word.lower() not in {known.lower() for known in self.words}:
            self.fail("unknown_word", words=", ".join(self.words))
        return word


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")


@extend_schema_field({"type": "string", "format": "date"})
class DayField(Field[datetime, Any, str, Any]):
    """A calendar day, `YYYY-MM-DD`; an ISO instant is its day in UTC. Kept as midnight UTC, as the monolith did."""

    default_error_messages = {"not_a_day": "Give a day as YYYY-MM-DD."}

    def to_internal_value(self, data: Any) -> datetime:
        try:
            if not _DAY.match(data):  # Python reads days of weeks, too
                raise ValueError
            day = date.fromisoformat(data) if len(data) == 10 else _utc_day(data)
        except (TypeError, ValueError, OverflowError):
            self.fail("not_a_day")
        return datetime.combine(day, time.min, UTC)


def _utc_day(written: str) -> date:
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC).date()


class BirthdayField(DayField):
    """A day in the past, within a human life."""

    default_error_messages = {"not_a_birthday": "Give a day in the past, at most 130 years ago."}

    def to_internal_value(self, data: Any) -> datetime:
        day = super().to_internal_value(data)
        now = datetime.now(UTC)
        if not now.year - OLDEST_YEARS <= day.year or day > now:
            self.fail("not_a_birthday")
        return day


class PasswordField(serializers.CharField):
    """A new password: 8 characters or more, with a lower case and an upper case letter and a digit. Not trimmed."""

    unseen = None  # nobody reads it
    default_error_messages = {"too_simple": "Use a lower case letter, an upper case letter and a digit."}

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=8, max_length=LONGEST_PASSWORD, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        password = super().to_internal_value(data)
        kinds = (str.islower, str.isupper, str.isdecimal)
        if not all(any(kind(character) for character in password) for kind in kinds):
            self.fail("too_simple")
        return password


class AnyPasswordField(serializers.CharField):
    """A password to be compared, whatever the rules were when it was chosen."""

    unseen = None

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=LONGEST_PASSWORD, trim_whitespace=False, **options)


class TokenField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=4096, **options)


class RegisterInput(serializers.StrictSerializer):
    name = serializers.CharField(min_length=2, max_length=100)
    email = serializers.EmailField(max_length=254)
    phone = phone_number()
    password = PasswordField()


class LoginInput(serializers.StrictSerializer):
    email = serializers.CharField(max_length=254)
    password = AnyPasswordField()


class RefreshInput(serializers.StrictSerializer):
    refreshToken = TokenField()  # noqa: N815 - the clients' name


class LogoutInput(RefreshInput):
    everywhere = serializers.BooleanField(required=False)


class PasswordChangeInput(serializers.StrictSerializer):
    currentPassword = AnyPasswordField()  # noqa: N815
    newPassword = PasswordField()  # noqa: N815


class CoordinatesInput(serializers.StrictSerializer):
    lat = serializers.FloatField(min_value=-90, max_value=90)
    lng = serializers.FloatField(min_value=-180, max_value=180)


class AddressInput(serializers.StrictSerializer):
    street = text()
    landmark = text()
    city = text(100)
    state = text(100)
    pincode = serializers.RegexField(PINCODE, max_length=6, required=False)
    coordinates = CoordinatesInput(required=False)


class SavedAddressChange(AddressInput):
    """Any subset of a saved address."""

    label = text(50)  # type: ignore[assignment]  # a field of the input, not DRF's caption
    street = serializers.CharField(max_length=200, required=False)
    city = serializers.CharField(max_length=100, required=False)
    state = serializers.CharField(max_length=100, required=False)
    isDefault = serializers.BooleanField(required=False)  # noqa: N815


class SavedAddressInput(AddressInput):
    """A new saved address."""

    label = text(50)  # type: ignore[assignment]
    street = text(required=True)
    city = text(100, required=True)
    state = text(100, required=True)
    pincode = serializers.RegexField(PINCODE, max_length=6)
    isDefault = serializers.BooleanField(required=False)  # noqa: N815


class EmergencyContactInput(serializers.StrictSerializer):
    name = text(100)
    relationship = text(50)
    relation = text(50)
    phone = phone_number(required=False)


class ConditionInput(serializers.StrictSerializer):
    name = text(required=True)
    severity = WordField(SEVERITIES, required=False)
    diagnosedDate = DayField(required=False)  # noqa: N815
    notes = lines(1000)


class AllergyInput(serializers.StrictSerializer):
    allergen = text(required=True)
    reaction = text()
    severity = WordField(SEVERITIES, required=False)


class MedicationInput(serializers.StrictSerializer):
    name = text(required=True)
    dosage = text(100)
    frequency = text(100)
    startDate = DayField(required=False)  # noqa: N815
    endDate = DayField(required=False)  # noqa: N815
    prescribedBy = text(100)  # noqa: N815


class SurgeryInput(serializers.StrictSerializer):
    name = text(required=True)
    date = DayField(required=False)
    hospital = text()
    notes = lines(1000)


class FamilyIllnessInput(serializers.StrictSerializer):
    relation = text(50)
    condition = text(required=True)


class HabitsInput(serializers.StrictSerializer):
    smoking = serializers.BooleanField(required=False)
    alcohol = serializers.BooleanField(required=False)
    tobacco = serializers.BooleanField(required=False)
    exercise = text(100)
    diet = text(100)


def several(entry: type[serializers.StrictSerializer]) -> Any:
    return serializers.ListSerializer(child=entry(), required=False, max_length=MOST_ENTRIES)


class MedicalHistoryInput(serializers.StrictSerializer):
    conditions = several(ConditionInput)
    allergies = several(AllergyInput)
    currentMedications = several(MedicationInput)  # noqa: N815
    surgeries = several(SurgeryInput)
    familyHistory = several(FamilyIllnessInput)  # noqa: N815
    habits = HabitsInput(required=False)


class InsuranceInput(serializers.StrictSerializer):
    hasInsurance = serializers.BooleanField(required=False)  # noqa: N815
    provider = text(100)
    policyNumber = text(50)  # noqa: N815
    validUntil = DayField(required=False)  # noqa: N815


class NotificationChannelsInput(serializers.StrictSerializer):
    sms = serializers.BooleanField(required=False)
    email = serializers.BooleanField(required=False)
    whatsapp = serializers.BooleanField(required=False)
    push = serializers.BooleanField(required=False)


class PreferencesInput(serializers.StrictSerializer):
    language = text(30)
    preferredGender = text(20)  # noqa: N815
    notificationChannels = NotificationChannelsInput(required=False)  # noqa: N815


class ProfileInput(serializers.StrictSerializer):
    """Any subset of what a patient may change about themselves."""

    name = serializers.CharField(min_length=2, max_length=100, required=False)
    phone = phone_number(required=False)
    dateOfBirth = BirthdayField(required=False)  # noqa: N815
    gender = WordField(GENDERS, required=False)
    bloodGroup = WordField(BLOOD_GROUPS, required=False)  # noqa: N815
    address = AddressInput(required=False)
    emergencyContact = EmergencyContactInput(required=False)  # noqa: N815
    medicalHistory = MedicalHistoryInput(required=False)  # noqa: N815
    insurance = InsuranceInput(required=False)
    preferences = PreferencesInput(required=False)
