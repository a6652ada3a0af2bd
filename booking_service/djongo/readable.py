"""Documents that do not fit their model: what of them cannot be read is none, and never takes a whole list with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ValidationError

UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, ValidationError)
SIGN = "—"


def or_sign(cell: Callable[..., Any]) -> Callable[..., Any]:
    """`cell` of a page for people; SIGN where the document has nothing that it can show."""

    @wraps(cell)
    def shown(*args: Any) -> Any:
        try:
            return cell(*args)
        except UNREADABLE:
            return SIGN

    return shown


def or_none(converters: list[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """What turns a stored value into a field's, as one converter: None for a value that is none of that field."""

    def read(value: Any, expression: Any, connection: Any) -> Any:
        try:
            for converter in converters:
                value = converter(value, expression, connection)
        except UNREADABLE:
            return None
        return value

    return [read]
