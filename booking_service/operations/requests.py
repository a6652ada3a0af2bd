"""One line and one measurement for every request: route, time, outcome. Nothing that a caller typed."""

import logging
from collections.abc import Callable
from time import perf_counter

from django.http import HttpRequest, HttpResponseBase

from booking_service.api.callers import Caller
from booking_service.operations import metrics

# What structlog would make of a call, handed on at once: it is done for every request.
logger = logging.getLogger(__name__)

UNMATCHED = "unmatched"
# Asked for every few seconds by machines; a line each would drown the others.
UNLOGGED_ROUTES = frozenset({"health", "health/live", "health/ready", "metrics"})


class RequestRecordMiddleware:
    """Measures and logs. The route's template stands for the path, which may hold names and ids."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        response = self.get_response(request)
        seconds = perf_counter() - started
        match = request.resolver_match
        route = match.route if match else UNMATCHED
        method = request.method if request.method in metrics.METHODS else "OTHER"
        metrics.request_observe(route, method, response.status_code, seconds)
        if route not in UNLOGGED_ROUTES:
            line = {
                "event": "request",
                "route": route,
                "method": method,
                "status": response.status_code,
                "milliseconds": round(seconds * 1000, 2),
                "actor": _actor(request),
            }
            logger.info(line)
        return response


def _actor(request: HttpRequest) -> str:
    """Role and id of an API caller, or of the staff user whom the admin has looked up; never a name."""
    caller = request.__dict__.get("user")
    if isinstance(caller, Caller):
        return caller.label
    staff = request.__dict__.get("_cached_user")
    return f"STAFF:{staff.pk}" if staff is not None and staff.is_authenticated else "-"
