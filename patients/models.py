"""The documents of this app, with the field names of the monolith's `patients` collection. No rules here."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db.models import QuerySet
from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, EmbeddedModelField, ObjectIdField
from django_mongodb_backend.models import EmbeddedModel
from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex
from booking_service.djongo.places import CoordinatesFields, PlaceFields, instant, text

# Unique among the documents that have a value at all: the monolith leaves some without. Equality queries can use it.
HAS_TEXT = {"$gt": ""}


class Coordinates(CoordinatesFields):
    pass


class Address(PlaceFields):
    coordinates = EmbeddedModelField(Coordinates, null=True, blank=True)


class SavedAddress(PlaceFields):
    """One of the places a patient is visited at; exactly one of them is the default."""

    label = text(50)
    coordinates = EmbeddedModelField(Coordinates, null=True, blank=True)
    is_default = models.BooleanField(default=False, db_column="isDefault")


class EmergencyContact(EmbeddedModel):
    name = text(100)
    relationship = text(50)
    phone = text(20)


class Condition(EmbeddedModel):
    name = text()
    severity = text(20)
    diagnosed_date = instant(db_column="diagnosedDate")
    notes = text(1000)


class Allergy(EmbeddedModel):
    allergen = text()
    reaction = text()
    severity = text(20)


class Medication(EmbeddedModel):
    name = text()
    dosage = text(100)
    frequency = text(100)
    start_date = instant(db_column="startDate")
    end_date = instant(db_column="endDate")
    prescribed_by = text(100, db_column="prescribedBy")


class Surgery(EmbeddedModel):
    name = text()
    date = instant()
    hospital = text()
    notes = text(1000)


class FamilyIllness(EmbeddedModel):
    relation = text(50)
    condition = text()


class Habits(EmbeddedModel):
    smoking = models.BooleanField(default=False)
    alcohol = models.BooleanField(default=False)
    tobacco = models.BooleanField(default=False)
    exercise = text(100)
    diet = text(100)


class MedicalHistory(EmbeddedModel):
    conditions = EmbeddedModelArrayField(Condition, null=True, blank=True)
    allergies = EmbeddedModelArrayField(Allergy, null=True, blank=True)
    current_medications = EmbeddedModelArrayField(Medication, null=True, blank=True, db_column="currentMedications")
    surgeries = EmbeddedModelArrayField(Surgery, null=True, blank=True)
    family_history = EmbeddedModelArrayField(FamilyIllness, null=True, blank=True, db_column="familyHistory")
    habits = EmbeddedModelField(Habits, null=True, blank=True)


class Insurance(EmbeddedModel):
    has_insurance = models.BooleanField(default=False, db_column="hasInsurance")
    provider = text(100)
    policy_number = text(50, db_column="policyNumber")
    valid_until = instant(db_column="validUntil")


class NotificationChannels(EmbeddedModel):
    sms = models.BooleanField(default=True)
    email = models.BooleanField(default=True)
    whatsapp = models.BooleanField(default=False)
    push = models.BooleanField(default=True)


class Preferences(EmbeddedModel):
    language = text(30)
    preferred_gender = text(20, db_column="preferredGender")
    notification_channels = EmbeddedModelField(
        NotificationChannels, null=True, blank=True, db_column="notificationChannels"
    )


class Session(EmbeddedModel):
    """A sign-in: the family of refresh tokens that follow one another from it."""

    refresh_id = models.CharField(max_length=32, db_column="refreshId")
    opened_at = models.DateTimeField(db_column="openedAt")
    expires_at = models.DateTimeField(db_column="expiresAt")


class Patient(Document):
    """A patient and the account they sign in with."""

    name = models.CharField(max_length=100)
    email = models.CharField(max_length=254)
    email_lower = models.CharField(max_length=254, db_column="emailLower")
    phone = models.CharField(max_length=20)
    password = models.CharField(max_length=128)
    password_changed_at = instant(db_column="passwordChangedAt")
    signed_out_at = instant(db_column="signedOutAt")
    sessions = EmbeddedModelArrayField(Session, null=True, blank=True)
    date_of_birth = instant(db_column="dateOfBirth")
    gender = text(20)
    blood_group = text(5, db_column="bloodGroup")
    address = EmbeddedModelField(Address, null=True, blank=True)
    saved_addresses = EmbeddedModelArrayField(SavedAddress, null=True, blank=True, db_column="savedAddresses")
    emergency_contact = EmbeddedModelField(EmergencyContact, null=True, blank=True, db_column="emergencyContact")
    medical_history = EmbeddedModelField(MedicalHistory, null=True, blank=True, db_column="medicalHistory")
    insurance = EmbeddedModelField(Insurance, null=True, blank=True)
    preferences = EmbeddedModelField(Preferences, null=True, blank=True)
    is_active = models.BooleanField(default=True, db_column="isActive")
    is_verified = models.BooleanField(default=False, db_column="isVerified")
    phone_verified = models.BooleanField(default=False, db_column="phoneVerified")
    email_verified = models.BooleanField(default=False, db_column="emailVerified")
    referral_code = models.CharField(max_length=20, db_column="referralCode")
    total_bookings = models.IntegerField(default=0, db_column="totalBookings")
    total_spent = models.DecimalField(max_digits=14, decimal_places=2, default=0, db_column="totalSpent")
    last_active = instant(db_column="lastActive")
    deleted_at = instant(db_column="deletedAt")
    created_at = instant(db_column="createdAt")
    updated_at = instant(db_column="updatedAt")

    class Meta:
        db_table = "patients"
        permissions = [("view_clinical", "Can see clinical data of patients")]
        indexes = [
            DocumentIndex("emailLower", name="patient_email", unique=True, where={"emailLower": HAS_TEXT}),
            DocumentIndex("phone", name="patient_phone", unique=True, where={"phone": HAS_TEXT}),
            DocumentIndex("referralCode", name="patient_referral", unique=True, where={"referralCode": HAS_TEXT}),
            DocumentIndex("-createdAt", "_id", name="patients_newest"),
        ]

    def __str__(self) -> str:
        return str(self._id)


class AuditIsAppendOnly(RuntimeError):
    """Somebody tried to change or delete what the audit says."""


def _refused(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise AuditIsAppendOnly


class AppendOnlyQuerySet(QuerySet[Any]):
    """Finds; whatever would write is refused. Lines are added by the repository, one by one."""

    update = aupdate = bulk_update = abulk_update = _update = staticmethod(_refused)
    delete = adelete = _raw_delete = staticmethod(_refused)
    create = acreate = bulk_create = abulk_create = staticmethod(_refused)
    get_or_create = aget_or_create = update_or_create = aupdate_or_create = staticmethod(_refused)


class AppendOnlyManager(models.DjongoManager.from_queryset(AppendOnlyQuerySet)):  # type: ignore[misc]  # made at run time
    """Of the collection's own calls those that add and those that find."""

    CALLS = frozenset({"mongo_insert", "mongo_find", "mongo_find_one"})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("mongo") and name not in self.CALLS:
            raise AuditIsAppendOnly
        return super().__getattr__(name)


class ClinicalAccess(Document):
    """One line of the audit: who read, wrote or exported which clinical data, and when. Written once, never changed."""

    action = models.CharField(max_length=10)
    actor_role = models.CharField(max_length=20, db_column="actorRole")
    actor_id = ObjectIdField(null=True, blank=True, db_column="actorId")
    actor_name = text(150, db_column="actorName")
    object_type = models.CharField(max_length=30, db_column="objectType")
    object_id = models.CharField(max_length=64, db_column="objectId")
    fields = ArrayField(models.CharField(max_length=60), blank=True, default=list)
    request_id = text(64, db_column="requestId")
    at = models.DateTimeField()

    objects = AppendOnlyManager()

    class Meta:
        db_table = "clinicalaccess"
        base_manager_name = "objects"
        verbose_name_plural = "clinical access"
        default_permissions = ("view",)
        indexes = [
            DocumentIndex("objectId", "-at", name="access_of_document"),
            DocumentIndex("actorId", "-at", name="access_by_actor"),
            DocumentIndex("actorRole", "-at", name="access_by_role"),
            DocumentIndex("action", "-at", name="access_by_action"),
            DocumentIndex("-at", "_id", name="access_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_role} {self.action} {self.object_type} {self.object_id}"

    save = asave = save_base = delete = adelete = _refused
