"""`/api/schema`: the OpenAPI document, made from what the views are.

A view method says with ``documents`` what it takes and answers; the envelope, the refusals that every endpoint shares
and the security schemes are added here, so that no view repeats them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeVar

from django.conf import settings
from django.utils import timezone
from drf_spectacular.drainage import reset_generator_stats
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, force_instance
from drf_spectacular.utils import OpenApiParameter

from booking_service.api import errors
from booking_service.api.idempotency import IdempotencyKeyReused, RequestInProgress
from booking_service.api.renderers import encode
from booking_service.api.serializers import StrictSerializer

Json = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])
Refusal = type[errors.ServiceError]

JSON = "application/json"
VERSION_ALIAS = "/api/v1/"
MANY_WHOLE = {"type": "integer", "minimum": 0}

ERROR: Json = {
    "type": "object",
    "required": ["success", "message", "code", "requestId"],
    "properties": {
        "success": {"type": "boolean", "enum": [False]},
        "message": {"type": "string", "description": "for people"},
        "code": {"type": "string", "description": "for programs", "example": "SLOT_TAKEN"},
        "requestId": {"type": "string", "description": "the X-Request-ID of the request that was answered first"},
        "errors": {
            "type": "array",
            "description": "what is wrong, field by field",
            "items": {
                "type": "object",
                "required": ["field", "message", "code"],
                "properties": {
                    "field": {"type": "string", "example": "serviceLocation.address.pincode"},
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
    },
}
PAGINATION: Json = {
    "type": "object",
    "required": ["page", "limit", "total", "pages"],
    "properties": dict.fromkeys(("page", "limit", "total", "pages"), MANY_WHOLE),
}
SECURITY_SCHEMES: Json = {
    "patientToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`token` of register or login; for providers and admins, their token of the main platform.",
    },
    "serviceToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Service-Token",
        "description": "A JWT of another service of the platform.",
    },
}
PAGE_PARAMETERS = (
    OpenApiParameter("page", {"type": "integer", "minimum": 1, "default": 1}),
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
)
IF_NONE_MATCH_PARAMETER = OpenApiParameter(
    "If-None-Match",
    {"type": "string"},
    OpenApiParameter.HEADER,
    description="The ETag of an answer that you have: 304 without a body if it is still so.",
)
CACHE_HEADERS: Json = {
    "ETag": {"description": "names this answer", "schema": {"type": "string"}},
    "Cache-Control": {"description": "keep it, but ask whether it is still so", "schema": {"type": "string"}},
}
IDEMPOTENCY_PARAMETER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description="A request that is sent again with the same key and body happens once; kept for 24 hours.",
)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view method takes and answers."""

    data: Json | None = None
    body: type[StrictSerializer] | None = None
    status: tuple[int, ...] = (200,)
    parameters: Sequence[OpenApiParameter] = ()
    refusals: Sequence[Refusal] = ()
    paginated: bool = False
    counted: bool = False
    bare: bool = False
    conditional: bool = False
    example: Json | Callable[[], Json] | None = None


def documents(
    data: Json | None = None,
    *,
    body: type[StrictSerializer] | None = None,
    status: int | tuple[int, ...] = 200,
    parameters: Sequence[OpenApiParameter] = (),
    refusals: Sequence[Refusal] = (),
    paginated: bool = False,
    counted: bool = False,
    bare: bool = False,
    conditional: bool = False,
    example: Json | Callable[[], Json] | None = None,
) -> Callable[[View], View]:
    """Decorator for view methods.

    Args:
        data: JSON schema of the envelope's ``data``; None if it may be anything.
        body: the input's serializer.
        status: the status, or statuses, of success.
        refusals: the service errors that only this endpoint has; the shared ones are known.
        paginated, counted: whether the envelope has ``pagination`` or ``count``.
        bare: whether ``data`` is the whole answer, without an envelope.
        conditional: whether it answers an ETag, and 304 to a client that names it.
        example: a body that works when sent. A callable when it must name a day to come.
    """
    statuses = (status,) if isinstance(status, int) else status
    operation = Operation(data, body, statuses, parameters, refusals, paginated, counted, bare, conditional, example)

    def mark(view: View) -> View:
        view.documented = operation  # type: ignore[attr-defined]
        return view

    return mark


def obj(required: str = "", **properties: Json) -> Json:
    """The schema of an object; ``required`` names, between spaces, what is always there."""
    schema: Json = {"type": "object", "properties": properties}
    return {**schema, "required": required.split()} if required else schema


def envelope_schema(data: Json | None, *, paginated: bool = False, counted: bool = False) -> Json:
    """The schema of a success."""
    properties: Json = {
        "success": {"type": "boolean", "enum": [True]},
        "message": {"type": "string"},
        "data": data if data is not None else {"nullable": True},
    }
    required = "success data"
    if paginated:
        properties["pagination"], required = PAGINATION, f"{required} pagination"
    if counted:
        properties["count"], required = MANY_WHOLE, f"{required} count"
    return obj(required, **properties)


class ServiceSchema(AutoSchema):
    """drf-spectacular's schema of a ServiceViewSet."""

    @property
    def _view_method(self) -> Any:
        return getattr(self.view, str(vars(self.view)["action"]))

    @property
    def _documented(self) -> Operation:
        operation: Operation = getattr(self._view_method, "documented", Operation())
        return operation

    def get_operation_id(self) -> str:
        words = [word for word in re.split(r"[/{}-]+", self.path) if word and word != "api"] or ["root"]
        return "_".join([self.method.lower(), *words])

    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.split("/") if part and part != "api"]
        return [parts[0] if parts else "service"]

    def get_summary(self) -> str | None:
        lines = (self._view_method.__doc__ or "").strip().splitlines()
        return lines[0] if lines else None

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it, unlike its own base
        return "\n".join((self._view_method.__doc__ or "").strip().splitlines()[1:]).strip()

    def get_auth(self) -> list[dict[str, list[str]]]:
        return [{name: []} for name in SECURITY_SCHEMES] if self.view.get_authenticators() else []

    def get_override_parameters(self) -> list[Any]:
        given = list(self._documented.parameters)
        if self._documented.paginated:
            given.extend(PAGE_PARAMETERS)
        if self._documented.conditional:
            given.append(IF_NONE_MATCH_PARAMETER)
        if hasattr(self._view_method, "idempotent"):
            given.append(IDEMPOTENCY_PARAMETER)
        return given

    def _resolve_path_parameters(self, variables: Sequence[str]) -> list[Json]:
        return [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in variables]

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Two apps may both have an AddressInput."""
        kind = type(serializer)
        return f"{kind.__module__.partition('.')[0].capitalize()}{kind.__name__}"

    def _map_serializer(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Json:
        schema: Json = super()._map_serializer(serializer, direction, bypass_extensions)
        if isinstance(force_instance(serializer), StrictSerializer):
            schema["additionalProperties"] = False
        return schema

    def _get_request_body(self, direction: Any = "request") -> Json | None:
        operation = self._documented
        if operation.body is None:
            return None
        component = self.resolve_serializer(operation.body, direction)
        content: Json = {"schema": component.ref}
        if operation.example is not None:
            content["example"] = operation.example() if callable(operation.example) else operation.example
        required = bool(component.schema.get("required"))
        return {"content": {JSON: content}, **({"required": True} if required else {})}

    def _get_response_bodies(self, direction: Any = "response") -> Json:
        self.registry.register_on_missing(
            ResolvedComponent(name="Error", type=ResolvedComponent.SCHEMA, schema=ERROR, object="Error")
        )
        return dict(sorted({**self._refusals(), **self._successes()}.items()))

    def _successes(self) -> Json:
        operation = self._documented
        if operation.bare:
            schema = operation.data
        else:
            schema = envelope_schema(operation.data, paginated=operation.paginated, counted=operation.counted)
        headers = {"headers": CACHE_HEADERS} if operation.conditional else {}
        unchanged = {"304": {"description": HTTPStatus.NOT_MODIFIED.phrase, **headers}} if headers else {}
        return unchanged | {
            str(status): {"description": HTTPStatus(status).phrase, **headers, "content": {JSON: {"schema": schema}}}
            for status in operation.status
        }

    def get_response_serializers(self) -> Any:
        """Nothing is guessed: ``documents`` says it."""
        return None

    def _refusals(self) -> Json:
        codes: dict[int, list[str]] = {}
        for refusal in sorted({*self._shared_refusals(), *self._documented.refusals}, key=lambda kind: kind.code):
            codes.setdefault(refusal.status, []).append(refusal.code)
        ref = {"$ref": "#/components/schemas/Error"}
        return {
            str(status): {"description": ", ".join(codes[status]), "content": {JSON: {"schema": ref}}}
            for status in sorted(codes)
        }

    def _shared_refusals(self) -> set[Refusal]:
        shared: set[Refusal] = {errors.InvalidInput, errors.PayloadTooLarge, errors.ServiceError}
        shared |= {errors.ServiceUnavailable, errors.TooManyRequests}
        if self.view.get_authenticators():
            shared |= {errors.NotAuthenticated, errors.PermissionDenied}
        if "{" in self.path:
            shared.add(errors.NotFound)
        if self._documented.body is not None:
            shared.add(errors.UnsupportedMediaType)
        if hasattr(self._view_method, "idempotent"):
            shared |= {RequestInProgress, IdempotencyKeyReused, errors.UnsupportedMediaType}
        return shared


def without_aliases(endpoints: list[Any], **_: Any) -> list[Any]:
    """A preprocessing hook: `/api/v1/…` is the same API under another name."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith(VERSION_ALIAS)]


def with_security_schemes(result: Json, **_: Any) -> Json:
    """A postprocessing hook: how callers prove who they are."""
    result["components"]["securitySchemes"] = SECURITY_SCHEMES
    return result


def schema_document() -> bytes:
    """The OpenAPI document as JSON. Made once a day: its examples name days to come."""
    return _made_on(timezone.localdate().isoformat(), settings.ROOT_URLCONF)


@lru_cache(maxsize=1)
def _made_on(day: str, urlconf: str) -> bytes:
    document = SchemaGenerator(urlconf=urlconf).get_schema(request=None, public=True)
    reset_generator_stats()
    return encode(document)
