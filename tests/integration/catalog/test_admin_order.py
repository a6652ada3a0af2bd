"""The order that staff give: of services in the list, and of the rows in a service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager

import pytest
from bson import ObjectId
from django.contrib.admin.models import LogEntry
from django.test import Client

from catalog import services
from catalog.models import Service, ServiceChange
from tests.integration.catalog.documents import service_made
from tests.integration.catalog.test_admin import SERVICES, form, rows, saved, signed_in


@pytest.fixture
def editor() -> Client:
    return signed_in("Catalog editors")


def dragged(editor: Client, *names: str, query: str = "") -> None:
    """Save the list as the browser does after a drag: what it shows is numbered from 0, in the order of `names`."""
    page = editor.get(f"{SERVICES}{query}").content.decode()
    shown = re.findall(r'name="form-(\d+)-_id" value="(\w+)"', page)
    by_id = {str(service["_id"]): service["name"] for service in Service.objects.mongo_find({}, {"name": 1})}
    posted = {"form-TOTAL_FORMS": str(len(shown)), "form-INITIAL_FORMS": str(len(shown)), "_save": "Save"}
    for index, service_id in shown:
        posted[f"form-{index}-_id"] = service_id
        posted[f"form-{index}-sort_order"] = str(names.index(by_id[service_id]))
    assert editor.post(f"{SERVICES}{query}", posted).status_code == 302


def order() -> list[str]:
    found, _ = services.services_page(services.Shelf(), skip=0, limit=100)
    return [service["name"] for service in found]


def test_it_moves_services_of_a_filtered_list_among_themselves(editor: Client) -> None:
    for place, name in enumerate(("N_FIRST", "P_FIRST", "N_SECOND", "P_SECOND", "N_LAST"), 5):
        service_made(name, sortOrder=place, category="NURSING" if name[0] == "N" else "PHYSIOTHERAPY")

    dragged(editor, "N_LAST", "N_FIRST", "N_SECOND", query="?category__exact=NURSING")

    assert order() == ["N_LAST", "P_FIRST", "N_FIRST", "P_SECOND", "N_SECOND"]
    assert ServiceChange.objects.mongo_count_documents({"action": "MOVED"}) == 3


def test_it_moves_services_of_a_later_page_among_themselves(editor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.admin.ServiceAdmin.list_per_page", 2)
    for place, name in enumerate(("FIRST", "SECOND", "THIRD", "FOURTH")):
        service_made(name, sortOrder=place)

    dragged(editor, "FOURTH", "THIRD", query="?p=2")

    assert order() == ["FIRST", "SECOND", "FOURTH", "THIRD"]


ODD_ROWS: dict[str, dict[str, str | None]] = {
    "a service that is gone": {"form-0-_id": "0" * 24},
    "an id that is none": {"form-0-_id": "x"},
    "an empty id": {"form-0-_id": ""},
    "no id": {"form-0-_id": None},
    "a row more": {"form-TOTAL_FORMS": "3", "form-2-sort_order": "7"},
    "an old row less": {"form-INITIAL_FORMS": "1"},
}


@pytest.mark.parametrize("kind", ODD_ROWS)
def test_it_moves_nothing_when_a_row_is_no_service_any_more(editor: Client, kind: str) -> None:
    first, second = service_made("FIRST", sortOrder=0), service_made("SECOND", sortOrder=1)
    moved = {"form-0-_id": str(first), "form-0-sort_order": "1", "form-1-_id": str(second), "form-1-sort_order": "0"}
    posted = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "_save": "Save", **moved} | ODD_ROWS[kind]

    page = editor.post(SERVICES, {name: value for name, value in posted.items() if value is not None})

    assert page.status_code == 200
    assert "Open it again" in page.content.decode()
    assert order() == ["FIRST", "SECOND"]
    assert Service.objects.mongo_count_documents({}) == 2


def test_it_parts_services_that_share_a_place(editor: Client) -> None:
    for name in ("FIRST", "SECOND", "THIRD"):
        service_made(name, sortOrder=0)

    dragged(editor, "THIRD", "FIRST", "SECOND")

    assert order() == ["THIRD", "FIRST", "SECOND"]


def test_it_records_nothing_when_nothing_was_moved(editor: Client) -> None:
    service_made("FIRST", sortOrder=0), service_made("SECOND", sortOrder=1)

    dragged(editor, "FIRST", "SECOND")

    assert ServiceChange.objects.mongo_count_documents({"action": "MOVED"}) == 0


def test_it_moves_all_in_one_change_of_the_catalog(editor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _first, *others = [service_made(name, sortOrder=place) for place, name in enumerate(("FIRST", "SECOND", "THIRD"))]
    changing, changes = services.catalog_cache.changing, []

    def noted(touched: Iterable[ObjectId]) -> AbstractContextManager[None]:
        changes.append(list(touched))
        return changing(changes[-1])

    monkeypatch.setattr(services.catalog_cache, "changing", noted)

    dragged(editor, "FIRST", "THIRD", "SECOND")

    assert changes == [others]
    assert order() == ["FIRST", "THIRD", "SECOND"]
    assert LogEntry.objects.filter(object_id__in=[str(key) for key in others]).count() == 2


def test_it_keeps_the_rows_of_a_service_in_the_order_in_which_they_are_posted(editor: Client) -> None:
    service_id = service_made("NIGHT_NURSING", faqs=[{"question": "Who?", "answer": "A nurse."}])
    questions = [{"question": "When?", "answer": "At night."}, {"question": "Who?", "answer": "A nurse."}]

    response = editor.post(f"{SERVICES}{service_id}/change/", form(**rows("faqs", *questions)))

    assert response.status_code == 302
    assert saved()["faqs"] == questions
