"""Documents that exercise every promise of the engine; the tests make their collections."""

from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, EmbeddedModelField
from django_mongodb_backend.models import EmbeddedModel
from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex


class Window(EmbeddedModel):
    start = models.CharField(max_length=5)
    end = models.CharField(max_length=5, db_column="endsAt")

    class Meta:
        app_label = "engine"


class Terms(EmbeddedModel):
    base_price = models.DecimalField(max_digits=10, decimal_places=2, db_column="basePrice")
    windows = EmbeddedModelArrayField(Window, null=True, blank=True)

    class Meta:
        app_label = "engine"


class Clinic(Document):
    name = models.CharField(max_length=100)

    class Meta:
        app_label = "engine"
        db_table = "engine_clinics"


class Treatment(Document):
    code = models.CharField(max_length=40)
    title = models.CharField(max_length=100, blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    offered = models.BooleanField(default=True)
    starts_at = models.DateTimeField(null=True, blank=True, db_column="startsAt")
    day = models.DateField(null=True)
    uses = models.IntegerField(default=0)
    cities = ArrayField(models.CharField(max_length=40), null=True, blank=True)
    terms = EmbeddedModelField(Terms, null=True, blank=True)
    clinic = models.ForeignKey(Clinic, null=True, blank=True, on_delete=models.CASCADE, related_name="treatments")

    class Meta:
        app_label = "engine"
        db_table = "engine_treatments"
        indexes = [
            DocumentIndex("code", name="code_unique", unique=True),
            DocumentIndex("terms.basePrice", "-startsAt", name="price_then_newest"),
        ]
