"""Sessions, logins, messages and page policies belong to the admin; the API's requests pass them by.

That is cheaper, and safer: no cookie means anything to the API.
"""

from typing import Any

from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.common import CommonMiddleware

# The pages for people: the admin, and the documentation of the API.
ADMIN = "/admin/"
PAGES = (ADMIN, "/api/docs")


def nothing_on_site(request: HttpRequest, **_: str) -> HttpResponse:
    """In place of Django's "view on site": no document has such a page, and an id that is none was a 500 there."""
    raise Http404


class _Only:
    """Mixed in before a Django middleware: elsewhere than under ``where`` it does nothing at all."""

    where: str | tuple[str, ...] = ADMIN
    get_response: Any  # as the middleware that this is mixed into declares it

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(self.where):
            return super().__call__(request)  # type: ignore[misc]  # the middleware that this is mixed into
        return self.get_response(request)


class AdminSessionMiddleware(_Only, SessionMiddleware):
    """A patient's request never reads or writes a session."""


class AdminCommonMiddleware(_Only, CommonMiddleware):
    """Checks the host of pages that build URLs from it. The API builds none, and probes call a pod by its address."""


class AdminAuthenticationMiddleware(_Only, AuthenticationMiddleware):
    """``request.user`` of the admin; the API's callers are named by its authentication classes."""


class AdminMessageMiddleware(_Only, MessageMiddleware):
    """The admin's notices."""


class PageCspMiddleware(_Only, CSPMiddleware):
    """What pages may load. JSON loads nothing, and says so itself."""

    where = PAGES
