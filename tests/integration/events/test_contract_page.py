"""GET /api/events."""

import pytest
from django.test import Client

from events.schemas import CONSUMED, PUBLISHED


@pytest.mark.parametrize("path", ["/api/events", "/api/v1/events"])
def test_programs_get_the_asyncapi_document(path):
    response = Client().get(path)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json()["asyncapi"] == "2.6.0"
    assert "booking.events/booking.created" in response.json()["channels"]


def test_people_get_a_page_with_every_event_and_nothing_from_elsewhere():
    response = Client().get("/api/events", headers={"Accept": "text/html,*/*"})
    assert response["Content-Type"].startswith("text/html")
    page = response.content.decode()
    assert all(contract.name in page for contract in (*PUBLISHED, *CONSUMED))
    assert "http://" not in page
    assert "https://" not in page


def test_a_browser_can_still_get_the_document():
    response = Client().get("/api/events?format=json", headers={"Accept": "text/html"})
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/api/events", "/api/docs", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_it_is_read_only_and_says_so_in_the_envelope(path, method):
    answer = Client(enforce_csrf_checks=True).generic(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"
