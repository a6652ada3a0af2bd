"""The admin as a site: unfold's, without what none of our pages uses, and with lost races told on the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib import messages
from django.db import DatabaseError, IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.sites import UnfoldAdminSite

from booking_service.djongo.apps import MongoAdminConfig
from booking_service.djongo.errors import driver_error

View = Callable[..., HttpResponse]

TAKEN = "Somebody has just used this name. Choose another one."
GONE = "This is no longer there: somebody has just deleted it. Nothing was stored."


class StaffSite(UnfoldAdminSite):
    """unfold's site. Two pages are 404: its search, which keeps in Redis what it found, and autocompletion, which no
    form of ours uses."""

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        raise Http404

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        raise Http404

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return cast(View, super().admin_view(races_told(view), cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return races_told(super().login)(request, extra_context)


class StaffAdminConfig(MongoAdminConfig):
    """Django's admin, with this site."""

    default_site = "booking_service.operations.admin_site.StaffSite"


def races_told(view: View) -> View:
    """`view`; what it could not store because somebody else was faster is a sentence on the page it came from."""

    @wraps(view)
    def told(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except DatabaseError as error:
            sentence = _lost_race(error)
            if sentence is None or request.method != "POST":
                raise
            messages.error(request, sentence)
            return HttpResponseRedirect(request.get_full_path())

    return told


def _lost_race(error: DatabaseError) -> str | None:
    if isinstance(error, IntegrityError):
        return TAKEN
    # Django's own: an update that found nothing to update.
    return GONE if driver_error(error) is None else None
