"""The admin's pages of the catalog: what they save, refuse and show, and to whom."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from bson import ObjectId
from django.contrib.auth.models import Group, User
from django.test import Client

from catalog import services
from catalog.models import Service, ServiceChange
from tests.integration.catalog.documents import EDITOR, service_made, surge, wound_dressing

SERVICES = "/admin/catalog/service/"


def signed_in(group: str, **options: Any) -> Client:
    user = User.objects.create_user(group.split()[0].lower(), password="a-long-staff-password", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def editor() -> Client:
    return signed_in("Catalog editors")


def rows(prefix: str, *values: dict[str, str]) -> dict[str, str]:
    """What the browser posts for a list of rows."""
    posted = {f"{prefix}-TOTAL_FORMS": str(len(values)), f"{prefix}-INITIAL_FORMS": "0"}
    return posted | {f"{prefix}-{i}-{name}": text for i, row in enumerate(values) for name, text in row.items()}


def form(**changes: Any) -> dict[str, Any]:
    """A filled-in form of a new service; None leaves a field out."""
    posted = {
        "display_name": "Night nursing",
        "name": "NIGHT_NURSING",
        "slug": "night-nursing",
        "category": "NURSING",
        "base_price": "1200.00",
        "surge_multiplier": "1.5",
        "duration": "120",
        "skill_level": "ADVANCED",
        "is_active": "on",
        "opens": "20:00",
        "closes": "06:00",
        "advance_booking_hours": "4",
        "sort_order": "3",
        "version": "0",
        **rows("surge"),
        **rows("cities"),
        **rows("faqs"),
        **changes,
    }
    return {name: value for name, value in posted.items() if value is not None}


def errors(response: Any) -> dict[str, list[str]]:
    """What the form objects to, its rows included."""
    assert response.status_code == 200, response.get("Location")
    found = dict(response.context["adminform"].form.errors)
    for inline in response.context["inline_admin_formsets"]:
        formset = inline.formset
        found |= {f"{formset.prefix}-{i}-{name}": e for i, row in enumerate(formset.errors) for name, e in row.items()}
        if formset.non_form_errors():
            found[formset.prefix] = formset.non_form_errors()
    return found


def saved(name: str = "NIGHT_NURSING") -> dict[str, Any]:
    return Service.objects.mongo_find_one({"name": name})


# --- adding
def test_it_saves_every_part_of_a_new_service(editor: Client) -> None:
    windows = rows(
        "surge", {"start": "22:00", "end": "02:00"}, {"start": "", "end": ""}, {"start": "02:00", "end": "06:00"}
    )
    questions = rows("faqs", {"question": "Who?", "answer": "A nurse."}, {"question": "When?", "answer": "At night."})
    posted = form(
        surge_enabled="on",
        days=["MONDAY", "SUNDAY"],
        closed_dates="2026-12-25\r\n2026-12-26",
        included="Vital signs\r\n\r\n Medicines ",
        min_age="18",
        capacity_per_slot="2",
        **windows,
        **questions,
        **rows("cities", {"name": " Navi  Mumbai "}, {"name": "Pune"}),
    )

    response = editor.post(f"{SERVICES}add/", posted)

    assert response.status_code == 302, errors(response)
    service = services.service_find("night-nursing")
    assert [(f"{w.start:%H:%M}", f"{w.end:%H:%M}") for w in service.surge.windows] == [
        ("22:00", "02:00"),
        ("02:00", "06:00"),
    ]
    assert (service.cities, service.days, len(service.closed_dates)) == (("Navi Mumbai", "Pune"), frozenset({0, 6}), 2)
    assert (service.min_age, service.max_age, service.capacity_per_slot) == (18, None, 2)
    assert saved()["included"] == ["Vital signs", "Medicines"]
    assert [faq["question"] for faq in saved()["faqs"]] == ["Who?", "When?"]
    change = ServiceChange.objects.mongo_find_one({})
    assert (change["actor"], change["role"], change["action"]) == ("catalog", "STAFF", "CREATED")


def test_it_saves_as_many_long_questions_as_a_service_may_have(editor: Client) -> None:
    question = {"question": "क" * 300, "answer": "क" * 2000}  # nine bytes a letter, as browsers write them
    posted = urlencode(form(**rows("faqs", *[question] * 100)))
    assert len(posted) > 2_000_000

    response = editor.post(f"{SERVICES}add/", posted, content_type="application/x-www-form-urlencoded")

    assert response.status_code == 302, errors(response)
    assert len(saved()["faqs"]) == 100


def test_it_saves_a_package(editor: Client) -> None:
    posted = form(category="PACKAGE", package_sessions="10", package_days="21", package_price="6999")

    assert editor.post(f"{SERVICES}add/", posted).status_code == 302

    package = services.service_find("NIGHT_NURSING").package
    assert package is not None
    assert (package.total_sessions, package.valid_days, package.price) == (10, 21, Decimal(6999))
    assert float(package.price_per_session) == 699.9


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"base_price": "0"}, "base_price"),
        ({"base_price": "-1"}, "base_price"),
        ({"base_price": ""}, "base_price"),
        ({"category": "PACKAGE", "package_days": "21", "package_price": "6999"}, "package_sessions"),
        ({"category": "PACKAGE"}, "package_sessions"),
        ({"package_sessions": "3"}, "package_sessions"),
        ({"days": ["FUNDAY"]}, "days"),
        ({"name": "night nursing"}, "name"),
        ({"slug": "Night_Nursing"}, "slug"),
        ({"surge_multiplier": "0.5"}, "surge_multiplier"),
        ({"duration": "0"}, "duration"),
        ({"sort_order": "-1"}, "sort_order"),
        ({"opens": "25:00"}, "opens"),
        ({"closed_dates": "Christmas"}, "closed_dates"),
        ({"min_age": "60", "max_age": "18"}, "max_age"),
        ({"surge_enabled": "on"}, "surge"),
        ({"surge_enabled": "on", **rows("surge", {"start": "22:00", "end": ""})}, "surge-0-end"),
        (rows("surge", {"start": "", "end": "22:00"}), "surge-0-start"),
        (rows("surge", {"start": "22:00", "end": "22:00"}), "surge-0-end"),
        (rows("faqs", {"question": "Why?", "answer": ""}), "faqs-0-answer"),
        (rows("cities", {"name": "Pune"}, {"name": "PUNE"}), "cities-1-name"),
        (rows("cities", *({"name": f"City {number}"} for number in range(101))), "cities"),
        ({"capacity_per_slot": "101"}, "capacity_per_slot"),
    ],
)
def test_it_shows_what_is_wrong_where_it_is(editor: Client, broken: dict[str, Any], field: str) -> None:
    response = editor.post(f"{SERVICES}add/", form(**broken))

    assert field in errors(response)
    assert Service.objects.mongo_count_documents({}) == 0


def test_it_refuses_a_name_that_is_taken(editor: Client) -> None:
    service_made("NIGHT_NURSING")
    assert {"name", "slug"} <= errors(editor.post(f"{SERVICES}add/", form())).keys()


# --- changing
def test_it_shows_and_changes_an_imported_service(editor: Client) -> None:
    imported = {
        "name": "OLD",
        "slug": "old",
        "category": "NURSING",
        "displayName": "Old",
        "pricing": {"basePrice": 206.79},
    }
    service_id = Service.objects.mongo_insert_one(
        imported | {"availability": {"isActive": True}, "isFeatured": True}
    ).inserted_id
    url = f"{SERVICES}{service_id}/change/"

    assert editor.get(url).status_code == 200
    response = editor.post(url, form(name="OLD", slug="old"))

    assert response.status_code == 302, errors(response)
    assert services.service_find("OLD").base_price == 1200
    assert services.service_history(service_id)[0]["action"] == "UPDATED"


def test_it_keeps_counts_that_changed_while_the_form_was_open(editor: Client) -> None:
    service_id = service_made("NIGHT_NURSING")
    services.services_booked({"NIGHT_NURSING": 1})

    assert editor.post(f"{SERVICES}{service_id}/change/", form()).status_code == 302

    assert saved()["stats"]["totalBookings"] == 1


def test_it_refuses_to_save_over_somebody_elses_edit(editor: Client) -> None:
    service_id = service_made("NIGHT_NURSING")
    theirs = wound_dressing(name="NIGHT_NURSING", slug="night-nursing", displayName="Theirs")
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=theirs)

    response = editor.post(f"{SERVICES}{service_id}/change/", form(version="0"))

    [message] = errors(response)["__all__"]
    assert message.startswith("editor saved this service")
    assert saved()["displayName"] == "Theirs"


def test_it_keeps_the_entries_when_a_race_is_lost_after_the_form_has_looked(
    editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_id = service_made("NIGHT_NURSING")
    update = services.service_update

    def update_second(**mine: Any) -> None:
        monkeypatch.setattr(services, "service_update", update)
        theirs = wound_dressing(name="NIGHT_NURSING", slug="night-nursing", displayName="Theirs")
        update(actor=EDITOR, service_id=service_id, version=0, document=theirs)
        update(**mine)

    monkeypatch.setattr(services, "service_update", update_second)

    response = editor.post(f"{SERVICES}{service_id}/change/", form(display_name="Mine"))

    [message] = errors(response)["__all__"]
    assert message.startswith("editor saved this service")
    assert 'value="Mine"' in response.content.decode()
    assert saved()["displayName"] == "Theirs"


def test_it_keeps_the_entries_when_another_service_takes_the_name_first(
    editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = services.service_create

    def create_second(**mine: Any) -> Any:
        monkeypatch.setattr(services, "service_create", create)
        service_made("NIGHT_NURSING")
        return create(**mine)

    monkeypatch.setattr(services, "service_create", create_second)

    response = editor.post(f"{SERVICES}add/", form(short_description="Mine"))

    assert {"name", "slug"} <= errors(response).keys()
    assert 'value="Mine"' in response.content.decode()


def test_it_keeps_the_code_of_a_service_that_patients_have_booked(editor: Client) -> None:
    service_id = service_made("NIGHT_NURSING")
    url = f"{SERVICES}{service_id}/change/"
    assert editor.post(url, form(name="EVENING_NURSING")).status_code == 302
    services.services_booked({"EVENING_NURSING": 1})

    response = editor.post(url, form(version="1"))

    [message] = errors(response)["name"]
    assert message.startswith("Patients have booked it")
    assert saved("EVENING_NURSING")["_id"] == service_id


def test_it_removes_rows_that_are_no_longer_posted(editor: Client) -> None:
    pricing = {"basePrice": 100, "currency": "INR", "surgePricing": surge(("18:00", "22:00"), ("06:00", "08:00"))}
    service_id = service_made("NIGHT_NURSING", pricing=pricing)

    posted = form(surge_enabled="on", **rows("surge", {"start": "06:00", "end": "08:00"}))
    assert editor.post(f"{SERVICES}{service_id}/change/", posted).status_code == 302

    assert saved()["pricing"]["surgePricing"]["surgeHours"] == [{"start": "06:00", "end": "08:00"}]


# --- the list
def test_it_activates_and_deactivates_several(editor: Client) -> None:
    ids = [service_made(name) for name in ("FIRST", "SECOND", "THIRD")]
    posted = {"action": "deactivate", "_selected_action": [str(service_id) for service_id in ids[:2]]}

    editor.post(SERVICES, posted)

    assert [services.service_resolve(name).is_active for name in ("FIRST", "SECOND", "THIRD")] == [False, False, True]
    editor.post(SERVICES, posted | {"action": "activate"})
    assert services.service_resolve("FIRST").is_active is True


def test_it_reorders_by_saving_the_list(editor: Client) -> None:
    service_made("FIRST", sortOrder=1), service_made("SECOND", sortOrder=2)
    page = editor.get(SERVICES).content.decode()
    ids = re.findall(r'name="form-(\d)-_id" value="(\w+)"', page)
    assert len(ids) == 2
    posted = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "_save": "Save"}
    for index, service_id in ids:
        posted |= {f"form-{index}-_id": service_id, f"form-{index}-sort_order": str(2 - int(index))}

    assert editor.post(SERVICES, posted).status_code == 302

    page_now, _ = services.services_page(services.Shelf(), skip=0, limit=5)
    assert [service["name"] for service in page_now] == ["SECOND", "FIRST"]
    assert ServiceChange.objects.mongo_count_documents({"action": "MOVED"}) == 2


def test_it_copies_a_service(editor: Client) -> None:
    service_id = service_made()

    response = editor.post(f"{SERVICES}{service_id}/copy/")

    assert response.status_code == 302
    assert str(saved("WOUND_DRESSING_COPY")["_id"]) in response["Location"]


def test_it_asks_before_it_copies() -> None:
    service_id, editor = service_made(), signed_in("Catalog editors", enforce_csrf_checks=True)
    url = f"{SERVICES}{service_id}/copy/"

    page = editor.get(url)

    assert page.status_code == 200
    assert editor.post(url).status_code == 403
    assert Service.objects.mongo_count_documents({}) == 1
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())[-1:]
    assert editor.post(url, {"csrfmiddlewaretoken": token}).status_code == 302
    assert Service.objects.mongo_count_documents({}) == 2


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"pricing": {"basePrice": 0}}, "Price: The price must be more than nothing."),
        ({"availability": {}, "pricing": None}, "Price: The price must be more than nothing."),
        ({"slug": "A b"}, "Address: Use small letters"),
    ],
)
def test_it_says_why_it_cannot_copy(editor: Client, broken: dict[str, Any], reason: str) -> None:
    service_id = Service.objects.mongo_insert_one({**wound_dressing(), **broken}).inserted_id

    answer = editor.post(f"{SERVICES}{service_id}/copy/")
    messages = [str(message) for message in editor.get(SERVICES).context["messages"]]

    assert answer["Location"] == f"{SERVICES}{service_id}/change/"
    assert messages[0].startswith("The service cannot be saved like this.")
    assert reason in messages[0]
    assert Service.objects.mongo_count_documents({}) == 1


def test_it_copies_an_imported_service_that_lacks_names(editor: Client) -> None:
    imported = wound_dressing(name="OLD_ONE", monolith={"odd": 1})
    del imported["slug"], imported["displayName"]
    service_id = Service.objects.mongo_insert_one(imported).inserted_id

    assert editor.get(f"{SERVICES}{service_id}/copy/").status_code == 200
    assert editor.post(f"{SERVICES}{service_id}/copy/").status_code == 302

    copy = saved("OLD_ONE_COPY")
    assert (copy["displayName"], copy["slug"]) == ("OLD_ONE (copy)", "old-one-copy")
    assert "monolith" not in copy


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("active=no", ["SECOND"]),
        ("active=yes", ["FIRST", "THIRD"]),
        ("city=Pune", ["FIRST", "THIRD"]),
        ("city=Mumbai", ["SECOND", "THIRD"]),
        ("category__exact=PACKAGE", []),
        ("q=SECO", ["SECOND"]),
        ("q=.*", []),
    ],
)
def test_it_filters_and_searches(editor: Client, query: str, names: list[str]) -> None:
    service_made("FIRST", availability=wound_dressing()["availability"] | {"availableCities": ["Pune"]})
    services.services_deactivate(actor=EDITOR, service_ids=[service_made("SECOND")])
    service_made("THIRD", sortOrder=3, availability=wound_dressing()["availability"] | {"availableCities": []})

    page = editor.get(f"{SERVICES}?{query}")

    assert [service.name for service in page.context["cl"].result_list] == names


# --- other pages
def test_it_shows_who_changed_what(editor: Client) -> None:
    service_id = service_made()
    services.service_update(
        actor=EDITOR,
        service_id=service_id,
        version=0,
        document=wound_dressing(pricing={"basePrice": 555, "currency": "INR"}),
    )

    page = editor.get(f"{SERVICES}{service_id}/history/").content.decode()

    assert re.search(r"<td[^>]*>Price</td>.*499.*555", page, re.DOTALL)
    assert "editor" in page


def test_it_lists_the_changes_of_all_services_and_finds_those_of_one(editor: Client) -> None:
    service_made("FIRST"), service_made("SECOND", displayName="Other")

    def listed(query: str = "") -> list[str]:
        page = editor.get(f"/admin/catalog/servicechange/{query}")
        return [change.service_name for change in page.context["cl"].result_list]

    assert listed() == ["SECOND", "FIRST"]
    assert listed("?q=other") == ["SECOND"]


def test_it_lists_what_changed_also_where_nothing_was_before(editor: Client) -> None:
    service_id = service_made()
    copied = services.service_copy(actor=EDITOR, service_id=service_id)
    unsuitable = wound_dressing()["requirements"] | {"contraindications": ["Fever"]}
    filled = wound_dressing(requirements=unsuitable)
    services.service_update(actor=EDITOR, service_id=service_id, version=0, document=filled)
    services.services_activate(actor=EDITOR, service_ids=[copied])

    page = editor.get("/admin/catalog/servicechange/").content.decode()

    column = [cell.strip() for cell in re.findall(r"field-shown_changes[^>]*>\s*([^<]*)<", page)]
    assert column == ["Active", "Not suitable for", "New", "New"]


def test_it_records_no_change_of_what_staff_left_alone(editor: Client) -> None:
    service_id = service_made("NIGHT_NURSING", **without("seo", "faqs"))
    page = editor.get(f"{SERVICES}{service_id}/change/").context["adminform"].form
    posted = {
        name: page[name].value() for name in page.fields if str(page[name].value()) not in {"None", "False", "[]"}
    }

    cities = [{"name": "Bangalore"}, {"name": "Mumbai"}]
    posted |= {"base_price": "510", **rows("surge"), **rows("faqs"), **rows("cities", *cities)}
    response = editor.post(f"{SERVICES}{service_id}/change/", posted)

    assert response.status_code == 302, errors(response)
    changes = services.service_history(service_id)[0]["changes"]
    assert changes == [{"field": "pricing.basePrice", "before": "499", "after": "510"}]


def without(*names: str) -> dict[str, Any]:
    """A document without some of its parts."""
    return {name: value for name, value in wound_dressing().items() if name not in {*names, "name", "slug"}}


def test_it_previews_what_a_booking_would_be_charged(editor: Client) -> None:
    posted = form(
        surge_enabled="on", **rows("surge", {"start": "18:00", "end": "22:00"}, {"start": "23:00", "end": ""})
    )

    prices = editor.post(f"{SERVICES}price-preview/", posted).json()["prices"]

    assert [price["when"] for price in prices] == ["Now", "18:00 to 22:00"]
    assert prices[1]["total"] == "2,442.60"


@pytest.mark.parametrize("price", ["", "0", "-5", "abc", "NaN", "1e400"])
def test_it_previews_nothing_for_no_price(editor: Client, price: str) -> None:
    assert editor.post(f"{SERVICES}price-preview/", form(base_price=price)).json() == {"prices": []}


# --- who may do what
def test_it_lets_readers_look_and_nothing_else() -> None:
    service_id, reader = service_made("NIGHT_NURSING"), signed_in("Read only")

    assert reader.get(SERVICES).status_code == 200
    page = reader.get(f"{SERVICES}{service_id}/change/").content.decode()
    assert "Wound dressing" in page
    assert 'name="_save"' not in page
    assert reader.post(f"{SERVICES}{service_id}/change/", form()).status_code == 403
    assert reader.post(f"{SERVICES}add/", form(name="X")).status_code == 403
    assert reader.post(f"{SERVICES}{service_id}/copy/").status_code == 403
    reader.post(SERVICES, {"action": "deactivate", "_selected_action": [str(service_id)]})
    assert services.service_resolve("NIGHT_NURSING").is_active is True
    assert Service.objects.mongo_count_documents({}) == 1


def test_it_shows_readers_words_not_codes() -> None:
    service_id = service_made("NIGHT_NURSING", requirements={"contraindications": ["Fever", "Open wound"]})
    reader = signed_in("Read only")

    page = reader.get(f"{SERVICES}{service_id}/change/").content.decode()

    assert "Every day" in page
    assert "Intermediate" in page
    assert "INTERMEDIATE" not in page
    assert "Fever<br>Open wound" in page


@pytest.mark.parametrize(
    "path", ["", "add/", "price-preview/", "6b02ee6211a9b27b1f6387f4/change/", "6b02ee6211a9b27b1f6387f4/history/"]
)
def test_it_sends_strangers_to_the_login(path: str) -> None:
    response = Client().get(f"{SERVICES}{path}")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_it_never_deletes(editor: Client) -> None:
    service_id = service_made()
    assert editor.post(f"{SERVICES}{service_id}/delete/", {"post": "yes"}).status_code == 403
    editor.post(SERVICES, {"action": "delete_selected", "_selected_action": [str(service_id)], "post": "yes"})
    assert Service.objects.mongo_count_documents({}) == 1


def test_it_says_so_when_a_service_is_not_there(editor: Client) -> None:
    for path in ("change/", "history/", "copy/"):
        assert editor.get(f"{SERVICES}{ObjectId()}/{path}").status_code == 302
        assert editor.get(f"{SERVICES}nonsense/{path}").status_code == 302
    assert editor.post(f"{SERVICES}nonsense/copy/").status_code == 302


def test_it_logs_what_broke_a_page(
    editor: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service_id = service_made()
    monkeypatch.setattr(services, "service_history", None)
    editor.raise_request_exception = False

    answer = editor.get(f"{SERVICES}{service_id}/history/")

    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    [logged] = [record for record in caplog.records if record.name == "django.request"]
    assert logged.exc_info is not None
    assert logged.exc_info[0] is TypeError


ODD: dict[str, dict[str, Any]] = {
    "texts that are none": {"shortDescription": 5, "longDescription": ["a"], "seo.keywords": ["covid", 19]},
    "names that are none": {"displayName": ["x"], "seo": [{}], "sortOrder": "first"},
    "no prices": {"pricing.basePrice": "free", "pricing.surgePricing": "yes", "stats.completionRate": ""},
    "cities that are none": {"availability.availableCities": [None, 5, "Pune"]},
    "a city": {"availability.availableCities": "Pune"},
    "nulls": {"availability.availableCities": None, "availability.isActive": None, "availability.availableDays": ""},
    "texts for lists": {"serviceDetails.equipmentRequired": "Gloves", "included": "Visit", "faqs": "none"},
    "texts for documents": {"pricing": "x", "serviceDetails": "x", "availability": "x", "requirements": "x"},
}


@pytest.mark.parametrize("kind", ODD)
def test_no_odd_service_takes_the_list_or_the_search_from_others(editor: Client, kind: str) -> None:
    service_made("WOUND_CARE", displayName="Care of wounds")
    Service.objects.mongo_update_one({"_id": service_made()}, {"$set": ODD[kind]})
    services.services_imported()

    page = editor.get(SERVICES)

    assert [name in page.content.decode() for name in ("WOUND_DRESSING", "WOUND_CARE")] == [True, True]
    assert editor.get(SERVICES, {"q": "wound"}).status_code == 200
    found = Client().get("/api/services/search", {"q": "wound care"})
    assert [service["name"] for service in found.json()["data"]] == ["WOUND_CARE"]
