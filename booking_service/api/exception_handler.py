"""The one place that turns exceptions into HTTP: ours, DRF's, Django's, and those nobody expected."""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import OperationalError
from django.http import Http404, HttpRequest
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf

from booking_service.api import errors
from booking_service.api.envelope import Response, error_response
from booking_service.djongo.errors import StillInConflict, is_unreachable
from booking_service.operations import metrics

logger = logging.getLogger(__name__)

CONFLICT_OVER_SECONDS = 2


def _still_in_conflict(exc: StillInConflict) -> errors.ServiceError:
    """Nothing is broken, too many want the same."""
    logger.warning("a transaction met conflicts for as long as it was tried again")
    return errors.ServiceUnavailable(retry_after=CONFLICT_OVER_SECONDS)


_TRANSLATIONS: tuple[
    tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], errors.ServiceError]], ...
] = (
    (errors.ServiceError, lambda exc: exc),
    (drf.ValidationError, lambda exc: errors.InvalidInput(errors=list(field_errors(exc.detail)))),
    ((drf.NotAuthenticated, drf.AuthenticationFailed), lambda exc: errors.NotAuthenticated()),
    ((drf.PermissionDenied, PermissionDenied), lambda exc: errors.PermissionDenied()),
    ((drf.NotFound, Http404), lambda exc: errors.NotFound()),
    (drf.MethodNotAllowed, lambda exc: errors.MethodNotAllowed()),
    (drf.UnsupportedMediaType, lambda exc: errors.UnsupportedMediaType()),
    (drf.Throttled, lambda exc: errors.TooManyRequests(retry_after=int(exc.wait or 1))),
    (RequestDataTooBig, lambda exc: errors.PayloadTooLarge()),
    (StillInConflict, _still_in_conflict),
    ((drf.ParseError, SuspiciousOperation, UnreadablePostError), lambda exc: errors.InvalidInput()),
)


def translated(exc: Exception) -> errors.ServiceError | None:
    """The refusal that ``exc`` stands for; None for an exception that nobody meant to raise."""
    for kind, translate in _TRANSLATIONS:
        if isinstance(exc, kind):
            return translate(exc)
    return None


def response_for(exc: Exception, request: HttpRequest | None = None) -> Response:
    """The answer to ``exc``. An unexpected one is logged and signalled (error tracking listens), never shown."""
    error = translated(exc)
    if error is not None:
        metrics.REFUSALS.labels(error.code).inc()
        return error_response(error)
    logger.error("unhandled exception", exc_info=exc)
    got_request_exception.send(sender=None, request=request)
    return error_response(_failure(exc))


def _failure(exc: BaseException | None) -> errors.ServiceError:
    if exc is not None and (isinstance(exc, OperationalError) or is_unreachable(exc)):
        # The database does not answer, or not in time: trying again makes sense.
        return errors.ServiceUnavailable()
    return errors.ServiceError()


def field_errors(detail: Any, path: str = "") -> Iterator[errors.FieldError]:
    """DRF's nested error detail as a flat list with dotted paths (``items.0.name``)."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            name = path if key == "non_field_errors" else f"{path}.{key}".lstrip(".")
            yield from field_errors(value, name)
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, (dict, list))
            yield from field_errors(value, f"{path}.{index}".lstrip(".") if nested else path)
    else:
        code = getattr(detail, "code", "invalid")
        yield errors.FieldError(path, str(detail), str(code).upper())


def bad_request(request: HttpRequest, exception: Exception) -> Response:
    """Django's handler400: a refused host, a suspicious request."""
    return response_for(translated(exception) or errors.InvalidInput())


def permission_denied(request: HttpRequest, exception: Exception) -> Response:
    """Django's handler403."""
    return response_for(errors.PermissionDenied())


def not_found(request: HttpRequest, exception: Exception) -> Response:
    """Django's handler404."""
    return response_for(errors.NotFound())


def server_error(request: HttpRequest) -> Response:
    """Django's handler500, for pages: what the API's views raise, `response_for` has logged."""
    response = error_response(_failure(sys.exception()))
    response._has_been_logged = False  # Django logs the exception with this answer, unless that says it has been
    return response
