"""One id for everything that one request causes: responses, logs, partner calls, outbox rows."""

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase

HEADER = "X-Request-ID"

_ACCEPTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request (or message, or command) being worked on; "" outside of any."""
    return _current.get()


def bind_request_id(request_id: str = "") -> str:
    """Make ``request_id``, or a new one if it is empty or odd, the current one. Workers and commands call this, too."""
    accepted = request_id if _ACCEPTABLE.fullmatch(request_id) else uuid.uuid4().hex
    _current.set(accepted)
    return accepted


class RequestIdMiddleware:
    """Takes a caller's ``X-Request-ID`` when it is sane, makes one otherwise, and puts it on every response."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = bind_request_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        response = self.get_response(request)
        response.headers[HEADER] = request_id
        return response
