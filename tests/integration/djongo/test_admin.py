"""The whole admin on the engine: what staff do all day must work on MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from .models import Clinic, Treatment

pytestmark = pytest.mark.urls("tests.integration.djongo.admin_urls")
TREATMENTS = "/admin/engine/treatment/"


@pytest.fixture(autouse=True)
def _installed(settings: Any) -> None:
    """The admin asks the app registry about every model it shows."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.integration.djongo.apps.EngineConfig"]


@pytest.fixture
def readers() -> Iterator[Group]:
    group = Group.objects.create(name="Readers")
    group.permissions.add(Permission.objects.get(codename="view_user"))
    yield group
    group.delete()


@pytest.fixture
def asha() -> User:
    return User.objects.create_superuser("asha", password="a long enough password")


@pytest.fixture
def staff(asha: User) -> Client:
    client = Client()
    client.force_login(asha)
    return client


@pytest.fixture
def treatments() -> list[Treatment]:
    clinic = Clinic.objects.create(name="Lake View")
    return [
        Treatment.objects.create(
            code="DRESS", title="Dressing", starts_at=datetime(2026, 11, 2, tzinfo=UTC), clinic=clinic
        ),
        Treatment.objects.create(
            code="DRIP", title="Drip (IV)", offered=False, starts_at=datetime(2026, 10, 2, tzinfo=UTC)
        ),
    ]


def page(client: Client, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def listed(client: Client, query: str) -> set[str]:
    html = page(client, TREATMENTS + query)
    return {code for code in ("DRESS", "DRIP") if f">{code}</a>" in html}


def form(**changed: str) -> dict[str, str]:
    fields = {"code": "NEW", "title": "New", "price": "12.50", "offered": "on", "clinic": ""}
    return {**fields, "starts_at_0": "2026-11-22", "starts_at_1": "00:15:00", **changed}


def test_it_logs_staff_in_and_out(asha: User) -> None:
    client = Client()
    client.post("/admin/login/", {"username": "asha", "password": "a long enough password"})
    assert "asha" in page(client, "/admin/")
    client.post("/admin/logout/")
    assert client.get(TREATMENTS).status_code == 302


def test_it_refuses_a_wrong_password(asha: User) -> None:
    response = Client().post("/admin/login/", {"username": "asha", "password": "wrong"})
    assert "Please enter the correct username and password" in response.content.decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"DRESS", "DRIP"}),
        ("?q=drip", {"DRIP"}),
        ("?q=(iv)", {"DRIP"}),
        ("?q=.*", set()),
        ("?q=lake", {"DRESS"}),
        ("?offered__exact=1", {"DRESS"}),
        ("?offered__exact=0", {"DRIP"}),
        ("?starts_at__year=2026&starts_at__month=10", {"DRIP"}),
        ("?starts_at__year=2026&starts_at__month=11&starts_at__day=2", {"DRESS"}),
        ("?o=1", {"DRESS", "DRIP"}),
    ],
)
def test_it_lists_searches_and_filters(
    staff: Client, treatments: list[Treatment], query: str, expected: set[str]
) -> None:
    assert listed(staff, query) == expected


def test_it_filters_by_a_related_document(staff: Client, treatments: list[Treatment]) -> None:
    assert listed(staff, f"?clinic___id__exact={treatments[0].clinic.pk}") == {"DRESS"}


def test_it_adds(staff: Client) -> None:
    response = staff.post(TREATMENTS + "add/", form())
    assert response.status_code == 302
    added = Treatment.objects.get(code="NEW")
    assert added.price == Decimal("12.50")
    assert added.starts_at == datetime(2026, 11, 21, 18, 45, tzinfo=UTC)


def test_it_changes_and_keeps_the_history(staff: Client, treatments: list[Treatment]) -> None:
    url = f"{TREATMENTS}{treatments[0].pk}/"
    assert "Dressing" in page(staff, url + "change/")
    assert staff.post(url + "change/", form(code="DRESS", title="Changed")).status_code == 302
    assert Treatment.objects.get(code="DRESS").title == "Changed"
    assert "Changed Title" in page(staff, url + "history/")
    assert LogEntry.objects.count() == 1


def test_it_refuses_a_form_with_faults(staff: Client, treatments: list[Treatment]) -> None:
    response = staff.post(TREATMENTS + "add/", form(price="dear"))
    assert "Enter a number." in response.content.decode()
    assert Treatment.objects.count() == 2


def test_it_deletes_one_and_several(staff: Client, treatments: list[Treatment]) -> None:
    assert "Are you sure" in page(staff, f"{TREATMENTS}{treatments[0].pk}/delete/")
    staff.post(f"{TREATMENTS}{treatments[0].pk}/delete/", {"post": "yes"})
    assert Treatment.objects.get().code == "DRIP"
    chosen = {"action": "delete_selected", "_selected_action": [str(treatments[1].pk)], "post": "yes"}
    staff.post(TREATMENTS, chosen)
    assert not Treatment.objects.exists()


@pytest.mark.parametrize("wrong", ["nonsense", "000000000000000000000000", "1", "%7B%22$gt%22:%22%22%7D"])
def test_it_answers_an_unknown_id_with_the_index(staff: Client, wrong: str) -> None:
    response = staff.get(f"{TREATMENTS}{wrong}/change/", follow=True)
    assert response.redirect_chain == [("/admin/", 302)]


def test_it_manages_groups_and_permissions(staff: Client, readers: Group) -> None:
    permission = Permission.objects.get(codename="change_group")
    staff.post(f"/admin/auth/group/{readers.pk}/change/", {"name": "Readers", "permissions": [str(permission.pk)]})
    assert list(readers.permissions.all()) == [permission]


def test_it_grants_a_member_what_the_group_may(readers: Group) -> None:
    member = User.objects.create_user("ravi", password="a long enough password", is_staff=True)
    member.groups.add(readers)
    assert member.has_perm("auth.view_user")
    assert not member.has_perm("auth.change_user")


def test_it_shows_members_only_what_their_group_allows(readers: Group) -> None:
    member = User.objects.create_user("ravi", password="a long enough password", is_staff=True)
    member.groups.add(readers)
    client = Client()
    client.force_login(member)
    assert client.get("/admin/auth/user/").status_code == 200
    assert client.get("/admin/auth/user/add/").status_code == 403
    assert client.get(TREATMENTS).status_code == 403


def test_it_changes_a_users_password(staff: Client) -> None:
    member = User.objects.create_user("ravi", password="a long enough password")
    new = {"password1": "another long password", "password2": "another long password", "usable_password": "true"}
    staff.post(f"/admin/auth/user/{member.pk}/password/", new)
    member.refresh_from_db()
    assert member.check_password("another long password")
