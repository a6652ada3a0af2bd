"""Every query of the catalog is served by an index, whatever the size of the collection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from catalog import repositories
from catalog.repositories import Shelf
from catalog.search import SearchIndex
from tests.integration.catalog.documents import service_made, wound_dressing
from tests.integration.conftest import Profiler

QUERIES: dict[str, Callable[[], Any]] = {
    "list": lambda: repositories.services_on(Shelf(), 0, 20),
    "category": lambda: repositories.services_on(Shelf(category="NURSING"), 0, 20),
    "city": lambda: repositories.services_on(Shelf(city="PUNE"), 0, 20),
    "category and city": lambda: repositories.services_on(Shelf(category="NURSING", city="Pune"), 0, 20),
    "featured": lambda: repositories.services_on(Shelf(is_featured=True), 0, 6),
    "popular filter": lambda: repositories.services_on(Shelf(is_popular=True), 0, 20),
    "popular": lambda: repositories.popular_services(6),
    "detail": lambda: repositories.active_service("wound-dressing"),
    "detail by id": lambda: repositories.active_service(str(ObjectId())),
    "resolve": lambda: repositories.service_named(["INJECTION", "INJECTION_IM"]),
    "search": repositories.search_index,
    "search, touched services": lambda: repositories.search_index_updated(SearchIndex([]), {ObjectId()}),
    "page of a search": lambda: repositories.services_by_id([ObjectId()]),
    "history": lambda: repositories.changes_of(ObjectId(), 10),
    "most booked": lambda: repositories.most_booked(8),
    "counted": lambda: repositories.booking_counts_add({"WOUND_DRESSING": 1}),
    "rated": lambda: repositories.rating_add("WOUND_DRESSING", 5),
    "city of staff": lambda: repositories.ids_in_city("Pune"),
    "cities of staff": repositories.cities,
    "name taken": lambda: repositories.is_taken("slug", "wound-dressing"),
    "last place": repositories.highest_sort_order,
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_it_scans_no_collection(profiled: Profiler, query: Callable[[], Any]) -> None:
    service_made()
    profiled.start()

    query()

    plans = [read["planSummary"] for read in profiled.reads()]
    assert plans
    assert not [plan for plan in plans if "COLLSCAN" in plan]


@pytest.mark.parametrize(
    "shelf", [Shelf(), Shelf(category="NURSING"), Shelf(city="pune"), Shelf(is_featured=True)], ids=repr
)
def test_it_reads_no_more_services_than_the_page_shows(profiled: Profiler, shelf: Shelf) -> None:
    availability = {"isActive": True, "availableCities": ["Pune"], "availableHours": {"start": "06:00", "end": "22:00"}}
    for number in range(30):
        service_made(f"SERVICE_{number}", availability=availability, isFeatured=True)

    repositories.services_on(shelf, 0, 5)

    page = profiled.entries.find_one({"op": "query", "ns": {"$regex": "servicecatalogs$"}, "nreturned": 5})
    assert page["docsExamined"] == 5
    assert not page.get("hasSortStage")


def test_it_merges_the_services_of_a_city_and_of_everywhere_in_order(profiled: Profiler) -> None:
    made = wound_dressing()["availability"]
    for number in range(60):
        cities = [["Pune"], [], ["Mumbai"]][number % 3]
        service_made(f"SERVICE_{number}", availability=made | {"availableCities": cities}, sortOrder=number)

    found, total = repositories.services_on(Shelf(city="pune"), 10, 5)

    assert ([service["sortOrder"] for service in found], total) == ([15, 16, 18, 19, 21], 40)
    page = profiled.entries.find_one({"op": "query", "ns": {"$regex": "servicecatalogs$"}, "nreturned": 5})
    assert page["docsExamined"] <= 15 + 2  # one ahead of each of the lists that are merged
    assert not page.get("hasSortStage")
