"""The base of every document the service owns."""

from __future__ import annotations

from djongo import models

from .fields import ObjectIdField


class Document(models.Model):
    """A MongoDB document: `_id` is an ObjectId; `objects.mongo_…` are the collection's own calls."""

    _id = ObjectIdField()

    objects = models.DjongoManager()

    class Meta:
        abstract = True
