"""/api/patients/addresses"""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from patients import repositories
from patients.models import Patient
from tests.integration.patients.test_login import in_parallel

URL = "/api/patients/addresses"
HOME = {"label": "Home", "street": "1 MG Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
FULL = HOME | {"landmark": "Park", "coordinates": {"lat": 18.5, "lng": -73.8}}


def added(account, **changes) -> dict:
    answer = account.api("POST", URL, HOME | changes)
    assert answer.status_code == 201, answer.body
    return answer.body["data"]


def listed(account) -> list[dict]:
    return account.api("GET", URL).body["data"]


def defaults(account) -> list[str]:
    return [address["_id"] for address in listed(account) if address["isDefault"]]


def test_the_first_becomes_the_default_even_when_it_does_not_want_to(asha):
    first = added(asha, isDefault=False)
    second = added(asha, label="Work")

    assert (first["isDefault"], second["isDefault"]) == (True, False)
    assert [address["_id"] for address in listed(asha)] == [first["_id"], second["_id"]]


def test_all_of_it_is_stored_and_comes_back(asha):
    address = asha.api("POST", URL, FULL).body["data"]
    assert {key: address[key] for key in FULL} == FULL
    assert listed(asha) == [address]
    assert asha.api("GET", "/api/patients/me").body["data"]["savedAddresses"] == [address]


def test_a_new_one_may_ask_to_be_the_default(asha):
    added(asha)
    second = added(asha, isDefault=True)
    assert defaults(asha) == [second["_id"]]


def test_a_change_keeps_what_it_does_not_name(asha):
    address = asha.api("POST", URL, FULL).body["data"]
    answer = asha.api("PUT", f"{URL}/{address['_id']}", {"city": "Mumbai"})
    assert answer.body["data"] == address | {"city": "Mumbai"}


def test_the_default_moves_and_cannot_be_given_up(asha):
    first, second = added(asha), added(asha)

    assert asha.api("PUT", f"{URL}/{second['_id']}", {"isDefault": True}).body["data"]["isDefault"] is True
    assert defaults(asha) == [second["_id"]]
    answer = asha.api("PUT", f"{URL}/{second['_id']}", {"isDefault": False})
    assert (answer.status_code, answer.body["code"]) == (422, "DEFAULT_ADDRESS_REQUIRED")
    assert asha.api("PUT", f"{URL}/{first['_id']}", {"isDefault": False}).status_code == 200
    assert defaults(asha) == [second["_id"]]


def test_when_the_default_goes_the_oldest_becomes_it(asha):
    first, second, third = added(asha), added(asha), added(asha)

    assert asha.api("DELETE", f"{URL}/{first['_id']}").status_code == 200
    assert defaults(asha) == [second["_id"]]
    assert asha.api("DELETE", f"{URL}/{third['_id']}").status_code == 200
    assert asha.api("DELETE", f"{URL}/{second['_id']}").status_code == 200
    assert listed(asha) == []


def test_addresses_of_the_monolith_without_or_with_several_defaults_are_mended(asha):
    for flags in ([None, None], [True, True], [False, False]):
        kept = [{"_id": ObjectId(), **HOME} | ({} if flag is None else {"isDefault": flag}) for flag in flags]
        Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"savedAddresses": kept}})
        added(asha)
        assert defaults(asha) == [str(kept[0]["_id"])]
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$unset": {"savedAddresses": True}})
    assert listed(asha) == []
    added(asha)


def test_what_is_no_address_stays_and_is_in_nobodys_way(asha):
    odd: list[Any] = [{"street": "1 MG Road"}, None, "12 Lake Road", {"_id": "x", "isDefault": True}, [{}]]
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"savedAddresses": odd}})

    first, second = added(asha), added(asha)
    path = f"{URL}/{first['_id']}"

    assert (first["isDefault"], second["isDefault"]) == (True, False)
    assert asha.api("PUT", path, {"isDefault": False}).body["code"] == "DEFAULT_ADDRESS_REQUIRED"
    assert asha.api("PUT", f"{URL}/{ObjectId()}", {"isDefault": False}).body["code"] == "NOT_FOUND"
    assert asha.api("PUT", path, {"city": "Mumbai"}).body["data"] == first | {"city": "Mumbai"}
    assert asha.api("DELETE", path).status_code == 200
    assert listed(asha) == [*odd, second | {"isDefault": True}]


def test_parallel_edits_leave_exactly_one_default(asha):
    ids = [added(asha)["_id"] for _ in range(6)]

    def edit(number: int):
        match number % 3:
            case 0:
                return asha.api("PUT", f"{URL}/{ids[number // 3]}", {"isDefault": True})
            case 1:
                return asha.api("POST", URL, HOME | {"isDefault": True})
            case _:
                return asha.api("DELETE", f"{URL}/{ids[number // 3 + 3]}")

    answers = in_parallel(9, edit)

    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len(defaults(asha)) == 1
    assert len(listed(asha)) == 6


def test_there_is_an_end_to_them(asha):
    answers = in_parallel(repositories.MOST_ADDRESSES + 4, lambda _number: asha.api("POST", URL, HOME))

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == repositories.MOST_ADDRESSES
    assert statuses.count(422) == 4
    assert len(listed(asha)) == repositories.MOST_ADDRESSES


@pytest.mark.parametrize(("method", "body"), [("PUT", {"city": "Mumbai"}), ("DELETE", None)])
def test_other_peoples_addresses_do_not_exist(asha, registered, method, body):
    address, stranger = added(asha), registered()
    answers = [stranger.api(method, f"{URL}/{which}", body) for which in (address["_id"], ObjectId(), "x", "..")]
    assert {answer.status_code for answer in answers} == {404}
    assert listed(asha) == [address]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("street", ""), ("street", None), ("street", "x" * 201), ("city", {"$gt": ""}), ("state", []),
        ("pincode", "41100"), ("pincode", "4110011"), ("pincode", "٤١١٠٠١"), ("label", "x" * 51),
        ("coordinates", {"lat": 90.1, "lng": 0}), ("coordinates", {"lat": 0, "lng": 180.1}),
        ("coordinates", {"lat": 0}), ("coordinates", {"lat": "0", "lng": 0}), ("isDefault", "true"),
        ("_id", "6b03601f0e24e9ab6cb589be"), ("$set", 1),
    ],
)  # fmt: skip
def test_it_refuses_what_is_no_address(asha, field, value):
    address = added(asha)
    assert asha.api("POST", URL, HOME | {field: value}).status_code == 400
    assert asha.api("PUT", f"{URL}/{address['_id']}", {field: value}).status_code == 400
    assert listed(asha) == [address]


@pytest.mark.parametrize("missing", ["street", "city", "state", "pincode"])
def test_a_new_one_needs_all_that_leads_there(asha, missing):
    answer = asha.api("POST", URL, {key: value for key, value in HOME.items() if key != missing})
    assert [error["field"] for error in answer.body["errors"]] == [missing]
