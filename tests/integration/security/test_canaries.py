"""Personal and clinical text is found nowhere but in the documents, and in the answers to those whose it is."""

from __future__ import annotations

import logging

import pytest
from django_redis import get_redis_connection

from booking_service.operations.logging import FORMATTERS
from booking_service.partners import payments as payment_service
from events.models import OutboxEvent
from patients import repositories
from tests.factories import VisitInput, service_made, tomorrow
from tests.integration.patients.callers import Api
from tests.integration.security.inputs import bodies, sample, texts, with_value
from tests.integration.security.test_access import order_open
from tests.integration.security.world import everything, world_made

CANARY = "zqcanary"
PHONES = ("9123454321", "9123454322", "9123454323", "9123454324")
SECRETS = (CANARY, *PHONES)
# Where personal text may be: the documents themselves, what patient.registered tells, and for a day the answers to
# requests with an Idempotency-Key.
AT_HOME = {"patients", "nursebookings", "outbox", "idempotentrequests"}
KEPT_AS_THEY_ARE = {"startsAt", "scheduledDate", "scheduledTime", "serviceType", "type", "paymentMethod", "city"}


class Lines(logging.Handler):
    """What the log says, in both formats, at its most talkative."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.formatters = [formatter() for formatter in FORMATTERS.values()]
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [formatter.format(record) for formatter in self.formatters]


@pytest.fixture
def log():
    root, handler = logging.getLogger(), Lines()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def world(registered, monkeypatch):
    service_made()
    monkeypatch.setattr(payment_service, "order_open", order_open)
    return world_made(registered, monkeypatch)


def planted(value: str) -> bool:
    return any(secret in value.casefold() for secret in SECRETS)


def with_canaries(route: str, body: dict) -> dict:
    """`body` with a canary in every text of the route's shape that takes any."""
    shape = dict(bodies())[route]()
    for number, (place, field) in enumerate(texts(shape)):
        name = str(place[-1])
        if name in KEPT_AS_THEY_ARE:
            continue
        plain = sample(name, field)
        value = f"{CANARY}{number}" if plain == "Plain text" else plain
        if name in {"phone", "contactPhone"}:
            value = PHONES[len(place) % 2 + (2 if name == "contactPhone" else 0)]
        if str(plain).startswith("https://"):
            value = f"https://files.example.com/{CANARY}{number}"
        body = with_value(body, shape, place, value)
    return body


def lived_through(world) -> list[str]:
    """A patient's life with us, canaries everywhere; the bodies of all that was refused on the way."""
    refused: list[str] = []
    keys: list[str] = []

    def call(api, method, path, body=None, expect=None):
        key = {"Idempotency-Key": f"key-{len(keys)}"}
        keys.append(path)
        answer = api(method, path, body, **key)
        if answer.status_code >= 400:
            refused.append(answer.content.decode())
        assert expect is None or answer.status_code == expect, (path, answer.body)
        return answer

    who = {"name": f"{CANARY} Rao", "email": f"{CANARY}@example.com", "phone": PHONES[0], "password": f"{CANARY}X1"}
    signed_in = call(Api(), "POST", "/api/patients/register", who, 201).body["data"]
    me = Api(signed_in["token"])
    call(Api(), "POST", "/api/patients/register", who, 409)
    call(Api(), "POST", "/api/patients/register", who | {"phone": PHONES[1] + "0", "email": CANARY}, 400)
    call(Api(), "POST", "/api/patients/login", {"email": who["email"], "password": f"{CANARY}wrong"}, 401)
    call(Api(), "POST", "/api/patients/login", {"email": who["email"], "password": who["password"]}, 200)
    call(me, "PUT", "/api/patients/me", with_canaries("PUT /api/patients/<str:patient_id>", {}), 200)
    call(me, "PUT", "/api/patients/me", {"bloodGroup": CANARY, CANARY: 1}, 400)
    address = with_canaries("POST /api/patients/addresses", {"city": "Pune"})
    call(me, "POST", "/api/patients/addresses", address, 201)
    visit = with_canaries("POST /api/bookings", VisitInput.build(startsAt=tomorrow(days=3).isoformat()))
    booking = call(me, "POST", "/api/bookings", visit, 201).body["data"]["_id"]
    call(me, "POST", "/api/bookings", visit, 409)
    call(me, "GET", f"/api/bookings/{CANARY}", None, 404)
    call(me, "GET", f"/api/bookings?status={CANARY}", None, 400)
    call(me, "GET", f"/api/services/search?q={CANARY}")
    admin, nurse = world.apis["admin"], world.apis["provider"]
    call(admin, "PUT", f"/api/bookings/{booking}/assign", {"providerId": str(world.provider_id)}, 200)
    call(nurse, "PUT", f"/api/bookings/{booking}/confirm", {"reason": CANARY}, 200)
    call(admin, "PUT", f"/api/bookings/{booking}/en-route", {"reason": CANARY}, 200)
    call(admin, "PUT", f"/api/bookings/{booking}/start", {"reason": CANARY}, 200)
    report = with_canaries("PUT /api/bookings/<str:booking_id>/complete", {})
    call(admin, "PUT", f"/api/bookings/{booking}/complete", report, 200)
    call(me, "POST", f"/api/bookings/{booking}/review", {"stars": 5, "review": CANARY}, 201)
    other = VisitInput(startsAt=tomorrow(days=5).isoformat(), specialRequirements=CANARY)
    booking = call(me, "POST", "/api/bookings", other, 201).body["data"]["_id"]
    call(me, "POST", f"/api/bookings/{booking}/payment", None, 201)
    later = {"startsAt": tomorrow(days=6).isoformat(), "reason": CANARY}
    call(me, "POST", f"/api/bookings/{booking}/reschedule", later, 200)
    call(me, "DELETE", f"/api/bookings/{booking}", {"reason": CANARY}, 200)
    return refused


def test_canaries_stay_where_they_were_put(world, log, monkeypatch):
    refused = lived_through(world)

    assert len(log) > 20
    assert [line for line in log if planted(line)] == []
    # What is wrong with a key can only be said by naming it.
    assert [body for body in refused if planted(body.replace(f'"{CANARY}"', ""))] == []
    redis = get_redis_connection("default")
    assert [key for key in redis.scan_iter("*") if planted(key.decode(errors="replace"))] == []
    for event in OutboxEvent.objects.mongo_find({}):
        if event["type"] != "patient.registered":
            assert not planted(str(event)), event["type"]
    assert not planted(Api()("GET", "/metrics").content.decode())
    assert {name for name, documents in everything().items() if planted(str(documents))} == AT_HOME
    assert [value for value in redis_values(redis) if planted(value)] == []


def redis_values(redis) -> list[str]:
    """What Redis holds under each key."""
    reads = {b"string": redis.get, b"hash": redis.hgetall}
    return [repr(reads.get(redis.type(key), redis.dump)(key)) for key in redis.scan_iter("*")]


def test_what_breaks_unexpectedly_says_nothing_of_whom_it_broke_for(asha, log, monkeypatch):
    def breaks(patient_id):
        local = f"{CANARY} in a local"
        raise RuntimeError(f"duplicate key: {{name: {CANARY}, local: {local}}}")

    monkeypatch.setattr(repositories, "profile", breaks)
    answer = asha.api("GET", f"/api/patients/me?note={CANARY}")

    assert answer.status_code == 500
    assert not planted(answer.content.decode())
    lines = [line for line in log if "RuntimeError" in line]
    assert lines
    # The JSON format is production's; the other one is for a developer's terminal.
    assert not any(planted(line) for line in lines if line.startswith("{"))


def test_tokens_and_passwords_are_never_logged(asha, log):
    Api()("POST", "/api/patients/login", {"email": asha.email, "password": asha.password})
    asha.api("GET", "/api/patients/me")
    Api()("POST", "/api/patients/token/refresh", {"refreshToken": asha.refresh_token})
    said = "\n".join(log)
    for secret in (asha.password, asha.token, asha.refresh_token, asha.token.split(".")[2], asha.email, asha.phone):
        assert secret not in said
