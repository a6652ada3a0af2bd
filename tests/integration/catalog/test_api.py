"""`/api/services`: what patients see."""

from typing import Any

import pytest
from bson import ObjectId
from django.test import Client

from booking_service.api.schema import Json
from catalog import openapi, services
from catalog.models import Service
from tests.integration.catalog.documents import EDITOR, service_made, surge, wound_dressing

client = Client()
ACTIVE = {"isActive": True}  # as an import may have brought it, without cities


def get(path: str = "", **query: Any) -> Any:
    return client.get(f"/api/services{path}", query)


def names(path: str = "", **query: Any) -> list[str]:
    response = get(path, **query)
    assert response.status_code == 200, response.content
    return [service["name"] for service in response.json()["data"]]


def deactivate(service_id: ObjectId) -> None:
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])


def availability(**changes: Any) -> dict[str, Any]:
    return wound_dressing()["availability"] | changes


# --- the list
def test_it_lists_active_services_in_order_then_most_booked() -> None:
    service_made("LAST", sortOrder=2)
    service_made("QUIET", sortOrder=1)
    service_made("BUSY", sortOrder=1)
    deactivate(service_made("HIDDEN"))
    services.services_booked({"BUSY": 1})

    response = get()

    body = response.json()
    assert [service["name"] for service in body["data"]] == ["BUSY", "QUIET", "LAST"]
    assert (body["success"], body["count"]) == (True, 3)
    assert body["pagination"] == {"page": 1, "limit": 20, "total": 3, "pages": 1}


def test_it_shows_services_as_the_monolith_did() -> None:
    service_id = service_made()

    [service] = get().json()["data"]

    assert service["_id"] == str(service_id)
    assert service["pricing"] == {"basePrice": 499, "currency": "INR"}
    assert service["availability"]["isActive"] is True
    assert not {"__v", "version", "runs"} & service.keys()
    assert "ratingSum" not in service["stats"]


def undocumented(shown: Any, schema: Json, path: str = "") -> set[str]:
    """The paths in `shown` that the schema does not have."""
    if isinstance(shown, list):
        return {found for item in shown for found in undocumented(item, schema["items"], path)}
    if not isinstance(shown, dict):
        return set()
    known = schema["properties"]
    found = {f"{path}{name}" for name in shown if name not in known}
    return found.union(*(undocumented(shown[name], known[name], f"{path}{name}.") for name in shown if name in known))


def test_it_shows_only_what_the_schema_says() -> None:
    secrets = {
        "__v": 3,
        "monolith": {"odd": 1},
        "providerInstructions": ["Ring twice."],
        "stats": {"totalBookings": 7, "totalRevenue": 99_000, "avgRating": 4.5, "totalReviews": 2, "ratingSum": 9},
        "margin": 0.4,
    }
    service_id = service_made(isFeatured=True, isPopular=True)
    Service.objects.mongo_update_one({"_id": service_id}, {"$set": secrets})
    services.services_imported()

    for path in ("", "/featured", "/popular", "/search?q=wound", f"/{service_id}"):
        shown = get(path).json()["data"]
        shown = shown if isinstance(shown, list) else [shown]
        assert shown[0]["stats"] == {"totalBookings": 7, "avgRating": 4.5, "totalReviews": 2}
        assert undocumented(shown, openapi.SERVICES) == set()


def test_it_pages_without_losing_or_repeating_a_service() -> None:
    for number in range(5):
        service_made(f"SERVICE_{number}")

    pages = [names(page=number, limit=2) for number in (1, 2, 3, 4)]

    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert len({name for page in pages for name in page}) == 5


@pytest.mark.parametrize("category", ["NURSING", "nursing", "Nursing"])
def test_it_filters_by_category_in_any_case(category: str) -> None:
    service_made("NURSE")
    service_made("PHYSIO", category="PHYSIOTHERAPY")
    assert names(category=category) == names(f"/category/{category}") == ["NURSE"]


@pytest.mark.parametrize("city", ["Pune", "PUNE", " pune "])
def test_it_filters_by_city_in_any_case(city: str) -> None:
    service_made("HERE", availability=availability(availableCities=["Mumbai", "Pune"]))
    service_made("ELSEWHERE")
    assert names(city=city) == ["HERE"]
    assert names(city="Pun") == names(city=".*") == names(city="$ne") == []


def test_it_offers_everywhere_what_names_no_city() -> None:
    service_made("FIRST", availability=availability(availableCities=[]), sortOrder=1)
    service_made("SECOND", availability=availability(availableCities=["Pune"]), sortOrder=2)
    Service.objects.mongo_insert_one(wound_dressing(name="THIRD", slug="third", sortOrder=3) | {"availability": ACTIVE})

    assert names(city="Pune") == ["FIRST", "SECOND", "THIRD"]
    assert names(city="Atlantis") == ["FIRST", "THIRD"]
    assert get(city="Atlantis").json()["pagination"]["total"] == 2


def test_it_filters_by_flags() -> None:
    service_made("FEATURED", isFeatured=True)
    service_made("POPULAR", isPopular=True)
    assert names(featured="true") == ["FEATURED"]
    assert names(featured="false", popular="1") == ["POPULAR"]


def test_it_combines_filters() -> None:
    service_made("BOTH", isFeatured=True, category="PHYSIOTHERAPY")
    service_made("NURSE", isFeatured=True)
    assert names("/category/physiotherapy", city="mumbai", featured="true") == ["BOTH"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"page": 0}, "page"),
        ({"limit": 101}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"category": "DENTAL"}, "category"),
        ({"featured": "maybe"}, "featured"),
        ({"popular": ""}, "popular"),
        ({"city": "x" * 101}, "city"),
    ],
)
def test_it_refuses_what_it_does_not_understand(query: dict[str, Any], field: str) -> None:
    response = get(**query)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["?city=a%00b", "/search?q=a%00b"])
def test_it_refuses_a_nul(path: str) -> None:
    assert client.get(f"/api/services{path}").status_code == 400


def test_it_features_at_most_six() -> None:
    for number in range(8):
        service_made(f"SERVICE_{number}", isFeatured=True, sortOrder=number)
    assert names("/featured") == [f"SERVICE_{number}" for number in range(6)]


def test_it_shows_the_most_booked_of_the_popular() -> None:
    for name in ("FIRST", "SECOND", "THIRD"):
        service_made(name, isPopular=True)
    service_made("UNPOPULAR")
    for name in ("UNPOPULAR", "SECOND", "SECOND", "THIRD"):
        services.services_booked({name: 1})
    assert names("/popular", limit=2) == ["SECOND", "THIRD"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "²", "1.0"])
def test_it_refuses_a_strange_number_of_popular_services(limit: str) -> None:
    assert get("/popular", limit=limit).status_code == 400


# --- one service
@pytest.mark.parametrize("key", ["wound-dressing", "WOUND_DRESSING", "wound_dressing"])
def test_it_finds_one_by_slug_or_name(key: str) -> None:
    service_id = service_made()
    assert get(f"/{key}").json()["data"]["_id"] == get(f"/{service_id}").json()["data"]["_id"] == str(service_id)


@pytest.mark.parametrize("key", ["nobody", "6b02ee6211a9b27b1f6387f4", "$where", "..%2f", "%00", "x" * 300])
@pytest.mark.parametrize("path", ["", "/pricing"])
def test_it_answers_404_for_a_service_that_is_not_there(key: str, path: str) -> None:
    service_made()
    response = get(f"/{key}{path}")
    assert response.status_code == 404
    assert response.json()["success"] is False


def test_it_answers_404_for_an_inactive_service() -> None:
    deactivate(service_made())
    assert get("/wound-dressing").status_code == get("/wound-dressing/pricing").status_code == 404


def test_it_answers_405_to_a_write() -> None:
    response = client.post("/api/services", {}, content_type="application/json")
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


# --- search
@pytest.mark.parametrize("text", ["(", ".*", "$", "[a-z]", "\\", '"', "{$gt: 1}", "*"])
def test_it_searches_literally(text: str) -> None:
    service_made("PLAIN", shortDescription="nothing special")
    service_made("SPECIAL", shortDescription=f"care {text} more")
    assert names("/search", q=text) == ["SPECIAL"]


def test_it_finds_the_middle_of_a_word_in_any_case() -> None:
    service_made("WOUND_DRESSING")
    assert names("/search", q="RESS") == names("/search", q="wound dressing") == ["WOUND_DRESSING"]


def test_it_puts_the_best_match_first() -> None:
    texts = {"displayName": "Something", "shortDescription": "", "longDescription": "", "seo": {"keywords": []}}
    service_made("A_LONG", **texts | {"longDescription": "about massage"})
    service_made("B_SHORT", **texts | {"shortDescription": "about massage"})
    service_made("C_KEYWORD", **texts | {"seo": {"keywords": ["massage"]}})
    service_made("D_MIDDLE", **texts | {"displayName": "Remassage"})
    service_made("E_WORD", **texts | {"displayName": "Deep massage"})
    service_made("F_START", **texts | {"displayName": "Massage at home"})
    service_made("G_WHOLE", **texts | {"displayName": "Massage"})
    service_made("NONE", **texts)

    found = names("/search", q="massage")

    assert found == ["G_WHOLE", "F_START", "E_WORD", "D_MIDDLE", "C_KEYWORD", "B_SHORT", "A_LONG"]
    assert names("/search", q="massage", page=2, limit=3) == found[3:6]


def test_it_does_not_search_what_is_inactive() -> None:
    deactivate(service_made())
    assert names("/search", q="wound") == []


@pytest.mark.parametrize("q", ["", "   ", "x" * 65])
def test_it_refuses_a_search_for_nothing_or_too_much(q: str) -> None:
    response = get("/search", q=q)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "q"


def test_it_searches_sixty_four_characters() -> None:
    service_made(shortDescription="y" * 64)
    assert names("/search", q="y" * 64) == ["WOUND_DRESSING"]


# --- pricing
def test_it_quotes_with_and_without_surge() -> None:
    service_made("IV_DRIP", pricing={"basePrice": 799, "currency": "INR", "surgePricing": surge(("18:00", "22:00"))})

    calm = get("/IV_DRIP/pricing", at="2026-12-01T10:00:00+05:30").json()["data"]
    busy = get("/IV_DRIP/pricing", at="2026-12-01T12:30:00Z").json()["data"]

    assert calm == {
        "startsAt": "2026-12-01T04:30:00.000Z",
        "basePrice": 799,
        "platformFee": 119.85,
        "gst": 165.39,
        "totalAmount": 1084.24,
        "currency": "INR",
        "surgeApplied": False,
        "surgeMultiplier": 1,
        "packageDetails": None,
    }
    assert (busy["basePrice"], busy["totalAmount"], busy["surgeApplied"]) == (1198.5, 1626.37, True)


def test_it_quotes_a_package() -> None:
    package = {"sessions": 10, "duration": 21, "pricePerSession": 699.9, "totalPrice": 6999}
    pricing = {"basePrice": 799, "currency": "INR", "packageDetails": package}
    service_made("PHYSIO_PACKAGE_10", category="PACKAGE", pricing=pricing)

    quoted = get("/PHYSIO_PACKAGE_10/pricing").json()["data"]

    assert (quoted["basePrice"], quoted["totalAmount"]) == (6999, 9497.64)
    assert quoted["packageDetails"] == package


def test_it_tells_a_client_that_a_price_has_not_changed() -> None:
    service_id = service_made()
    path, at = f"/api/services/{service_id}/pricing", {"at": "2026-12-01T18:30:00Z"}
    first = client.get(path, at)

    again = client.get(path, at, headers={"If-None-Match": first["ETag"]})

    assert first["Cache-Control"] == again["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    dearer = wound_dressing(pricing={"basePrice": 600, "currency": "INR"})
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=dearer)
    assert client.get(path, at, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_it_takes_an_offset_whose_plus_was_not_encoded() -> None:
    service_made()
    response = client.get("/api/services/WOUND_DRESSING/pricing?at=2026-12-01T10:00:00+05:30")
    assert response.json()["data"]["startsAt"] == "2026-12-01T04:30:00.000Z"


@pytest.mark.parametrize(
    "at", ["", "banana", "2026-12-01T10:00:00", "2026-12-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"]
)
def test_it_refuses_an_instant_that_is_none(at: str) -> None:
    service_made()
    response = get("/WOUND_DRESSING/pricing", at=at)
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "at"
