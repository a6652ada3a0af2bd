"""What the models say of their documents."""

from __future__ import annotations

from django.db.models import DateTimeField, Model
from django_mongodb_backend.fields import EmbeddedModelArrayField, EmbeddedModelField

from monolith.conversion import Shape


def shape_of(model: type[Model]) -> Shape:
    """The dates and the embedded documents of a model's documents, by the names that are stored."""
    shape: dict[str, Shape | list[Shape] | None] = {}
    for field in model._meta.concrete_fields:
        name = str(field.column)
        if isinstance(field, DateTimeField):
            shape[name] = None
        elif isinstance(field, EmbeddedModelArrayField):
            shape[name] = [shape_of(field.embedded_model)]
        elif isinstance(field, EmbeddedModelField):
            shape[name] = shape_of(field.embedded_model)
    return shape
