"""What the models say of their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    IntegerField,
    Model,
    TextField,
)
from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, EmbeddedModelField

from monolith.conversion import Document, Shape, is_amount

_KINDS = {BooleanField: bool, CharField: str, TextField: str, DateField: datetime}
_NUMBERS = (DecimalField, FloatField, IntegerField)


def shape_of(model: type[Model]) -> Shape:
    """The dates and the embedded documents of a model's documents, by the names that are stored."""
    shape: dict[str, Shape | list[Shape] | Callable[[Any], bool] | None] = {}
    for field in model._meta.concrete_fields:
        name = str(field.column)
        if isinstance(field, DateTimeField):
            shape[name] = None
        elif isinstance(field, EmbeddedModelArrayField):
            shape[name] = [shape_of(field.embedded_model)]
        elif isinstance(field, EmbeddedModelField):
            shape[name] = shape_of(field.embedded_model)
    return shape


def of_another_kind(model: type[Model], document: Document, path: str = "") -> Iterator[str]:
    """The paths below `path` at which a document of `model` has something that is of another kind there."""
    for field in model._meta.concrete_fields:
        value = document.get(str(field.column))
        if value is not None and not field.primary_key:
            yield from _of_another_kind(field, value, f"{path}{field.column}")


def _of_another_kind(field: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(field, EmbeddedModelField) and isinstance(value, dict):
        yield from of_another_kind(field.embedded_model, value, f"{path}.")
    elif isinstance(field, ArrayField) and isinstance(value, list):
        for place, each in enumerate(value):
            yield from _of_another_kind(field.base_field, each, f"{path}.{place}")
    elif not _is_of_kind(field, value):
        yield path


def _is_of_kind(field: Field[Any, Any], value: Any) -> bool:
    if isinstance(field, _NUMBERS):
        return is_amount(value)
    return any(isinstance(field, kind) and isinstance(value, held) for kind, held in _KINDS.items())
