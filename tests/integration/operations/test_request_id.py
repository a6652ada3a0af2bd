"""Every response says which request it answers, whoever made it."""

from __future__ import annotations

import pytest
from django.test import Client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/health/live", 200),
        ("/metrics", 200),
        ("/api/schema", 200),
        ("/api/docs", 200),
        ("/api/events", 200),
        ("/api/services", 200),
        ("/api/v1/services", 200),
        ("/api/bookings", 401),
        ("/api/patients/me", 401),
        ("/nowhere", 404),
        ("/admin/", 302),
        ("/admin/login/", 200),
        ("/static/booking_service/admin.css", 200),
        ("/static/nowhere.css", 404),
    ],
)
def test_every_response_has_it(client: Client, path: str, status: int) -> None:
    response = client.get(path, headers={"X-Request-ID": "trace-7"})

    assert (response.status_code, response["X-Request-ID"]) == (status, "trace-7")
