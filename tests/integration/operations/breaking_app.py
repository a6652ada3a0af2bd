"""The service with one path more, whose answer breaks off in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from booking_service.wsgi import application as service


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return _broken(start_response) if environ["PATH_INFO"] == "/breaks" else service(environ, start_response)


def _broken(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"half"
    raise RuntimeError
