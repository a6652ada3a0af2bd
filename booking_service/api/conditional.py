"""ETags: has what the client knows changed?

tag = etag_for(booking["version"])
check_if_match(request, tag)            # writes: 412 if the client's version is no longer the present one
if is_known(request, tag):             # reads: 304 without a body
    return not_modified(tag)
return revalidated(request, success(slots))  # answers of many parts, which have no version
"""

import hashlib

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags
from rest_framework.request import Request

from booking_service.api.errors import PreconditionFailed

ASK_AGAIN = {"Cache-Control": "no-cache"}


def etag_for(version: int | str | bytes) -> str:
    """A strong ETag, quoted: of a version number or text as it is, of bytes (a rendered body) their digest."""
    if isinstance(version, bytes):
        version = hashlib.blake2b(version, digest_size=16).hexdigest()
    return f'"{version}"'


def check_if_match(request: HttpRequest | Request, etag: str) -> None:
    """Raises PreconditionFailed if the request has an ``If-Match`` that does not name ``etag``; ``*`` does."""
    header = request.META.get("HTTP_IF_MATCH")
    if header is None:
        return
    named = parse_etags(header)
    if named != ["*"] and etag not in named:
        raise PreconditionFailed


def is_known(request: HttpRequest | Request, etag: str) -> bool:
    """Whether the request's ``If-None-Match`` names ``etag``. Compared weakly: a proxy may have compressed it."""
    header = request.META.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    named = parse_etags(header)
    return named == ["*"] or etag in (tag.removeprefix("W/") for tag in named)


def revalidated(request: HttpRequest | Request, response: HttpResponse) -> HttpResponse:
    """The answer with its ETag, to be kept but asked for again each time; 304 for a client that has it."""
    tag = etag_for(response.content)
    if is_known(request, tag):
        return not_modified(tag, ASK_AGAIN)
    for name, value in {"ETag": tag, **ASK_AGAIN}.items():
        response[name] = value
    return response


def not_modified(etag: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """304: no body, the ETag and what a 200 would have said about caching."""
    response = HttpResponse(status=304, headers={"ETag": etag, **(headers or {})})
    del response.headers["Content-Type"]
    return response
