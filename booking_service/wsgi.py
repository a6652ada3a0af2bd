"""The WSGI application gunicorn serves."""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponseBase
from django.urls import ResolverMatch, get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")

BOUNDARY = re.compile(r'; *boundary=("[^"]+"|[^\s;"]+)', re.IGNORECASE)


class Utf8Handler(WSGIHandler):
    """Django's handler for a service whose JSON and forms are UTF-8, whatever a caller calls them.

    Django would read query and form in the charset that Content-Type names, which need be none of text, and does so
    before any middleware can answer. Of the parameters the boundary of a form is left, if it is written plainly.
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> HttpResponseBase:
        content_type = environ.get("CONTENT_TYPE")
        if content_type and ";" in content_type:
            boundary = BOUNDARY.search(content_type)
            environ["CONTENT_TYPE"] = content_type.partition(";")[0] + (boundary[0] if boundary else "")
        return super().__call__(environ, start_response)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = found = route_of(request.path_info)
        return found


@lru_cache(maxsize=256)
def route_of(path: str) -> ResolverMatch:
    """The view of a path and what its template takes from it. Most requests ask for a few paths, again and again.

    Raises:
        django.urls.Resolver404: no template fits.
    """
    return get_resolver().resolve(path)


class ApiHandler(Utf8Handler):
    """With the middleware that the API needs; the rest of it would cost as much as a twentieth of a request."""

    def load_middleware(self, is_async: bool = False) -> None:
        every, settings.MIDDLEWARE = settings.MIDDLEWARE, settings.API_MIDDLEWARE
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = every


class Application:
    """Pages for people and their files are answered with all of the middleware, everything else with the API's."""

    def __init__(self) -> None:
        self._pages = Utf8Handler()
        self._api = ApiHandler()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> HttpResponseBase:
        handler = self._pages if environ["PATH_INFO"].startswith(PAGES_AND_FILES) else self._api
        return handler(environ, start_response)


django.setup(set_prefix=False)
from booking_service.api.admin_only import PAGES  # noqa: E402 - it needs what setup() has made

PAGES_AND_FILES = (*PAGES, settings.STATIC_URL)
application = Application()
