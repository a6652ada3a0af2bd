"""The bookings' part of the admin's first page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings

from booking_service.operations import dashboard
from booking_service.operations.dashboard import Chart, Figure, Numbers, Panel
from bookings import repositories
from bookings.lifecycle import Status

DAYS = 14
OPEN = (Status.REQUESTED, Status.SEARCHING)


def numbers() -> Numbers:
    """Bookings made in the last DAYS local days: how many a day, where they stand, and what was paid for them."""
    zone = ZoneInfo(settings.SERVICE_TIME_ZONE)
    today = datetime.now(zone).date()
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    since = datetime.combine(days[0], datetime.min.time(), zone).astimezone(UTC)
    made, standing, paid = Counter[date](), Counter[str](), Counter[date]()
    for row in repositories.bookings_by_day(since, settings.SERVICE_TIME_ZONE):
        made[row.day] += row.bookings
        standing[row.status] += row.bookings
        paid[row.day] += row.paid  # type: ignore[assignment]  # a Counter adds up anything
    labels = [f"{day:%-d %b}" for day in days]
    statuses = [status for status in Status if standing[status]]
    return Numbers(
        figures=_figures(made, standing, paid, today),
        charts=[
            Chart("Bookings a day", labels, [made[day] for day in days]),
            Chart("Revenue a day, in rupees", labels, [float(paid[day]) for day in days], kind="line"),
            Chart("Where they stand", [_word(s) for s in statuses], [standing[s] for s in statuses], lying=True),
        ],
    )


def _figures(made: Counter[date], standing: Counter[str], paid: Counter[date], today: date) -> list[Figure]:
    waiting = sum(standing[status] for status in OPEN)
    revenue = Decimal(sum(paid.values()))
    return [
        Figure("Bookings today", f"{made[today]:,}"),
        Figure("Bookings", f"{made.total():,}", f"in the last {DAYS} days"),
        Figure("Revenue", f"₹ {revenue:,.2f}", f"paid for bookings of the last {DAYS} days"),
        Figure(
            "Without a provider", f"{waiting:,}", "requested or searching", dashboard.WARNING if waiting else "normal"
        ),
    ]


def _word(status: str) -> str:
    return status.replace("_", " ").capitalize()


dashboard.register(Panel("Bookings", order=1, permission="bookings.view_booking", build=numbers))
