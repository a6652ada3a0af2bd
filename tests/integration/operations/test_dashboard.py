"""The admin's first page: the panels of those apps that the member of staff may see."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from django.contrib.auth.models import Group, User
from django.test import Client

from bookings import dashboard as bookings_dashboard
from bookings.models import Booking
from events import dashboard as events_dashboard
from events.models import OutboxEvent


def page(group: str) -> Any:
    user = User.objects.create_user("someone", password="a-long-staff-password", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client.get("/admin/")


@pytest.mark.parametrize(
    ("group", "panels"),
    [
        ("Booking staff", ["Bookings", "Events", "Catalog"]),
        ("Catalog editors", ["Catalog"]),
        ("Read only", ["Bookings", "Events", "Catalog"]),
    ],
)
def test_it_shows_each_role_its_panels(group: str, panels: list[str]) -> None:
    shown = page(group)
    assert shown.status_code == 200
    assert [panel.title for panel in shown.context["panels"]] == panels


def booking(status: str, *, days_ago: int = 0, paid: str | None = None) -> None:
    payment = {"status": "PAID", "paidAmount": Decimal128(paid)} if paid else {"status": "PENDING"}
    created = datetime.now(UTC) - timedelta(days=days_ago)
    Booking.objects.mongo_insert_one(
        {"_id": ObjectId(), "patient": ObjectId(), "status": status, "createdAt": created, "payment": payment}
    )


def test_it_counts_bookings_by_day_and_status_and_adds_up_what_was_paid() -> None:
    booking("REQUESTED")
    booking("COMPLETED", paid="1084.24")
    booking("COMPLETED", days_ago=3, paid="100.01")
    booking("COMPLETED", days_ago=40, paid="5000")

    numbers = bookings_dashboard.numbers()

    assert [figure.value for figure in numbers.figures] == ["2", "3", "₹ 1,184.25", "1"]
    a_day, revenue, standing = numbers.charts
    assert (a_day.values[-1], a_day.values[-4], sum(a_day.values), len(a_day.labels)) == (2, 1, 3, 14)
    assert (revenue.values[-1], revenue.values[-4]) == (1084.24, 100.01)
    assert dict(zip(standing.labels, standing.values, strict=True)) == {"Requested": 1, "Completed": 2}


def test_it_counts_nothing_where_there_is_nothing() -> None:
    assert [figure.value for figure in bookings_dashboard.numbers().figures] == ["0", "0", "₹ 0.00", "0"]
    assert events_dashboard.numbers().charts == []


def outbox(status: str, age: timedelta) -> None:
    created = datetime.now(UTC) - age
    OutboxEvent.objects.mongo_insert_one(
        {
            "_id": ObjectId(),
            "lane": "partner",
            "type": "refund",
            "status": status,
            "createdAt": created,
            "dueAt": created,
        }
    )


def test_it_shows_events_that_wait_and_those_given_up_on() -> None:
    outbox("WAITING", timedelta(minutes=5))
    outbox("WAITING", timedelta(seconds=1))
    outbox("DEAD", timedelta(days=2))
    outbox("SENT", timedelta(days=1))

    numbers = events_dashboard.numbers()

    assert [(figure.value, figure.tone) for figure in numbers.figures] == [
        ("2", "warning"),
        ("5 min", "warning"),
        ("1", "danger"),
    ]
    assert [(chart.title, chart.values) for chart in numbers.charts] == [
        ("Waiting by type", [2]),
        ("Dead by type", [1]),
    ]


def test_it_adds_up_money_exactly() -> None:
    for _ in range(10):
        booking("COMPLETED", paid="0.10")
    assert Decimal(bookings_dashboard.numbers().figures[2].value.removeprefix("₹ ")) == Decimal("1.00")
