"""GET /api/services/:idOrSlug/slots."""

import tracemalloc
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from bookings.scheduling import cells
from tests.factories import booking_made, patient_made, service_made, tomorrow, visit_input

SURGE = {"enabled": True, "surgeMultiplier": 2, "surgeHours": [{"start": "18:00", "end": "22:00"}]}


def day(days=1):
    return (tomorrow(12, days=days) + timedelta(hours=5, minutes=30)).date().isoformat()


def slots(api, query="", service="wound-dressing"):
    return api("GET", f"/services/{service}/slots?{query}")


@pytest.fixture
def public(api, asha):
    client = api(asha)
    client.headers = {}
    return client


def test_it_offers_a_day_to_anybody(public):
    answer = slots(public, f"from={day()}&to={day()}&city=Bangalore")

    assert answer.status_code == 200, answer.body
    found = answer.body["data"]["slots"]
    assert answer.body["count"] == len(found) == 32
    assert found[8] == {
        "startsAt": tomorrow(10).isoformat().replace("+00:00", ".000Z"),
        "endsAt": tomorrow(10, 30).isoformat().replace("+00:00", ".000Z"),
        "available": True,
        "price": 677.14,
        "surgeApplied": False,
    }
    assert "reason" not in answer.body["data"]


def test_it_offers_a_week_by_default_and_31_days_at_most(public):
    week = slots(public).body["data"]["slots"]
    assert {slot["startsAt"][:10] for slot in week} >= {day(2), day(5)}
    assert slots(public, f"from={day()}&to={day(31)}").status_code == 200
    too_much = slots(public, f"from={day()}&to={day(32)}")
    assert (too_much.status_code, too_much.body["code"]) == (422, "RANGE_TOO_LARGE")


def test_every_slot_can_be_booked_at_its_price(public, api, asha):
    service_made("IV_DRIP", pricing={"basePrice": 499, "currency": "INR", "surgePricing": SURGE})
    found = slots(public, f"from={day()}&to={day()}", service="iv-drip").body["data"]["slots"]

    for slot in (found[0], next(slot for slot in found if slot["surgeApplied"]), found[-1]):
        body = visit_input(serviceType="IV_DRIP", startsAt=slot["startsAt"])
        made = api(asha)("POST", "/bookings", body)
        assert made.status_code == 201, made.body
        assert made.body["data"]["pricing"]["payableAmount"] == slot["price"]
        assert made.body["data"]["endsAt"] == slot["endsAt"]


def test_it_marks_what_is_taken(public, asha, ravi):
    service_made("IV_DRIP", availability__capacityPerSlot=2)
    query = f"from={day()}&to={day()}&city=bangalore"
    booking_made(asha, serviceType="IV_DRIP", startsAt=tomorrow(10, 15))
    assert all(slot["available"] for slot in slots(public, query, "iv-drip").body["data"]["slots"])

    booking_made(ravi, serviceType="IV_DRIP", startsAt=tomorrow(10, 15))

    found = slots(public, query, "iv-drip").body["data"]["slots"]
    taken = [slot["startsAt"] for slot in found if not slot["available"]]
    assert taken == [tomorrow(10, minute).isoformat().replace("+00:00", ".000Z") for minute in (0, 30)]
    elsewhere = slots(public, f"from={day()}&to={day()}&city=Mumbai", "iv-drip").body["data"]["slots"]
    anywhere = slots(public, f"from={day()}&to={day()}", "iv-drip").body["data"]["slots"]
    assert all(slot["available"] for slot in elsewhere + anywhere)


@pytest.mark.parametrize("city", ["Pune:0:{cell}x", "Pune:0", "Pune\uff1a0\uff1a{cell}x", "Pune:0:0"])
def test_a_booking_in_a_city_of_an_odd_name_takes_no_place_of_another_city(public, asha, city):
    service_made("IV_DRIP", availability__capacityPerSlot=1, availability__availableCities=[])
    cell = cells(tomorrow(10), tomorrow(11)).start
    address = {"city": city.format(cell=cell)}
    booking_made(asha, serviceType="IV_DRIP", startsAt=tomorrow(10), serviceLocation={"address": address})

    found = slots(public, f"from={day()}&to={day()}&city=Pune", "iv-drip").body["data"]["slots"]

    assert len(found) == 32
    assert all(slot["available"] for slot in found)
    theirs = slots(public, f"from={day()}&to={day()}&city={quote(address['city'])}", "iv-drip").body["data"]["slots"]
    assert [slot["available"] for slot in theirs].count(False) == 1


def test_it_tells_a_client_that_nothing_was_booked(public, asha, ravi):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    path = f"/api/services/iv-drip/slots?from={day()}&to={day()}&city=Bangalore"
    first = Client().get(path)

    again = Client().get(path, headers={"If-None-Match": first["ETag"]})

    assert first["Cache-Control"] == again["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    booking_made(asha, serviceType="IV_DRIP")
    assert Client().get(path, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_an_empty_answer_says_why(public, asha, documents):
    service_made(
        "IV_DRIP",
        availability__capacityPerSlot=1,
        availability__availableHours={"start": "10:00", "end": "10:30"},
    )
    ask = lambda query, service="iv-drip": slots(public, query, service).body["data"]  # noqa: E731
    one_day = f"from={day()}&to={day()}"

    assert ask(f"{one_day}&city=Atlantis") == {"slots": [], "reason": "CITY_NOT_SERVED"}
    assert ask(f"from={day(-2)}&to={day(-2)}") == {"slots": [], "reason": "LEAD_TIME"}
    assert ask(f"from={day(200)}&to={day(200)}") == {"slots": [], "reason": "CLOSED"}
    booking_made(asha, serviceType="IV_DRIP")
    assert ask(f"{one_day}&city=Bangalore") == {"slots": [], "reason": "FULL"}
    booking_made(patient_made(), serviceType="IV_DRIP", serviceLocation={"address": {"city": "Mumbai"}})
    assert ask(one_day) == {"slots": [], "reason": "FULL"}


@pytest.mark.parametrize(
    "query",
    ["from=banana", "to=2026-02-30", "from=2026-12-05&to=2026-12-01", "from=2026-12-01T10:00", "from=0001-01-01"],
)
def test_it_refuses_odd_ranges(public, query):
    assert slots(public, query).status_code == 400


def test_it_refuses_a_city_longer_than_any_name(public):
    answer = slots(public, f"city={'x' * 101}")
    assert (answer.status_code, answer.body["errors"][0]["field"]) == (400, "city")
    assert slots(public, f"city={'x' * 100}").status_code == 200


def test_a_service_that_is_not_there_has_no_slots(public):
    assert slots(public, service="aura-reading").status_code == 404
    service_made("IV_DRIP", availability__isActive=False)
    assert slots(public, service="iv-drip").status_code == 404


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize(("hour", "minute"), [(0, 0), (0, 30), (23, 59)])
def test_an_instant_in_any_zone_names_the_local_day_of_the_service(public, zone, hour, minute):
    """Just after midnight in Kolkata it is yesterday in New York and still today on Kiritimati."""
    instant = tomorrow(hour, minute, days=3).astimezone(ZoneInfo(zone))
    text = quote(instant.isoformat())

    found = slots(public, f"from={text}&to={text}&city=Bangalore").body["data"]["slots"]

    assert len(found) == 32
    assert found == slots(public, f"from={day(3)}&to={day(3)}&city=Bangalore").body["data"]["slots"]
    assert found[0]["startsAt"] == tomorrow(6, days=3).isoformat().replace("+00:00", ".000Z")


def test_a_slot_across_midnight_belongs_to_the_day_it_opened_on(public, asha):
    """Open from 22:00 to 02:00: the slots of a day end on the next one, and can be booked at the price they show."""
    hours = {"start": "22:00", "end": "02:00"}
    surge = SURGE | {"surgeHours": [{"start": "23:30", "end": "00:30"}]}
    service_made(
        "IV_DRIP",
        availability__availableHours=hours,
        availability__capacityPerSlot=1,
        pricing={"basePrice": 499, "currency": "INR", "surgePricing": surge},
    )
    query = f"from={day(3)}&to={day(3)}&city=Bangalore"

    found = slots(public, query, "iv-drip").body["data"]["slots"]

    assert [slot["startsAt"] for slot in found] == [
        (tomorrow(22, days=3) + n * timedelta(minutes=30)).isoformat().replace("+00:00", ".000Z") for n in range(8)
    ]
    assert [slot["surgeApplied"] for slot in found] == [False, False, False, True, True, False, False, False]
    for slot in (found[3], found[4]):
        booked = booking_made(asha, serviceType="IV_DRIP", startsAt=datetime.fromisoformat(slot["startsAt"]))
        assert booked["pricing"]["payableAmount"].to_decimal() == Decimal(str(slot["price"]))
    left = slots(public, query, "iv-drip").body["data"]["slots"]
    assert [slot["available"] for slot in left] == [True, True, True, False, False, True, True, True]
    day_after = slots(public, f"from={day(4)}&to={day(4)}&city=Bangalore", "iv-drip").body["data"]["slots"]
    assert all(slot["available"] for slot in day_after)


def test_the_days_of_a_client_are_the_services_by_default(public, at):
    """At 18:45 UTC it is past midnight in Kolkata: the week begins with that day."""
    now = tomorrow(0, 15, days=3)
    at(now)

    first = slots(public, "city=Bangalore").body["data"]["slots"][0]

    assert first["startsAt"] == tomorrow(6, days=3).isoformat().replace("+00:00", ".000Z")


def test_what_a_process_keeps_of_a_day_is_no_more_than_its_text(public):
    """orjson's own bytes hold the 4 kB they were written in: a thousand days of them were 300 MB."""
    slots(public, f"from={day(20)}&to={day(20)}&city=Bangalore")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    answer = slots(public, f"from={day(21)}&to={day(27)}&city=Bangalore")
    count, text = answer.body["count"], len(answer.content)
    del answer
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert count == 7 * 32
    assert kept < 16 * text  # it was 30 times as much; prices and times of the week are kept, too
