"""A partner's client against servers that behave as no partner should: every caller gets its answer in time."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import jwt
import pytest
import requests
from bson import ObjectId
from prometheus_client import REGISTRY

from booking_service.api.request_id import bind_request_id
from booking_service.partners import breaker_states, payments
from booking_service.partners.client import breakers_reset
from booking_service.partners.exceptions import PartnerRefused, PaymentServiceDown
from tests.integration.partners import servers

LIMIT_SECONDS = 5
BOOKING, PATIENT = ObjectId(), ObjectId()
ORDER = {
    "orderId": "order_1",
    "bookingId": str(BOOKING),
    "amount": 678.5,
    "currency": "INR",
    "status": "OPEN",
    "checkoutUrl": "https://pay.example/order_1",
    "expiresAt": "2026-11-22T10:00:00Z",
}


def open_order(key: str = "key-1") -> payments.PaymentOrder:
    return payments.order_open(
        booking_id=BOOKING, patient_id=PATIENT, amount=Decimal("678.50"), currency="INR", idempotency_key=key
    )


def calls(outcome: str) -> float:
    labels = {"partner": "payments", "outcome": outcome}
    return REGISTRY.get_sample_value("booking_partner_calls_total", labels) or 0


@pytest.fixture
def payment_service(partner, settings):
    server = partner(servers.answers(ORDER))
    settings.PAYMENT_SERVICE_URL = server.url
    return server


def test_it_sends_who_asks_and_what_for(payment_service, settings):
    bind_request_id("story-of-a-booking")

    open_order("key-7")

    (request,) = payment_service.requests
    assert (request.method, request.path) == ("POST", "/api/payments/orders")
    assert request.json == {
        "bookingId": str(BOOKING),
        "patientId": str(PATIENT),
        "amount": 678.5,
        "currency": "INR",
    }
    assert request.headers["idempotency-key"] == "key-7"
    assert request.headers["x-request-id"] == "story-of-a-booking"
    assert "cookie" not in request.headers
    claims = jwt.decode(request.headers["x-service-token"], settings.SERVICE_SECRET, algorithms=["HS256"])
    assert claims["type"] == "service"
    assert claims["serviceName"] == "patient-booking-service"


def test_it_keeps_one_connection_a_thread(payment_service):
    for _ in range(5):
        open_order()

    assert len(payment_service.requests) == 5
    assert payment_service.connections == 1


def test_an_unreadable_header_of_a_partner_is_not_logged(payment_service, caplog):
    def odd(connection, partner):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Note Asha Rao 9876543210\r\n\r\n{}")

    payment_service.behave(odd)

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert "Asha" not in caplog.text


def test_it_sends_no_cookie_that_a_partner_set(payment_service):
    payment_service.behave(servers.answers(ORDER, Set_Cookie="session=1; Path=/"))
    open_order()
    open_order()

    assert "cookie" not in payment_service.requests[-1].headers


def test_it_uses_no_proxy_from_the_environment(payment_service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert open_order().id == "order_1"


SLOW = [
    servers.hangs,
    servers.drips_status,
    servers.drips_headers,
    servers.drips_body,
    servers.drips_chunks,
    servers.continues_forever,
]


@pytest.mark.parametrize("behaviour", SLOW, ids=lambda b: b.__name__)
def test_a_slow_partner_holds_no_caller_longer_than_the_deadline(payment_service, settings, behaviour):
    settings.PARTNER_DEADLINE_SECONDS = 1.0
    payment_service.behave(behaviour)
    before = calls("timeout")
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert time.monotonic() - started < 2
    assert len(payment_service.requests) == 1, "a call that ran out of time is not made again"
    assert calls("timeout") == before + 1


BROKEN = [
    servers.resets,
    servers.sends_html,
    servers.sends_a_gigabyte,
    servers.sends_a_chunked_gigabyte,
    servers.sends_a_chunk_of_minus_one,
    servers.sends_a_gigabyte_after_the_last_chunk,
    servers.sends_endless_headers,
    servers.closes_in_the_middle,
    servers.speaks_no_http,
    servers.redirects_with_a_gigabyte,
    servers.refuses("302 Found", Location="http://[::1"),
    servers.refuses("429 Later", Retry_After="9" * 5000),
    servers.refuses("200 OK", b'{"success": true, "data": {"amount": 1e99999999999999999999}}'),
    servers.refuses("200 OK", b'{"success": true, "data": {"orderId": "\\ud800", "checkoutUrl": "https://x"}}'),
    servers.refuses("429 Too Many Requests"),
    servers.refuses("500 Internal Server Error"),
    servers.refuses("503 Service Unavailable"),
    servers.refuses("304 Not Modified"),
    servers.answers(ORDER, Content_Encoding="gzip"),
    servers.answers([]),
    servers.answers({**ORDER, "amount": "678.50"}),
    servers.answers({**ORDER, "amount": 1}),
    servers.answers({**ORDER, "bookingId": str(ObjectId())}),
    servers.answers({**ORDER, "currency": "USD"}),
    servers.answers({**ORDER, "status": "PERHAPS"}),
    servers.answers({**ORDER, "checkoutUrl": "javascript:alert(1)"}),
    servers.refuses("200 OK", b'{"success": true, "data": {"amount": NaN}}'),
    servers.refuses("200 OK", b"[" * 60_000),
    servers.refuses("204 No Content", b""),
]


@pytest.mark.parametrize("behaviour", BROKEN)
def test_a_useless_answer_is_a_503_within_the_deadline(payment_service, behaviour):
    payment_service.behave(behaviour)
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown) as refusal:
        open_order()

    assert time.monotonic() - started < LIMIT_SECONDS
    assert refusal.value.status == 503
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "behaviour",
    [
        servers.sends_a_gigabyte,
        servers.sends_a_chunked_gigabyte,
        servers.sends_a_chunk_of_minus_one,
        servers.sends_a_gigabyte_after_the_last_chunk,
        servers.redirects_with_a_gigabyte,
        servers.sends_endless_headers,
    ],
    ids=lambda b: b.__name__,
)
def test_a_gigabyte_is_not_read(payment_service, behaviour):
    import resource

    payment_service.behave(behaviour)
    before, timeouts = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, calls("timeout")

    for _ in range(3):
        with pytest.raises(PaymentServiceDown):
            open_order()

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"
    assert calls("timeout") == timeouts, "it ends by its size"


def test_it_follows_no_redirect(payment_service, partner):
    elsewhere = partner(servers.answers(ORDER))
    payment_service.behave(servers.redirects_to(elsewhere.url + "/api/payments/orders"))

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "behaviour",
    [servers.resets, servers.closes_in_the_middle, servers.refuses("500 Oops"), servers.refuses("503 Later")],
)
def test_it_tries_a_quick_failure_once_more_with_the_same_key(payment_service, behaviour):
    payment_service.behave(behaviour, servers.answers(ORDER))

    assert open_order().id == "order_1"

    first, second = payment_service.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert breaker_states()["payments"] == "closed"


def test_it_tries_at_most_twice(payment_service):
    payment_service.behave(servers.refuses("500 Oops"))

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert len(payment_service.requests) == 2


def test_it_survives_a_kept_connection_that_the_partner_has_closed(payment_service):
    def answers_and_closes(connection, server):
        servers.answers(ORDER)(connection, server)
        connection.shutdown(socket.SHUT_RDWR)

    payment_service.behave(answers_and_closes)

    assert [open_order().id for _ in range(5)] == ["order_1"] * 5


def test_it_does_not_press_a_partner_that_is_too_busy(payment_service):
    payment_service.behave(servers.refuses("429 Too Many Requests", Retry_After="17"))

    with pytest.raises(PaymentServiceDown) as refusal:
        open_order()

    assert len(payment_service.requests) == 1
    assert refusal.value.retry_after == 17


@pytest.mark.parametrize(("said", "taken"), [("999999", 300), ("0", 1), ("soon", 30), ("-5", 30), ("9" * 5000, 30)])
def test_it_takes_a_sane_retry_after_only(payment_service, said, taken):
    payment_service.behave(servers.refuses("429 Too Many Requests", Retry_After=said))

    with pytest.raises(PaymentServiceDown) as refusal:
        open_order()

    assert refusal.value.retry_after == taken


def test_a_refusal_is_told_apart_and_does_not_open_the_breaker(payment_service):
    body = b'{"success": false, "message": "card of Asha Rao declined", "code": "AMOUNT_TOO_LARGE"}'
    payment_service.behave(servers.refuses("422 Unprocessable", body))

    for _ in range(6):
        with pytest.raises(PartnerRefused) as refusal:
            open_order()

    assert (refusal.value.partner_status, refusal.value.partner_code) == (422, "AMOUNT_TOO_LARGE")
    assert "Asha" not in str(refusal.value) + str(refusal.value.details)
    assert breaker_states()["payments"] == "closed"
    assert len(payment_service.requests) == 6, "a refusal is not tried again"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"code": 5}', b'{"code": "<script>"}', b""])
def test_a_refusal_without_a_usable_code_has_none(payment_service, body):
    payment_service.behave(servers.refuses("404 Not Found", body))

    with pytest.raises(PartnerRefused) as refusal:
        open_order()

    assert refusal.value.partner_code == ""


def test_nobody_listening_is_a_503_at_once(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.PAYMENT_SERVICE_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert time.monotonic() - started < 1


def test_an_unknown_host_is_a_503(settings):
    settings.PAYMENT_SERVICE_URL = "http://no-such-host.invalid"
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert time.monotonic() - started < LIMIT_SECONDS


def test_a_host_that_accepts_no_connection_costs_two_connect_times_at_most(settings):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        settings.PAYMENT_SERVICE_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()

        with pytest.raises(PaymentServiceDown):
            open_order()

        assert 1 <= time.monotonic() - started < 3.1
        for filler in fillers:
            filler.close()


def test_the_breaker_opens_after_five_failed_calls(payment_service):
    payment_service.behave(servers.refuses("500 Oops"))
    opened_before = REGISTRY.get_sample_value("booking_partner_breaker_opened_total", {"partner": "payments"}) or 0
    for _ in range(5):
        with pytest.raises(PaymentServiceDown):
            open_order()
    assert breaker_states()["payments"] == "open"
    made = len(payment_service.requests)
    started = time.monotonic()

    for _ in range(100):
        with pytest.raises(PaymentServiceDown) as refusal:
            open_order()

    assert len(payment_service.requests) == made, "an open breaker makes no call"
    assert time.monotonic() - started < 1
    assert 1 <= refusal.value.retry_after <= 30
    assert REGISTRY.get_sample_value("booking_partner_breaker_state", {"partner": "payments"}) == 2
    assert (
        REGISTRY.get_sample_value("booking_partner_breaker_opened_total", {"partner": "payments"}) == opened_before + 1
    )


def test_one_partner_down_leaves_the_others_alone(payment_service):
    payment_service.behave(servers.refuses("500 Oops"))
    for _ in range(5):
        with pytest.raises(PaymentServiceDown):
            open_order()

    assert breaker_states() == {"main_api": "closed", "notifications": "closed", "payments": "open"}


@pytest.fixture
def cooled_down(payment_service, monkeypatch):
    """The breaker has opened, and its 30 seconds are over."""
    now = [time.monotonic()]
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: now[0])
    payment_service.behave(servers.refuses("500 Oops"))
    for _ in range(5):
        with pytest.raises(PaymentServiceDown):
            open_order()
    payment_service.requests.clear()
    now[0] += 30
    return payment_service


def call_in_threads(count: int) -> list[str]:
    start = threading.Barrier(count)

    def call(_: int) -> str:
        start.wait()
        try:
            return open_order().id
        except PaymentServiceDown:
            return "down"

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_fifty_threads_send_one_probe_to_a_partner_that_is_still_down(cooled_down):
    def fails_slowly(connection, server):
        time.sleep(0.5)
        servers.refuses("500 Oops")(connection, server)

    cooled_down.behave(fails_slowly)

    assert call_in_threads(50) == ["down"] * 50

    assert len(cooled_down.requests) == 1, "the probe itself is not tried again"
    assert breaker_states()["payments"] == "open"


def test_one_probe_that_succeeds_closes_the_breaker(cooled_down):
    def answers_slowly(connection, server):
        time.sleep(0.5)
        servers.answers(ORDER)(connection, server)

    cooled_down.behave(answers_slowly, servers.answers(ORDER))

    outcomes = call_in_threads(50)

    assert outcomes.count("order_1") >= 1
    assert len(cooled_down.requests) == outcomes.count("order_1")
    assert breaker_states()["payments"] == "closed"
    assert open_order().id == "order_1"


def test_fifty_callers_of_a_partner_that_hangs_all_end_in_time(payment_service, settings):
    payment_service.behave(servers.hangs)
    started = time.monotonic()

    assert call_in_threads(50) == ["down"] * 50

    assert time.monotonic() - started < LIMIT_SECONDS
    while len(payment_service.requests) < settings.PARTNER_BREAKER_FAILURES:
        assert call_in_threads(1) == ["down"]  # only half of the threads may wait at once, which may be fewer
    assert breaker_states()["payments"] == "open"


def test_a_partner_that_hangs_holds_half_of_the_threads_at_most(payment_service, settings):
    settings.PARTNER_DEADLINE_SECONDS = 1.0
    allowed = settings.PARTNER_CALLS_AT_ONCE
    payment_service.behave(servers.hangs)
    full_before = calls("full")

    assert call_in_threads(50) == ["down"] * 50

    assert allowed == settings.WEB_THREADS // 2
    assert len(payment_service.requests) <= allowed
    assert calls("full") - full_before >= 50 - allowed - 1
    payment_service.behave(servers.answers(ORDER))
    breakers_reset()
    assert open_order().id == "order_1", "every place was given back"


def test_a_stand_in_is_refused_in_production(payment_service, settings):
    settings.PRODUCTION = True
    payment_service.behave(servers.answers(ORDER, X_Stand_In="true"))

    with pytest.raises(PaymentServiceDown):
        open_order()


def test_it_sends_no_token_when_it_has_no_secret(payment_service, settings):
    settings.SERVICE_SECRET = ""

    open_order()

    assert "x-service-token" not in payment_service.requests[0].headers


def test_a_plain_requests_session_would_have_been_held(payment_service):
    """Keeps the reason for our own deadline true: requests' time limit alone does not end a drip."""
    payment_service.behave(servers.drips_body)
    started = time.monotonic()

    with requests.get(payment_service.url, timeout=1, stream=True) as response:
        response.raw.read(40)

    assert time.monotonic() - started > 1.5
