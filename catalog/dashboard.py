"""The catalog's part of the admin's first page."""

from __future__ import annotations

from booking_service.operations import dashboard
from booking_service.operations.dashboard import Chart, Figure, Numbers, Panel
from catalog import repositories

MOST_SHOWN = 8


def numbers() -> Numbers:
    """What patients can choose from, and what they choose most."""
    active, inactive = repositories.counts()
    popular = repositories.most_booked(MOST_SHOWN)
    names = [service["displayName"] for service in popular]
    booked = [service["stats"]["totalBookings"] for service in popular]
    return Numbers(
        figures=[
            Figure("Active services", f"{active:,}", "patients can book them"),
            Figure("Not active", f"{inactive:,}", "drafts and switched off"),
        ],
        charts=[Chart("Most booked", names, booked, lying=True)] if popular else [],
    )


dashboard.register(Panel("Catalog", order=3, permission="catalog.view_service", build=numbers))
