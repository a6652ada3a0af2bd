"""`manage.py seed_catalog`: idempotent, and staff's edits survive it."""

from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

from bson import json_util
from django.core.management import call_command
from django.db import connection

from catalog import seeding, services
from catalog.models import Service, ServiceChange
from tests.integration.catalog.documents import EDITOR, wound_dressing


def seed_catalog() -> str:
    output = StringIO()
    call_command("seed_catalog", stdout=output)
    return output.getvalue()


def shown(name: str) -> Any:
    return services.service_public(name)


def snapshot() -> list[str]:
    documents = list(Service.objects.mongo_find({}, sort=[("_id", 1)]))
    return [json_util.dumps(document) for document in documents]


def test_it_fills_an_empty_catalog_and_says_so() -> None:
    said = seed_catalog()
    assert said.startswith("28 added: INJECTION_IM, IV_DRIP")
    assert Service.objects.mongo_count_documents({}) == 28
    assert services.service_resolve("INJECTION").name == "INJECTION_IM"


def test_it_changes_nothing_the_second_time() -> None:
    seed_catalog()
    before, changes = snapshot(), ServiceChange.objects.mongo_count_documents({})

    assert seed_catalog() == "28 already as they should be.\n"

    assert snapshot() == before
    assert ServiceChange.objects.mongo_count_documents({}) == changes


def test_it_leaves_alone_what_staff_edited() -> None:
    seed_catalog()
    service = services.service_find("WOUND_DRESSING")
    services.service_update(actor=EDITOR, service_id=service.id, version=0, document=wound_dressing(displayName="Ours"))

    assert "1 left as staff or an import made them: WOUND_DRESSING" in seed_catalog()

    assert services.service_find("WOUND_DRESSING").display_name == "Ours"


def test_it_leaves_alone_what_staff_switched_off() -> None:
    seed_catalog()
    services.services_deactivate(actor=EDITOR, service_ids=[services.service_find("IV_DRIP").id])

    seed_catalog()

    assert services.service_resolve("IV_DRIP").is_active is False


def test_it_brings_untouched_rows_up_to_date(monkeypatch: Any) -> None:
    seed_catalog()
    documents = [document | {"shortDescription": "A new text"} for document in seeding.seed_documents()][:1]
    monkeypatch.setattr(seeding, "seed_documents", lambda: documents)

    assert "1 brought up to date: INJECTION_IM" in seed_catalog()

    assert shown("INJECTION_IM")["shortDescription"] == "A new text"


def test_it_brings_the_end_of_a_long_text_up_to_date(monkeypatch: Any) -> None:
    long = next(iter(seeding.seed_documents())) | {"longDescription": "x" * 2400}
    for text in ("x" * 2400, "x" * 2399 + "!"):
        monkeypatch.setattr(seeding, "seed_documents", lambda text=text: [long | {"longDescription": text}])
        seed_catalog()
        assert shown("INJECTION_IM")["longDescription"] == text


def test_it_looks_again_when_staff_save_meanwhile(monkeypatch: Any) -> None:
    seed_catalog()
    documents = [document | {"shortDescription": "A new text"} for document in seeding.seed_documents()][:1]
    monkeypatch.setattr(seeding, "seed_documents", lambda: documents)
    history = services.service_history

    def staff_save_after(service_id: Any, **options: Any) -> Any:
        monkeypatch.setattr(services, "service_history", history)
        found = history(service_id, **options)
        services.services_reorder(actor=EDITOR, orders={service_id: 77})
        return found

    monkeypatch.setattr(services, "service_history", staff_save_after)

    assert "1 left as staff or an import made them: INJECTION_IM" in seed_catalog()

    assert shown("INJECTION_IM")["sortOrder"] == 77


def test_two_seeds_at_once_bring_each_service_once() -> None:
    def seeded(_: int) -> seeding.Outcome:
        try:
            return seeding.seed()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(seeded, range(2))

    assert sorted(first.added + second.added) == sorted(row["name"] for row in seeding.seed_documents())
    assert sorted(first.unchanged + second.unchanged) == sorted(first.added + second.added)


def test_it_leaves_alone_what_an_import_brought() -> None:
    imported = wound_dressing(name="IV_DRIP", slug="wound-dressing", displayName="From the monolith")
    Service.objects.mongo_insert_one(imported)

    said = seed_catalog()

    assert "1 left as staff or an import made them: IV_DRIP" in said
    assert services.service_resolve("WOUND_DRESSING").slug == "wound-dressing-2"
