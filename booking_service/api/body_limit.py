"""No request of the API has a body over 10 kB, and no form of the admin one over 2.5 MB."""

from collections.abc import Callable
from io import BytesIO

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from gunicorn.http.errors import ParseException

from booking_service.api.admin_only import ADMIN
from booking_service.api.errors import InvalidInput, PayloadTooLarge
from booking_service.api.exception_handler import response_for


class BodyLimitMiddleware:
    """Answers 413 before a byte of too large a body is read, and reads bodies that come in chunks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH")
        if length and not (length.isascii() and length.isdigit()):
            return response_for(InvalidInput("Content-Length is not a number."))
        if length and int(length) > _limit(request):
            return response_for(PayloadTooLarge())
        if "HTTP_TRANSFER_ENCODING" in request.META:
            return self._unchunked(request)
        return self.get_response(request)

    def _unchunked(self, request: HttpRequest) -> HttpResponseBase:
        try:
            fits = _unchunk(request)
        except (ParseException, OSError):  # no chunks, trailers that are no headers, or a caller who went away
            return response_for(InvalidInput("The chunks of the body cannot be read."))
        return self.get_response(request) if fits else response_for(PayloadTooLarge())


def _limit(request: HttpRequest) -> int:
    """In bytes. Django's own limit of the admin's forms leaves out the files in them, which it writes to the disk."""
    in_admin = request.path_info.startswith(ADMIN)
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE if in_admin else settings.API_BODY_LIMIT)


def _unchunk(request: HttpRequest) -> bool:
    """Give the request its chunked body, which Django would take for an empty one; False if it is too large."""
    limit = _limit(request)
    body = request.META["wsgi.input"].read(limit + 1)
    request.META["CONTENT_LENGTH"] = str(len(body))
    request._stream = BytesIO(body)
    return len(body) <= limit
