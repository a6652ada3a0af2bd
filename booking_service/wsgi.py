"""The WSGI application gunicorn serves."""

import os
import re
from collections.abc import Callable
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponseBase

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


django.setup(set_prefix=False)
application = Utf8Handler()
