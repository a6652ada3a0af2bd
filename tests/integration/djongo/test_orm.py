"""The ORM on MongoDB: each promise of the engine that the apps and the admin lean on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson import Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Avg, Count, F, Max, Q, Sum

from .models import Clinic, Terms, Treatment, Window

KOLKATA = ZoneInfo("Asia/Kolkata")


def treatment(code: str, **fields: object) -> Treatment:
    return Treatment.objects.create(code=code, **fields)


def codes(query: object) -> list[str]:
    return sorted(t.code for t in query)  # type: ignore[attr-defined]


def test_it_gives_each_document_an_object_id() -> None:
    saved = treatment("A")
    assert isinstance(saved.pk, ObjectId)
    assert Treatment.objects.get(pk=saved.pk).code == "A"
    assert Treatment.objects.get(pk=str(saved.pk)).code == "A"


def test_it_refuses_a_malformed_id_as_invalid() -> None:
    with pytest.raises(ValidationError):
        Treatment.objects.filter(pk="not-an-id").count()


def test_it_keeps_decimals_exact() -> None:
    treatment("A", price=Decimal("206.79"))
    assert Treatment.objects.get().price == Decimal("206.79")
    assert Treatment.objects.filter(price__gt=Decimal("206.78"), price__lt=Decimal("206.80")).exists()


def test_it_filters_booleans_both_ways() -> None:
    treatment("A", offered=True)
    treatment("B", offered=False)
    assert codes(Treatment.objects.filter(offered=False)) == ["B"]
    assert codes(Treatment.objects.exclude(offered=False)) == ["A"]


def test_it_keeps_instants_whatever_their_zone() -> None:
    at = datetime(2026, 11, 22, 0, 15, tzinfo=KOLKATA)
    treatment("A", starts_at=at, day=date(2028, 2, 29))
    found = Treatment.objects.get(starts_at=at.astimezone(UTC))
    assert found.starts_at == at
    assert found.day == date(2028, 2, 29)


def test_it_groups_instants_by_the_local_day() -> None:
    treatment("A", starts_at=datetime(2026, 11, 21, 18, 45, tzinfo=UTC))  # 00:15 on the 22nd in Kolkata
    assert list(Treatment.objects.datetimes("starts_at", "day", tzinfo=KOLKATA)) == [
        datetime(2026, 11, 22, tzinfo=KOLKATA)
    ]


def test_it_raises_integrity_error_for_a_second_equal_key() -> None:
    treatment("A")
    with pytest.raises(IntegrityError):
        treatment("A")
    assert Treatment.objects.count() == 1


def test_it_answers_exists_and_count() -> None:
    assert not Treatment.objects.filter(code="A").exists()
    treatment("A")
    assert Treatment.objects.filter(code="A").exists()
    assert Treatment.objects.filter(code="A").count() == 1


def test_it_combines_conditions() -> None:
    for code, uses in (("A", 1), ("B", 2), ("C", 3)):
        treatment(code, uses=uses)
    assert codes(Treatment.objects.filter(Q(uses__lt=2) | Q(code="C"))) == ["A", "C"]
    assert codes(Treatment.objects.filter(~Q(uses=2))) == ["A", "C"]
    assert codes(Treatment.objects.filter(uses__in=[2, 3], code__gte="C")) == ["C"]


def test_it_orders_and_slices() -> None:
    for code, uses in (("A", 2), ("B", 1), ("C", 2), ("D", 3)):
        treatment(code, uses=uses)
    assert [t.code for t in Treatment.objects.order_by("-uses", "code")[1:3]] == ["A", "C"]
    assert Treatment.objects.order_by("uses").first().code == "B"
    assert Treatment.objects.order_by("uses").last().code == "D"


def test_it_joins_as_the_admin_does() -> None:
    clinic = Clinic.objects.create(name="Lake View")
    treatment("A", clinic=clinic)
    treatment("B")
    assert codes(Treatment.objects.filter(clinic__name="Lake View")) == ["A"]
    assert Treatment.objects.select_related("clinic").get(code="A").clinic.name == "Lake View"
    assert codes(clinic.treatments.all()) == ["A"]


def test_it_deletes_in_cascade() -> None:
    user = User.objects.create_user("nina")
    LogEntry.objects.create(user=user, action_flag=ADDITION, object_repr="a service")
    user.delete()
    assert not LogEntry.objects.exists()


def test_it_aggregates() -> None:
    for code, price in (("A", "10.10"), ("B", "20.20")):
        treatment(code, price=Decimal(price), uses=2)
    totals = Treatment.objects.aggregate(Sum("price"), Avg("uses"), Max("code"), n=Count("pk"))
    assert totals == {"price__sum": Decimal("30.30"), "uses__avg": 2.0, "code__max": "B", "n": 2}
    assert list(Treatment.objects.values("uses").annotate(n=Count("pk"))) == [{"uses": 2, "n": 2}]


def test_it_creates_in_bulk_with_ids_known_to_the_caller() -> None:
    made = Treatment.objects.bulk_create([Treatment(code=c) for c in "ABC"])
    assert {t.pk for t in Treatment.objects.all()} == {t.pk for t in made}
    assert all(isinstance(t.pk, ObjectId) for t in made)


def test_it_gets_or_creates() -> None:
    first, created = Treatment.objects.get_or_create(code="A", defaults={"uses": 7})
    again, created_again = Treatment.objects.get_or_create(code="A", defaults={"uses": 9})
    assert (created, created_again) == (True, False)
    assert (again.pk, again.uses) == (first.pk, 7)


def test_it_updates_from_the_stored_value() -> None:
    treatment("A", uses=1)
    Treatment.objects.filter(code="A").update(uses=F("uses") + 2)
    assert Treatment.objects.get().uses == 3
    assert Treatment.objects.filter(uses__gt=F("price")).count() == 1


def test_it_saves_changes_and_deletes() -> None:
    saved = treatment("A")
    saved.title = "Changed"
    saved.save(update_fields=["title"])
    assert Treatment.objects.get().title == "Changed"
    saved.delete()
    assert not Treatment.objects.exists()


def test_it_nests_documents_under_their_column_names() -> None:
    terms = Terms(base_price=Decimal("299.50"), windows=[Window(start="18:00", end="22:00")])
    treatment("A", terms=terms, cities=["Pune", "Delhi"])
    stored = Treatment.objects.mongo_find_one({"code": "A"})
    assert stored["terms"]["windows"] == [{"start": "18:00", "endsAt": "22:00"}]
    assert str(stored["terms"]["basePrice"]) == "299.50"
    assert Treatment.objects.get(terms__base_price=Decimal("299.50")).terms.windows[0].end == "22:00"
    assert codes(Treatment.objects.filter(cities__contains=["Pune"])) == ["A"]


@pytest.mark.parametrize("text", [".*", "a(b", "a|b", "$where", "^a", "a\\", "[a-", "%", "_", "a+b?"])
@pytest.mark.parametrize(
    "lookup", ["iexact", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith"]
)
def test_it_takes_text_literally(lookup: str, text: str) -> None:
    treatment("plain", title="anything at all")
    treatment("exact", title=text)
    assert codes(Treatment.objects.filter(**{f"title__{lookup}": text})) == ["exact"]


@pytest.mark.parametrize("value", [{"$gt": ""}, {"$ne": None}, {"$regex": ".*"}])
def test_it_never_reads_a_value_as_an_operator(value: dict) -> None:
    treatment("A")
    assert Treatment.objects.filter(code=value).count() == 0
    assert Treatment.objects.filter(code__in=[value]).count() == 0


ODD: dict[str, list[Any]] = {
    "startsAt": ["soonish", 5, DatetimeMS(8_640_000_000_000_000)],
    "day": ["soonish", []],
    "price": ["1,000", [], Decimal128("NaN"), Decimal128("Infinity")],
    "uses": ["many", [], {}],
    "cities": [5],
    "terms": [5, [1], {"basePrice": "dear"}],
}


@pytest.mark.parametrize("column", ODD)
def test_it_reads_what_is_not_of_its_type_as_it_is_stored(column: str) -> None:
    field = {"startsAt": "starts_at"}.get(column, column)
    for value in ODD[column]:
        Treatment.objects.mongo_insert_one({"code": "ODD", column: value})
        assert getattr(Treatment.objects.get(), field) == value
        Treatment.objects.all().delete()


@pytest.mark.parametrize("moment", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)])
def test_it_gives_no_zone_to_what_other_zones_have_no_day_for(moment: datetime) -> None:
    Treatment.objects.mongo_insert_one({"code": "ODD", "startsAt": moment})
    assert Treatment.objects.get().starts_at == moment


def test_it_builds_indexes_on_document_paths() -> None:
    indexes = Treatment.objects.mongo_index_information()
    assert indexes["code_unique"] == {"v": 2, "key": [("code", 1)], "unique": True}
    assert indexes["price_then_newest"]["key"] == [("terms.basePrice", 1), ("startsAt", -1)]


def test_it_serves_an_equality_from_the_unique_index() -> None:
    plan = Treatment.objects.mongo_find({"code": "A"}).explain()["queryPlanner"]["winningPlan"]
    assert plan["inputStage"]["indexName"] == "code_unique"


@pytest.mark.parametrize(
    "query",
    [
        Treatment.objects.order_by("code"),
        Treatment.objects.order_by("-code").values_list("title"),
        Treatment.objects.filter(offered=True).only("title").order_by("code"),
    ],
    ids=["all of it", "a field", "some fields"],
)
def test_it_orders_by_an_index(query: Any) -> None:
    for code in "ABC":
        treatment(code)
    plan = query[:2].explain()
    assert '"indexName": "code_unique"' in plan
    assert "sortPattern" not in plan  # of a sort in memory
    assert "sortKey" not in plan


def test_it_orders_by_what_is_no_field() -> None:
    for code, title in (("A", "x"), ("B", ""), ("C", "y")):
        treatment(code, title=title, uses=len(title), price=ord(code))
    priced = Treatment.objects.annotate(value=F("price") * F("uses")).order_by("-value")
    assert [one.code for one in priced[:2]] == ["C", "A"]
    assert list(priced.values_list("code", flat=True)) == ["C", "A", "B"]
    assert [one.code for one in Treatment.objects.order_by(F("starts_at").desc(nulls_last=True), "-code")] == [*"CBA"]
    assert list(Treatment.objects.values_list("uses").annotate(Count("code")).order_by("uses")) == [(0, 1), (1, 2)]
