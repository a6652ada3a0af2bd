"""catalog.services: changes of the catalog are sound, recorded, and seen at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from django.db import connection

from booking_service.djongo import transaction
from catalog import services
from catalog.exceptions import NameTaken, ServiceChanged, ServiceNotFound, ServiceNotSound
from catalog.models import Service, ServiceChange
from catalog.terms import SurgeWindow
from tests.integration.catalog.documents import EDITOR, service_made, surge, wound_dressing


def document(service_id: ObjectId) -> dict[str, Any]:
    return Service.objects.mongo_find_one({"_id": service_id})


def in_parallel(function: Any, arguments: list[Any]) -> list[Any]:
    def call(argument: Any) -> Any:
        try:
            return function(argument)
        except Exception as error:  # noqa: BLE001 - the outcome is what the test looks at
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(call, arguments))


# --- resolving
def test_it_resolves_a_service_to_typed_values() -> None:
    pricing = {"basePrice": 799.5, "currency": "INR", "surgePricing": surge(("18:00", "22:00"))}
    service_made("IV_DRIP", pricing=pricing)

    service = services.service_resolve("IV_DRIP")

    assert (service.base_price, service.duration_minutes, service.lead_hours) == (Decimal("799.5"), 30, 2)
    assert service.surge.windows == (SurgeWindow(time(18), time(22)),)
    assert (service.opens, service.closes, service.cities) == (time(6), time(22), ("Bangalore", "Mumbai"))


def test_it_resolves_the_monoliths_names_unless_the_catalog_has_them() -> None:
    service_made("INJECTION_IM")
    assert services.service_resolve("INJECTION").name == "INJECTION_IM"

    service_made("INJECTION")
    assert services.service_resolve("INJECTION").name == "INJECTION"


def test_it_resolves_inactive_services_but_does_not_show_them() -> None:
    service_id = service_made()
    services.services_deactivate(actor=EDITOR, service_ids=[service_id])

    assert services.service_resolve("WOUND_DRESSING").is_active is False
    for key in (str(service_id), "wound-dressing", "WOUND_DRESSING"):
        with pytest.raises(ServiceNotFound):
            services.service_find(key)


@pytest.mark.parametrize("key", ["NOBODY", "", "x" * 101, "$ne", ".*", "\0"])
def test_it_knows_no_other_services(key: str) -> None:
    service_made()
    with pytest.raises(ServiceNotFound):
        services.service_resolve(key)
    with pytest.raises(ServiceNotFound):
        services.service_find(key)


def test_it_finds_a_service_by_id_slug_or_name_in_any_case() -> None:
    service_id = service_made()
    keys = (str(service_id), "wound-dressing", "Wound-Dressing", "WOUND_DRESSING", "wound_dressing")
    assert {services.service_find(key).id for key in keys} == {service_id}


def test_a_name_as_bookings_write_it_is_no_other_services_address() -> None:
    named = service_made(name="NEBULIZATION", slug="nebulizer")
    addressed = service_made(name="IV_DRIP", slug="nebulization")

    assert services.service_find("NEBULIZATION").id == named
    assert services.service_find("nebulization").id == addressed


# --- creating and updating
def test_it_records_who_created_what() -> None:
    service_id = service_made()

    [change] = services.service_history(service_id)

    assert (change["action"], change["actor"], change["role"], change["version"]) == ("CREATED", "editor", "STAFF", 0)
    assert {"field": "pricing.basePrice", "before": "", "after": "499"} in change["changes"]


def test_it_records_only_what_an_update_changed() -> None:
    service_id = service_made()
    changed = wound_dressing(pricing={"basePrice": Decimal("549.50"), "currency": "INR"})

    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=changed)

    latest = services.service_history(service_id)[0]
    assert (latest["action"], latest["version"]) == ("UPDATED", 1)
    assert latest["changes"] == [{"field": "pricing.basePrice", "before": "499", "after": "549.5"}]
    assert document(service_id)["pricing"]["basePrice"] == Decimal128("549.50")


def test_it_refuses_an_unsound_document_and_writes_nothing() -> None:
    broken = wound_dressing(pricing={"basePrice": 0}, category="PACKAGE")

    with pytest.raises(ServiceNotSound) as refused:
        services.service_create(actor=EDITOR, document=broken)

    codes = {error.code for error in refused.value.errors}
    assert codes == {"NOT_POSITIVE", "PACKAGE_WITHOUT_SESSIONS", "REQUIRED"}
    assert Service.objects.mongo_count_documents({}) == ServiceChange.objects.mongo_count_documents({}) == 0


@pytest.mark.parametrize("same", [{"slug": "other"}, {"name": "OTHER", "slug": "wound-dressing"}])
def test_it_refuses_a_taken_name_or_slug_and_writes_nothing(same: dict[str, str]) -> None:
    service_made()

    with pytest.raises(NameTaken):
        services.service_create(actor=EDITOR, document=wound_dressing(**same))

    assert Service.objects.mongo_count_documents({}) == ServiceChange.objects.mongo_count_documents({}) == 1


def test_it_refuses_to_overwrite_what_somebody_else_saved() -> None:
    service_id = service_made()
    mine, theirs = wound_dressing(displayName="Mine"), wound_dressing(displayName="Theirs")
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=theirs)

    with pytest.raises(ServiceChanged):
        services.service_update(actor=EDITOR, service_id=service_id, version=0, document=mine)

    assert document(service_id)["displayName"] == "Theirs"
    assert len(services.service_history(service_id)) == 2


@pytest.mark.parametrize(("name", "booked"), [("NIGHT_NURSING", True), ("WOUND_DRESSING", False)])
def test_it_keeps_the_name_by_which_bookings_and_the_seed_find_a_service(name: str, booked: bool) -> None:
    service_id = service_made(name)
    services.services_booked({name: int(booked)})
    renamed = wound_dressing(name="ANOTHER")

    with pytest.raises(ServiceNotSound) as refused:
        services.service_update(actor=EDITOR, service_id=service_id, version=0, document=renamed)

    assert [(fault.field, fault.code) for fault in refused.value.errors] == [("name", "NAME_IN_USE")]
    assert document(service_id)["name"] == name
    assert len(services.service_history(service_id)) == 1


def test_it_renames_a_service_that_nobody_has_booked() -> None:
    service_id = service_made("NIGHT_NURSING")
    renamed = wound_dressing(name="ANOTHER")
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=renamed)
    assert services.service_resolve("ANOTHER").id == service_id


def test_it_lets_one_of_many_parallel_edits_win() -> None:
    service_id = service_made()

    def save(name: str) -> str:
        changed = wound_dressing(displayName=name)
        services.service_update(actor=EDITOR, service_id=service_id, version=0, document=changed)
        return name

    outcomes = in_parallel(save, [f"Editor {number}" for number in range(8)])

    [winner] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert [type(outcome) for outcome in outcomes if outcome != winner] == [ServiceChanged] * 7
    assert document(service_id)["displayName"] == winner
    assert document(service_id)["__v"] == 1


def test_it_copies_a_service_as_an_inactive_draft_under_free_names() -> None:
    service_id = service_made(isFeatured=True)

    first, second = (services.service_copy(actor=EDITOR, service_id=service_id) for _ in range(2))

    copies = [document(first), document(second)]
    assert [copy["name"] for copy in copies] == ["WOUND_DRESSING_COPY", "WOUND_DRESSING_COPY_2"]
    assert [copy["slug"] for copy in copies] == ["wound-dressing-copy", "wound-dressing-copy-2"]
    assert not any(copy["availability"]["isActive"] or copy["isFeatured"] for copy in copies)
    assert copies[0]["pricing"] == document(service_id)["pricing"]


def test_it_counts_only_the_services_that_it_activated() -> None:
    first, second = service_made("FIRST"), service_made("SECOND")
    services.services_deactivate(actor=EDITOR, service_ids=[first])

    assert services.services_activate(actor=EDITOR, service_ids=[first, second]) == 1
    assert [change["action"] for change in services.service_history(first)] == ["ACTIVATED", "DEACTIVATED", "CREATED"]
    assert [change["action"] for change in services.service_history(second)] == ["CREATED"]


def test_it_gives_services_new_places() -> None:
    first, second = service_made("FIRST", sortOrder=1), service_made("SECOND", sortOrder=2)

    assert services.services_reorder(actor=EDITOR, orders={first: 2, second: 1}) == 2

    page, total = services.services_page(services.Shelf(), skip=0, limit=10)
    assert ([service["name"] for service in page], total) == (["SECOND", "FIRST"], 2)


def test_it_writes_nothing_when_the_callers_transaction_fails() -> None:
    with pytest.raises(RuntimeError, match="the caller"), transaction.atomic():
        service_made()
        raise RuntimeError("the caller")

    assert Service.objects.mongo_count_documents({}) == 0
    with pytest.raises(ServiceNotFound):
        services.service_resolve("WOUND_DRESSING")


# --- counting
def test_it_averages_parallel_reviews_without_losing_one() -> None:
    service_id = service_made()
    stars = [5, 4, 3, 5, 1, 2, 5, 4, 4, 3]

    assert (
        in_parallel(lambda given: services.service_review_add(name="WOUND_DRESSING", stars=given), stars) == [None] * 10
    )

    stats = document(service_id)["stats"]
    assert (stats["ratingSum"], stats["totalReviews"], stats["avgRating"]) == (36, 10, 3.6)


def test_it_continues_the_monoliths_average() -> None:
    service_id = service_made()
    Service.objects.mongo_update_one({}, {"$set": {"stats": {"avgRating": 4.5, "totalReviews": 3}}})

    services.service_review_add(name="WOUND_DRESSING", stars=1)

    stats = document(service_id)["stats"]
    assert stats["totalReviews"] == 4
    assert stats["avgRating"] == pytest.approx(14.5 / 4, abs=0.01)


def test_it_counts_bookings_of_several_services_at_once() -> None:
    ids = [service_made("INJECTION_IM"), service_made("WOUND_DRESSING")]

    services.services_booked({"INJECTION_IM": 1, "WOUND_DRESSING": 3})

    assert [document(service_id)["stats"]["totalBookings"] for service_id in ids] == [1, 3]


def test_it_ignores_counts_of_services_that_it_does_not_know() -> None:
    services.services_booked({"GONE": 1})
    services.service_review_add(name="GONE", stars=5)
    assert Service.objects.mongo_count_documents({}) == 0


# --- pricing
def test_it_quotes_by_the_local_time_of_the_instant() -> None:
    service_made("IV_DRIP", pricing={"basePrice": 799, "surgePricing": surge(("18:00", "22:00"))})
    service = services.service_find("IV_DRIP")

    before, inside = datetime(2026, 12, 1, 12, 29, tzinfo=UTC), datetime(2026, 12, 1, 12, 30, tzinfo=UTC)  # 18:00 IST

    assert services.service_quote(service, before).total_amount == Decimal("1084.24")
    assert services.service_quote(service, inside).total_amount == Decimal("1626.37")
