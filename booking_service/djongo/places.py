"""The fields of a place, as the monolith's documents name them. Each app makes its own embedded models of them."""

from __future__ import annotations

from django_mongodb_backend.models import EmbeddedModel
from djongo import models


def text(length: int = 200, **options: object) -> models.CharField:
    """An optional text of a document."""
    return models.CharField(max_length=length, blank=True, default="", **options)


def instant(**options: object) -> models.DateTimeField:
    """A moment in UTC that may be unknown, or not have come yet."""
    return models.DateTimeField(null=True, blank=True, **options)


class CoordinatesFields(EmbeddedModel):
    lat = models.FloatField(null=True, blank=True)
    lng = models.FloatField(null=True, blank=True)

    class Meta:
        abstract = True


class PlaceFields(EmbeddedModel):
    street = text()
    landmark = text()
    city = text(100)
    state = text(100)
    pincode = text(6)

    class Meta:
        abstract = True
