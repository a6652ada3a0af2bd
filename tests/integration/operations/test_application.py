"""What gunicorn serves: pages with all of the middleware, the API without what does nothing for it."""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.handlers.wsgi import WSGIHandler

from booking_service.wsgi import Application, application, route_of

Answer = tuple[str, dict[str, str], bytes]
ANSWERS_OF_ITS_OWN = {"X-Request-ID", "Date"}


def asked(handler: Any, path: str, method: str = "GET", **environ: str) -> Answer:
    """What `handler` answers: status, headers and body."""
    told: list[Any] = []
    request = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "3001",
        "wsgi.input": BytesIO(),
        "wsgi.url_scheme": "http",
        **environ,
    }
    response = handler(request, lambda status, headers: told.extend((status, dict(headers))))
    body = b"".join(response)
    response.close()
    return told[0], told[1], body


@pytest.mark.parametrize("path", ["/api/services", "/api/v1/services", "/api/bookings", "/health/live", "/api/schema"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "NONSENSE"])
def test_the_api_is_answered_as_by_all_of_the_middleware(path: str, method: str) -> None:
    by_all, ours = asked(application._pages, path, method), asked(application, path, method)
    assert ours[0] == by_all[0]
    assert not ours[0].startswith("5")
    different = set(by_all[1].items()) ^ set(ours[1].items())
    assert {name for name, _ in different} <= ANSWERS_OF_ITS_OWN
    assert ours[1]["X-Frame-Options"] == "DENY"


def test_what_is_no_path_and_what_has_too_large_a_body_is_answered_by_the_api() -> None:
    status, headers, body = asked(application, "/nowhere")
    assert status.startswith("404")
    assert headers["Content-Type"] == "application/json"
    assert b"requestId" in body
    assert asked(application, "/api/bookings", "POST", CONTENT_LENGTH="10000000")[0].startswith("413")


@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs"])
def test_a_page_has_its_policy(path: str) -> None:
    status, headers, _ = asked(application, path, HTTP_HOST="localhost")
    assert status.startswith(str(HTTPStatus.OK.value))
    assert "script-src" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"


def test_the_admin_knows_who_is_signed_in_and_asks_for_the_forms_token() -> None:
    assert asked(application, "/admin/", HTTP_HOST="localhost")[1]["Location"].startswith("/admin/login/")
    assert "csrftoken" in asked(application, "/admin/login/", HTTP_HOST="localhost")[1]["Set-Cookie"]
    assert asked(application, "/admin/login/", "POST", HTTP_HOST="localhost")[0].startswith("403")


def test_the_list_of_all_middleware_stays_as_it_is() -> None:
    before = list(configured.MIDDLEWARE)
    made = Application()
    assert before == configured.MIDDLEWARE
    assert set(configured.API_MIDDLEWARE) < set(before)
    assert isinstance(made._api, WSGIHandler)


def test_paths_that_are_asked_for_again_are_answered_each_as_itself() -> None:
    for _ in range(2):
        for number in range(300):
            assert route_of(f"/api/services/{number}").kwargs == {"key": str(number)}
        assert asked(application, "/api/services/nothing-of-the-kind")[0].startswith("404")
        assert asked(application, "/api/nowhere")[0].startswith("404")
        assert asked(application, "/api/services")[0].startswith("200")
