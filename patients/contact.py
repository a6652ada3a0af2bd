"""What a name, an email address, a phone number, a birthday and a gender may be, whoever writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rest_framework.exceptions import ValidationError

from booking_service.api.errors import FieldError
from patients.serializers import ProfileInput, RegisterInput

_RULES = {"email": RegisterInput().fields["email"]} | {
    name: ProfileInput().fields[name] for name in ("name", "phone", "dateOfBirth", "gender")
}
_MAY_BE_CLEARED = {"dateOfBirth", "gender"}


def contact_errors(changes: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with those of `changes`, by the document's field names, that a rule of these is for.

    The rules are those of the API's input. They count for the admin too: an address that only looks like ASCII would
    open the door to a second account of the same one.
    """
    errors: list[FieldError] = []
    for name in _RULES.keys() & changes.keys():
        if changes[name] or name not in _MAY_BE_CLEARED:
            errors += _errors_of(name, changes[name])
    return errors


def _errors_of(name: str, value: Any) -> list[FieldError]:
    try:
        _RULES[name].run_validation(value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value)
    except ValidationError as invalid:
        return [FieldError(name, str(detail), detail.code.upper()) for detail in invalid.detail]  # type: ignore[union-attr]
    return []
