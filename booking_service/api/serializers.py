"""Input, strictly: JSON types are not guessed, unknown keys are named, every string has an end.

A drop-in for ``rest_framework.serializers``: the names that it gives are here, without their leniency
(DRF would take ``true`` for "1" and 5 for "5", and drop keys it does not know).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, NoReturn, Self

from bson import ObjectId
from django.core.validators import ProhibitNullCharactersValidator, RegexValidator
from django.utils.dateparse import parse_datetime
from rest_framework import serializers
from rest_framework.serializers import (
    DateField,
    DictField,
    ListField,
    ListSerializer,
    Serializer,
    SerializerMethodField,
    ValidationError,
)
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from booking_service.api.unseen import JOINERS, UNSEEN

__all__ = [
    "BooleanField",
    "CharField",
    "ChoiceField",
    "DateField",
    "DecimalField",
    "DictField",
    "EmailField",
    "FloatField",
    "InstantField",
    "IntegerField",
    "ListField",
    "ListSerializer",
    "MoneyField",
    "ObjectIdField",
    "RegexField",
    "Serializer",
    "SerializerMethodField",
    "StrictSerializer",
    "TextField",
    "URLField",
    "ValidationError",
]

INT64 = 2**63  # what MongoDB and JSON readers can hold
UNKNOWN_KEY = "This key is not known here."


# Several lines may have tabs, breaks and marks of direction, but nothing that shows 01 mg where 10 mg is written.
_UNSEEN_IN_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


_UNSEEN_TO_DRF = (ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator)


class CharField(serializers.CharField):
    """Text, and only text, of one line and without characters that nobody sees."""

    default_error_messages = {"unseen_character": "Leave out control characters and marks that nobody sees."}
    unseen: ClassVar[re.Pattern[str] | None] = UNSEEN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.unseen is not None:  # which knows NUL and halves of a pair, too
            self.validators = [known for known in self.validators if not isinstance(known, _UNSEEN_TO_DRF)]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = super().to_internal_value(data)
        if self.unseen is None or (text.isascii() and text.isprintable()):
            return text
        if self.unseen.search(text) or (text and not text.strip(JOINERS)):
            self.fail("unseen_character")
        return text


class TextField(CharField):
    """Text of several lines."""

    unseen = _UNSEEN_IN_LINES


class EmailField(CharField, serializers.EmailField):
    """An email address, in ASCII: letters that look like others, or fold into them, make no second account."""

    default_error_messages = {"not_ascii": "Give the address in ASCII; a domain in another script as xn--…"}

    def to_internal_value(self, data: Any) -> str:
        address = super().to_internal_value(data)
        if not address.isascii():
            self.fail("not_ascii")
        return address


class ChoiceField(serializers.ChoiceField):
    """One of a few texts. What was given instead is not repeated: it may be personal."""

    default_error_messages = {"invalid_choice": "Give one of {known}."}

    def fail(self, key: str, **kwargs: Any) -> NoReturn:
        super().fail(key, known=", ".join(map(str, self.choices)), **kwargs)


class RegexField(CharField, serializers.RegexField):
    """Text of one pattern. Give it anchored."""


class URLField(CharField, serializers.URLField):
    """An http(s) address."""


class IntegerField(serializers.IntegerField):
    """A whole JSON number."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not float(data).is_integer():
            self.fail("invalid")
        number = int(data)
        if not -INT64 <= number < INT64:
            self.fail("invalid")
        return number


class FloatField(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            self.fail("invalid")
        return float(data)


class BooleanField(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class DecimalField(serializers.DecimalField):
    """An exact decimal, given as a JSON number."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            self.fail("invalid")
        return super().to_internal_value(data)


class MoneyField(DecimalField):
    """Rupees with at most two decimals; shown as a JSON number."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 12, "decimal_places": 2, "min_value": Decimal(0), **kwargs})


class ObjectIdField(CharField):
    """A 24-hex id, as an ObjectId."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=24, max_length=24, **kwargs)
        self.validators.append(RegexValidator(r"\A[0-9a-fA-F]{24}\Z", "Not a valid id.", "invalid"))

    def run_validation(self, data: Any = serializers.empty) -> Any:
        text = super().run_validation(data)
        return ObjectId(text) if isinstance(text, str) else text

    def to_representation(self, value: Any) -> str:
        return str(value)


class InstantField(serializers.DateTimeField):
    """An instant: ISO 8601 with an offset or ``Z``; becomes a datetime in UTC."""

    default_error_messages = {"no_offset": "Give the time with an offset or Z, such as 2026-12-01T10:00:00+05:30."}

    def to_internal_value(self, value: Any) -> datetime:
        try:
            moment = parse_datetime(value) if isinstance(value, str) and len(value) <= 40 else None
            if moment is None:
                self.fail("invalid", format="YYYY-MM-DDThh:mm:ss+HH:MM")
            if moment.tzinfo is None:
                self.fail("no_offset")
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss+HH:MM")


class StrictSerializer(Serializer[Any]):
    """The shape of an input. Unknown keys are refused by name; a string field without ``max_length`` is a mistake here.

    Views call ``BookingInput.parse(request.data)``: the fields are built once for the class, not once for a request.
    """

    default_error_messages = {"unknown": UNKNOWN_KEY}

    @classmethod
    def parse(cls, data: Any, *, partial: bool = False) -> dict[str, Any]:
        """The validated input. Raises DRF's ValidationError, which becomes a 400 with every field that is wrong."""
        return cls._instance(partial).run_validation(data)

    @classmethod
    def _instance(cls, partial: bool) -> Self:
        # Validation keeps nothing on the instance, so threads may share it. Looked up on the class itself: a subclass
        # must not validate with its parent's fields.
        instances: dict[bool, Self] = cls.__dict__.get("_instances") or {}
        if partial not in instances:
            instances[partial] = cls(partial=partial)
            cls._instances = instances  # type: ignore[attr-defined]
        return instances[partial]

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for name, field in fields.items():
            if isinstance(field, serializers.CharField) and field.max_length is None:
                raise AssertionError(f"{type(self).__name__}.{name} needs a max_length.")
        return fields

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """As in DRF, but for names that nobody knows, and without a look at optional fields that are absent."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # which says what was expected
        values: dict[str, Any] = {}
        errors: dict[str, Any] = {
            str(key)[:100]: [serializers.ErrorDetail(UNKNOWN_KEY, "unknown_key")]
            for key in data
            if key not in self.fields
        }
        for name, field, may_be_absent in self._inputs:
            if may_be_absent and name not in data:
                continue
            try:
                values[name] = field.run_validation(data.get(name, serializers.empty))
            except ValidationError as invalid:
                errors[name] = invalid.detail
            except serializers.SkipField:
                pass
        if errors:
            raise ValidationError(errors)
        return values

    def run_validators(self, value: Any) -> None:
        """As in DRF, but for shapes without validators, of whose fields nothing is looked up for them."""
        if self.validators:
            super().run_validators(value)

    @cached_property
    def _inputs(self) -> tuple[tuple[str, serializers.Field[Any, Any, Any, Any], bool], ...]:
        """Each field's name, the field, and whether nothing is asked or filled in where it is absent."""
        return tuple(
            (name, field, not field.required and field.default is serializers.empty)
            for name, field in self.fields.items()
        )
