"""What the models say of their documents."""

from __future__ import annotations

from django.db.models import DateTimeField, Model

from monolith.conversion import Dates


def dates_of(model: type[Model]) -> Dates:
    """The dates of a model's documents, by the names that are stored, with those of its embedded models."""
    dates: dict[str, Dates | None] = {}
    for field in model._meta.concrete_fields:
        name, embedded = str(field.column), getattr(field, "embedded_model", None)
        if isinstance(field, DateTimeField):
            dates[name] = None
        elif embedded and (inner := dates_of(embedded)):
            dates[name] = inner
    return dates
