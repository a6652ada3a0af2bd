"""Every text that a body may hold, and a value for each that its endpoint takes."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import count
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.utils import OpenApiParameter
from rest_framework import fields
from rest_framework.serializers import BaseSerializer, ListSerializer

from booking_service.api import serializers as api
from booking_service.api.schema import PAGE_PARAMETERS
from patients.serializers import DayField
from tests.integration.security.matrix import MATRIX

_numbers = count(1)
Path = tuple[str | int, ...]

SAMPLES: dict[str, Any] = {
    "contactPhone": "9876500001",
    "pincode": "560001",
    "gender": "female",
    "bloodGroup": "O+",
    "severity": "mild",
    "dateOfBirth": "1980-01-01",
    "email": "sample@example.com",
    "password": "Secret414002x",
    "newPassword": "Secret414002x",
    "type": "HOME",
    "paymentMethod": "ONLINE",
    "absentParty": "PROVIDER",
    "city": "Bangalore",
    "startsAt": None,
}
# Fields whose value decides whether the request can succeed at all: what they take is tried by their own tests.
DECIDING = {"currentPassword", "password", "email", "refreshToken", "providerId", "serviceType", "startsAt",
            "scheduledDate", "scheduledTime"}  # fmt: skip


def bodies() -> Iterator[tuple[str, type[api.StrictSerializer]]]:
    """Each route that takes a body, and the shape of it."""
    for method, path, view in _endpoints(get_resolver().url_patterns, "/"):
        body = getattr(getattr(view, "documented", None), "body", None)
        if body is not None and f"{method} {path}" in MATRIX:
            yield f"{method} {path}", body


def queries() -> Iterator[tuple[str, list[str]]]:
    """Each route that takes parameters in its query, and their names."""
    for method, path, view in _endpoints(get_resolver().url_patterns, "/"):
        documented = getattr(view, "documented", None)
        if documented is None or f"{method} {path}" not in MATRIX:
            continue
        given = (*documented.parameters, *(PAGE_PARAMETERS if documented.paginated else ()))
        if names := [parameter.name for parameter in given if parameter.location == OpenApiParameter.QUERY]:
            yield f"{method} {path}", names


def texts(shape: Any, path: Path = ()) -> Iterator[tuple[Path, fields.Field]]:
    """The path and the field of every text in a shape."""
    for name, field in shape.fields.items():
        yield from _texts_of(field, (*path, name))


def _texts_of(field: Any, path: Path) -> Iterator[tuple[Path, fields.Field]]:
    if isinstance(field, ListSerializer | fields.ListField):
        yield from _texts_of(field.child, (*path, 0))
    elif isinstance(field, BaseSerializer):
        yield from texts(field, path)
    elif isinstance(field, fields.CharField | fields.ChoiceField | DayField | api.InstantField):
        yield path, field


def with_value(body: Any, shape: BaseSerializer, path: Path, value: Any) -> Any:
    """`body` with `value` at `path`; what has to stand beside it is filled in."""
    whole = deepcopy(body) or {}
    _place(whole, shape, path, value)
    return whole


def _place(node: Any, shape: Any, path: Path, value: Any) -> None:
    name, rest = path[0], path[1:]
    field = shape.fields[name]
    if not rest:
        node[name] = value
        return
    is_list = rest[0] == 0
    inner = field.child if is_list else field
    if is_list and len(rest) == 1:
        node[name] = [value]
        return
    entry = _required(inner) if not isinstance(node.get(name), dict) else node[name]
    node[name] = [entry] if is_list else entry
    _place(entry, inner, rest[1:] if is_list else rest, value)


def _required(shape: Any) -> dict[str, Any]:
    return {name: sample(name, field) for name, field in shape.fields.items() if field.required}


def sample(name: str, field: Any) -> Any:
    """A value that `field` takes."""
    if isinstance(field, BaseSerializer):
        return _required(field)
    if isinstance(field, fields.URLField):
        return "https://files.example.com/1"
    if isinstance(field, DayField):
        return SAMPLES.get(name, "2030-01-01")
    if isinstance(field, fields.FloatField | fields.IntegerField):
        return 1
    if name == "phone":
        return f"7{next(_numbers):09}"
    return SAMPLES.get(name, "Plain text")


def _endpoints(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, str, Any]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _endpoints(pattern.url_patterns, path)
            continue
        actions = getattr(pattern.callback, "actions", None) or {}
        for method, action in actions.items():
            yield method.upper(), path, getattr(pattern.callback.cls, action)  # type: ignore[attr-defined]  # set by as_view()
