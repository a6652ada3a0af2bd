"""The two shapes every answer of this API has."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.http.response import ResponseHeaders

from booking_service.api.errors import ServiceError
from booking_service.api.renderers import encode
from booking_service.api.request_id import current_request_id

# Answers are about one patient; those that may be cached say so in their own headers.
_HEADERS = ResponseHeaders(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
    }
)


class Response(HttpResponse):
    """A JSON answer, encoded at once. ``data`` keeps the body before encoding, for tests."""

    # Django would log every refusal with the path, which a caller typed; our own line names the route.
    _has_been_logged = True

    def __init__(self, data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = encode(data)
        super().__init__(body, "application/json", status, headers=headers)
        # By their names in lower case, as Django keeps them: it would look at each of them again in every answer.
        length = ("Content-Length", str(len(body)))
        self.headers._store = {**_HEADERS._store, "content-length": length, **self.headers._store}
        self.data = data


def success(
    data: Any = None,
    *,
    message: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    """``{"success": true, "message"?, "data", ...extra}``; ``extra`` is for ``pagination`` and ``count``."""
    body: dict[str, Any] = {"success": True}
    if message is not None:
        body["message"] = message
    body["data"] = data
    body.update(extra)
    return Response(body, status=status, headers=headers)


def error_body(error: ServiceError) -> dict[str, Any]:
    """``{"success": false, "message", "code", "errors"?, "requestId", ...details}``."""
    body: dict[str, Any] = {
        **error.details,
        "success": False,
        "message": error.message,
        "code": error.code,
        "requestId": current_request_id(),
    }
    if error.errors:
        body["errors"] = [{"field": e.field, "message": e.message, "code": e.code} for e in error.errors]
    return body


def error_response(error: ServiceError) -> Response:
    """The HTTP answer to a refusal, headers included."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(error_body(error), status=error.status, headers=headers)
