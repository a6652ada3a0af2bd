"""What an attacker puts where text belongs: refused with a 4xx, and nothing has changed; or it is only text."""

from __future__ import annotations

from io import BytesIO

import orjson
import pytest

from booking_service.api.serializers import TextField, ValidationError
from booking_service.wsgi import application
from patients.models import Patient
from tests.factories import service_made
from tests.integration.patients.callers import Api
from tests.integration.security.inputs import DECIDING, bodies, queries, sample, texts, with_value
from tests.integration.security.matrix import MATRIX, path_of
from tests.integration.security.test_access import order_open
from tests.integration.security.world import CALLERS, everything, world_made

NO_TEXT = {
    "an operator": {"$gt": ""},
    "a negation": {"$ne": None},
    "a script": {"$where": "sleep(10000)"},
    "a pattern": {"$regex": ".*", "$options": "i"},
    "an array": ["text"],
    "an array of operators": [{"$gt": ""}],
    "a number": 5,
    "a boolean": True,
    "a NUL": "a\x00b",
    "nine kilobytes": "x" * 9000,
    "deep JSON": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}},
}
ONLY_TEXT = (
    ".*",
    "$where",
    "a.b",
    '{"$gt": ""}',
    "$$ROOT",
    "' OR 1=1 --",
    "(?i)",
    "../../etc/passwd",
    "{{7*7}}",
    "%00",
)
ROUTES = dict(bodies())
# Compared, never shown: any character will do.
SECRETS = {"password", "currentPassword", "newPassword"}
QUERIES = dict(queries())


@pytest.fixture
def world(registered, monkeypatch, settings):
    from booking_service.partners import payments as payment_service

    settings.RATE_LIMIT_ENABLED = False  # a 429 would hide what the endpoint does
    service_made()
    monkeypatch.setattr(payment_service, "order_open", order_open)
    return world_made(registered, monkeypatch)


def may(route: str) -> str:
    """A caller whom the route is for."""
    expected = MATRIX[route].expected
    return next(who for who, status in zip(CALLERS, expected, strict=True) if status < 300)


def base(route, world, who):
    body = MATRIX[route].body
    return dict((body(world, who) if callable(body) else body) or {})


def test_there_are_queries_to_attack():
    assert QUERIES.keys() >= {
        "GET /api/bookings",
        "GET /api/bookings/patient/me",
        "GET /api/bookings/provider/me",
        "GET /api/services/category/<str:category>",
        "GET /api/services/search",
    }
    assert sum(map(len, QUERIES.values())) > 40


def test_there_are_bodies_to_attack():
    assert len(ROUTES) >= 20
    assert sum(len(list(texts(shape()))) for shape in ROUTES.values()) > 150


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_no_text_is_refused_wherever_text_belongs(world, route):
    shape, who, method = ROUTES[route](), may(route), route.split()[0]
    path, body = path_of(route, MATRIX[route], world), base(route, world, may(route))
    before = everything()
    for place, _field in texts(shape):
        for name, value in NO_TEXT.items():
            answer = world.apis[who](method, path, orjson.dumps(with_value(body, shape, place, value)))
            assert 400 <= answer.status_code < 500, (place, name, answer.body)
            assert "Traceback" not in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("route", ROUTES)
def test_text_that_looks_like_code_is_text_or_refused(world, route):
    shape, who, method = ROUTES[route](), may(route), route.split()[0]
    for place, field in texts(shape):
        if place[-1] in DECIDING:
            continue
        control = sample(str(place[-1]), field)
        for value in (*ONLY_TEXT[:3], control) if len(place) > 1 else (*ONLY_TEXT, control):
            Patient.objects.mongo_update_one({"_id": world.asha.id}, {"$set": {"savedAddresses": []}})
            body = with_value(base(route, world, who), shape, place, value)
            answer = world.apis[who](method, path_of(route, MATRIX[route], world), body)
            assert answer.status_code < 500, (place, value)
        assert answer.status_code < 300, (place, "a plain value is taken", answer.body)


@pytest.mark.parametrize("route", ROUTES)
def test_keys_that_nobody_asked_for_are_refused(world, route):
    who, method = may(route), route.split()[0]
    path, body = path_of(route, MATRIX[route], world), base(route, world, who)
    before = everything()
    keys = (
        "status",
        "patient",
        "price",
        "pricing",
        "isVerified",
        "_id",
        "$set",
        "$where",
        "a.b",
        "__proto__",
        "",
        "\x00",
    )
    for key in keys:
        if key in ROUTES[route]().fields:
            continue
        answer = world.apis[who](method, path, orjson.dumps({**body, key: {"$gt": ""}}))
        assert answer.status_code == 400, key
    assert everything() == before


@pytest.mark.parametrize("route", ROUTES)
def test_no_text_of_people_turns_round_or_hides(route):
    for place, field in texts(ROUTES[route]()):
        if place[-1] in SECRETS:
            continue
        for value in ("10\u202e mg", "10\x1b[8m mg", "10\u2067 mg"):
            with pytest.raises(ValidationError):
                field.run_validation(value)
        if isinstance(field, TextField):
            assert field.run_validation("10 mg\n\tعرب\u200f\nक्\u200dष") == "10 mg\n\tعرب\u200f\nक्\u200dष", place


NO_OBJECTS = {
    b"[" * 5000: 400,
    b'{"a":' * 20 + b"1" + b"}" * 20: 400,
    b"{": 400,
    b"null": 400,
    b"[]": 400,
    b'"text"': 400,
    b"\xff\xfe": 400,
    b'{"a": "\xed\xa0\x80"}': 400,
    b'{"a": 1e999}': 400,
    b'{"a": NaN}': 400,
    b'{"a": "' + b"x" * 20_000 + b'"}': 413,
}


@pytest.mark.parametrize("route", ROUTES)
def test_bodies_that_are_no_json_object_are_refused(world, route):
    method, who = route.split()[0], may(route)
    optional = not any(field.required for field in ROUTES[route]().fields.values())
    for raw, status in NO_OBJECTS.items():
        answer = world.apis[who](method, path_of(route, MATRIX[route], world), raw)
        is_nothing = optional and raw in {b"null", b"[]"}  # as good as no body, where none is needed
        assert answer.status_code == status or (is_nothing and answer.status_code < 300), raw[:40]


@pytest.mark.parametrize("route", QUERIES)
def test_query_keys_take_no_operators(world, route):
    api, path = world.apis[may(route)], path_of(route, MATRIX[route], world).partition("?")[0]
    api("GET", path)  # a patient's first read of their own is a line of the audit
    before = everything()
    attacks = (
        ".*",
        "$where",
        "%00",
        "a%00b",
        "{%22$gt%22:%22%22}",
        "x" * 5000,
        "-1",
        "1e9",
        "9" * 40,
        "%ff",
        "a.b",
        "(",
        "",
    )
    for key in QUERIES[route]:
        for value in attacks:
            needed = "q=wound&" if "search" in route and key != "q" else ""
            for query in (f"{key}={value}", f"{key}[$gt]={value}", f"{key}={value}&{key}={value}"):
                answer = api("GET", f"{path}?{needed}{query}")
                assert answer.status_code < 500, query[:100]
    assert everything() == before


NO_IDS = ("x", "0" * 24, "g" * 24, "%00", "$where", "a.b", "..", "%7B%22$gt%22:1%7D", "x" * 3000)


@pytest.mark.parametrize("route", [route for route in MATRIX if "<str:" in route])
def test_ids_that_are_none_are_absent(world, route):
    pattern, who, body = route.split(" ", 1)[1], may(route), MATRIX[route].body
    given = body(world, who) if callable(body) else body
    for identity in NO_IDS:
        path = pattern.split("<str:")[0] + identity + pattern.split(">", 1)[1]
        assert world.apis[who](route.split()[0], path, given).status_code in {400, 404}, path


def test_no_header_is_believed_beyond_its_shape(asha):
    hostile = {
        "X-Request-ID": "x\x01y" * 100,
        "If-Match": "x" * 4000,
        "Accept-Language": "$where",
        "Cookie": "sessionid=x",
    }
    answer = asha.api("GET", "/api/patients/me", **hostile)
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] != hostile["X-Request-ID"]


NO_CHARSETS = (
    *(f"application/json; charset={name}" for name in ("hex", "base64", "rot13", "zlib", "uu", "undefined", "idna")),
    *(f"application/json; charset={name}" for name in ("utf-7", "unicode_escape", "big5", "utf-8")),
    "application/json; charset*=x''%41",
    "multipart/form-data; boundary*=x''%41",
    "multipart/form-data; boundary*=undefined''%41",
    "application/x-www-form-urlencoded; charset=hex",
)
TOKEN = "a" * 32
TEXTS = ("city=%41", "city=%C3%A9", "city=%2B2AA-", "city=%5Cud800", "&" * 1001)


@pytest.fixture
def served(client):
    """Asks the application as gunicorn does, whose requests are made before any middleware runs."""

    def ask(method: str, path: str, content_type: str, query: str = "", body: bytes = b"") -> tuple[int, bytes]:
        environ = client._base_environ(
            **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": BytesIO(body)},
            CONTENT_TYPE=content_type,
            CONTENT_LENGTH=str(len(body) or ""),
            HTTP_COOKIE=f"csrftoken={TOKEN}",
            HTTP_X_CSRFTOKEN=TOKEN,
        )
        statuses: list[str] = []
        answer = b"".join(application(environ, lambda status, _headers: statuses.append(status)))
        return int(statuses[0].split()[0]), answer

    return ask


@pytest.mark.parametrize("content_type", NO_CHARSETS)
def test_text_is_utf_8_whatever_a_header_calls_it(served, settings, content_type):
    settings.RATE_LIMIT_ENABLED = False
    for path in ("/api/services", "/api/services/search", "/admin/login/", "/static/x", "/nothing"):
        for query in TEXTS:
            plain, body = served("GET", path, "", query)
            status, named = served("GET", path, content_type, query)
            assert status == plain < 500, (path, query)
            assert b"INTERNAL_ERROR" not in named
            assert len(named) == len(body)


@pytest.mark.parametrize("content_type", NO_CHARSETS)
def test_no_charset_breaks_a_form_or_a_body(served, content_type):
    for path in ("/api/patients/login", "/admin/login/"):
        for body in (b"username=%2B2AA-&password=%41", b'{"email": "+2AA-"}', b"--A\r\n\r\n"):
            assert served("POST", path, content_type, body=body)[0] < 500, path


def test_a_form_of_parts_keeps_its_boundary(served):
    body = b'--a;b\r\nContent-Disposition: form-data; name="username"\r\n\r\nroot\r\n--a;b--\r\n'
    for boundary in ('boundary="a;b"', 'charset=hex; Boundary="a;b"; x=y'):
        status, page = served("POST", "/admin/login/", f"multipart/form-data; {boundary}", body=body)
        assert (status, b'value="root"' in page) == (200, True)


@pytest.mark.parametrize("value", [{"$gt": ""}, {"$ne": None}, {"$regex": ".*"}])
def test_an_operator_signs_nobody_in_and_finds_nobody(asha, value):
    answer = Api()("POST", "/api/patients/login", {"email": value, "password": value})
    assert answer.status_code == 400
    assert Patient.objects.mongo_find_one({"emailLower": {"$eq": value}}) is None
