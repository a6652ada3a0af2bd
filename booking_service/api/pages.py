"""What is not an endpoint of the API but is read like one: pages for people, and what machines scrape."""

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from booking_service.api.errors import MethodNotAllowed
from booking_service.api.exception_handler import response_for

READING = ("GET", "HEAD")


def read_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorator: another method than GET and HEAD gets the API's 405, not Django's pages for it.

    Exempt from the check of forms, which would answer first: there is no form to forge.
    """

    @csrf_exempt
    @functools.wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method not in READING:
            return response_for(MethodNotAllowed(READING))
        return view(request, *args, **kwargs)

    return page
