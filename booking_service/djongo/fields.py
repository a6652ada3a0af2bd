"""djongo's object id, fit for the official query compiler."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from django.core.exceptions import ValidationError
from djongo import models


class ObjectIdField(models.ObjectIdField):
    """The document's `_id`: made here when the document is, so that `bulk_create` and a retried insert know it too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", ObjectId)
        super().__init__(*args, **kwargs)

    def to_python(self, value: Any) -> ObjectId | None:
        """The id; django.core.exceptions.ValidationError for anything that is not 24 hex digits."""
        if value is None or isinstance(value, ObjectId):
            return value
        try:
            return ObjectId(value)
        except (InvalidId, TypeError):
            raise ValidationError("Not a valid id.", code="invalid") from None

    def get_prep_value(self, value: Any) -> Any:
        return value if hasattr(value, "resolve_expression") else self.to_python(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if kwargs.get("default") is ObjectId:
            del kwargs["default"]
        return name, path, args, kwargs
