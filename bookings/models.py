"""The documents of this app: bookings, as the monolith's collection names their fields, and the claims on time.

No rules here. Services read and write raw documents through `repositories`; the typed model is for migrations and the
admin.
"""

from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, EmbeddedModelField, ObjectIdField
from django_mongodb_backend.models import EmbeddedModel
from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex
from booking_service.djongo.places import CoordinatesFields, PlaceFields, instant, text
from bookings.lifecycle import Status


def money(**options: object) -> models.DecimalField:
    """Rupees, exact, stored as Decimal128."""
    return models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True, **options)


class Coordinates(CoordinatesFields):
    pass


class Address(PlaceFields):
    coordinates = EmbeddedModelField(Coordinates, null=True, blank=True)


class ServiceLocation(EmbeddedModel):
    type = text(10)
    address = EmbeddedModelField(Address, null=True, blank=True)
    contact_person = text(100, db_column="contactPerson")
    contact_phone = text(10, db_column="contactPhone")
    floor_number = text(20, db_column="floorNumber")
    additional_directions = text(500, db_column="additionalDirections")


class PatientDetails(EmbeddedModel):
    """The person cared for, when that is not the account holder."""

    name = text(100)
    age = models.IntegerField(null=True, blank=True)
    gender = text(20)


class Pricing(EmbeddedModel):
    base_price = money(db_column="basePrice")
    surge_multiplier = money(db_column="surgeMultiplier")
    platform_fee = money(db_column="platformFee")
    gst = money()
    discount = money()
    total_amount = money(db_column="totalAmount")
    payable_amount = money(db_column="payableAmount")
    currency = text(3)


class PaymentOrder(EmbeddedModel):
    """The order at the payment service that the patient can pay, or paid."""

    order_id = text(100, db_column="orderId")
    amount = money()
    currency = text(3)
    opened_at = instant(db_column="openedAt")


class Payment(EmbeddedModel):
    method = text(20)
    status = text(20)
    transaction_id = text(100, db_column="transactionId")
    paid_amount = money(db_column="paidAmount")
    paid_at = instant(db_column="paidAt")
    attempt = models.IntegerField(null=True, blank=True)
    balance = money()
    needs_staff = models.BooleanField(null=True, blank=True, db_column="needsStaff")
    order = EmbeddedModelField(PaymentOrder, null=True, blank=True)


class Refund(EmbeddedModel):
    """What goes back: REQUESTED, then REFUNDED, or NEEDS_STAFF when the payment service could not be persuaded."""

    status = text(20)
    amount = money()
    reason = text(500)
    requested_at = instant(db_column="requestedAt")
    refunded_at = instant(db_column="refundedAt")


class Cancellation(EmbeddedModel):
    cancelled_by = text(20, db_column="cancelledBy")
    reason = text(500)
    cancelled_at = instant(db_column="cancelledAt")
    refund_eligible = models.BooleanField(null=True, blank=True, db_column="refundEligible")
    refund_amount = money(db_column="refundAmount")
    cancellation_fee = money(db_column="cancellationFee")


class Rating(EmbeddedModel):
    stars = models.IntegerField(null=True, blank=True)
    review = text(1000)
    rated_at = instant(db_column="ratedAt")


class TimelineEntry(EmbeddedModel):
    """One change: who led the booking from where to where, when and why. Only ever appended, with the change itself."""

    source = text(20, db_column="from")
    to = text(20)
    actor = ObjectIdField(null=True, blank=True)
    role = text(20)
    at = instant()
    reason = text(500)
    request_id = text(64, db_column="requestId")


class ClaimRun(EmbeddedModel):
    """The claims that a booking holds on one resource: the 5-minute cells `first` to `last`, both included."""

    resource = text()
    first = models.IntegerField()
    last = models.IntegerField()


class Booking(Document):
    """A visit: asked for by a patient, given by a provider."""

    patient = ObjectIdField()
    service_provider = ObjectIdField(null=True, blank=True, db_column="serviceProvider")
    service_type = models.CharField(max_length=60, db_column="serviceType")
    status = models.CharField(max_length=20, choices=[(status, status) for status in Status], default=Status.REQUESTED)
    scheduled_date = instant(db_column="scheduledDate")
    scheduled_time = text(20, db_column="scheduledTime")
    starts_at = instant(db_column="startsAt")
    ends_at = instant(db_column="endsAt")
    estimated_duration = models.IntegerField(null=True, blank=True, db_column="estimatedDuration")
    service_location = EmbeddedModelField(ServiceLocation, null=True, blank=True, db_column="serviceLocation")
    patient_details = EmbeddedModelField(PatientDetails, null=True, blank=True, db_column="patientDetails")
    pricing = EmbeddedModelField(Pricing, null=True, blank=True)
    payment = EmbeddedModelField(Payment, null=True, blank=True)
    refund = EmbeddedModelField(Refund, null=True, blank=True)
    cancellation = EmbeddedModelField(Cancellation, null=True, blank=True)
    rating = EmbeddedModelField(Rating, null=True, blank=True)
    timeline = EmbeddedModelArrayField(TimelineEntry, null=True, blank=True)
    claims = EmbeddedModelArrayField(ClaimRun, null=True, blank=True)
    equipment = ArrayField(models.JSONField(), null=True, blank=True, db_column="equipmentRequired")
    version = models.IntegerField(default=1)
    created_at = instant(db_column="createdAt")
    updated_at = instant(db_column="updatedAt")

    class Meta:
        db_table = "nursebookings"
        # For each list: its owner, its order, and the id that makes the order strict. The status indexes serve the
        # sweeps and the admin, those from `newest` on the admin alone.
        indexes = [
            DocumentIndex("patient", "-createdAt", "-_id", name="patient_newest"),
            DocumentIndex("patient", "startsAt", "_id", name="patient_by_start"),
            DocumentIndex(
                "serviceProvider",
                "-createdAt",
                "-_id",
                name="provider_newest",
                where={"serviceProvider": {"$exists": True}},
            ),
            DocumentIndex(
                "serviceProvider",
                "startsAt",
                "_id",
                name="provider_by_start",
                where={"serviceProvider": {"$exists": True}},
            ),
            DocumentIndex("status", "startsAt", name="status_by_start"),
            DocumentIndex("status", "createdAt", name="status_by_creation"),
            DocumentIndex("-createdAt", name="newest"),
            DocumentIndex("serviceType", "-createdAt", name="service_newest"),
            DocumentIndex("payment.status", "-createdAt", name="payment_newest"),
            DocumentIndex(
                "refund.status", "-createdAt", name="refund_newest", where={"refund.status": {"$exists": True}}
            ),
            DocumentIndex(
                "payment.needsStaff", "-createdAt", name="discrepancy_newest", where={"payment.needsStaff": True}
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_type} {self._id}"


class SlotClaim(models.Model):
    """One 5-minute cell of one scarce resource, taken by one booking (see `slot_guard`)."""

    _id = models.CharField(primary_key=True, max_length=200)
    booking = ObjectIdField()
    expires_at = models.DateTimeField(db_column="expiresAt")

    objects = models.DjongoManager()

    class Meta:
        db_table = "slotclaims"
        indexes = [DocumentIndex("expiresAt", name="past_visits_go", expire_after_seconds=0)]

    def __str__(self) -> str:
        return self._id


class SeatChange(Document):
    """Cells of a service in a city in which a seat was taken or given back, written with it (see `occupancy`)."""

    place = models.CharField(max_length=200)
    first = models.IntegerField()
    last = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "seatchanges"
        indexes = [
            DocumentIndex("place", "at", name="seat_changes_of_place"),
            DocumentIndex("at", name="old_seat_changes_go", expire_after_seconds=3600),
        ]

    def __str__(self) -> str:
        return f"{self.place}: {self.first} to {self.last}"
