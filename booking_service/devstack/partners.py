"""Stand-ins for the platform's other services, so that a newcomer sees the whole circle on one machine.

    python -m booking_service.devstack.partners

The main API knows the people of `people.py`. The payment service completes an order a second after it was opened, and
its `payment.completed` comes back through RabbitMQ. The notification service sends nothing to anybody, and says that it
did. Each listens where its setting (`MAIN_API_URL`, ...) points to, if that is this machine.

They can be told to fail, at any of their addresses:

    curl -X POST localhost:3901/stand-in/fail -d '{"partner": "payments", "mode": "down"}'

with a partner (`main_api`, `payments`, `notifications`, `all`) and a mode: `ok`; `down` (connections are reset); `slow`
(answers after ten seconds); `error` (500); `reject` (422); `decline` (calls are accepted, the outcome is a failure:
`payment.failed`, `notification.failed`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jwt
from django.conf import settings

from booking_service.devstack.people import PEOPLE_BY_ID
from booking_service.devstack.stand_in_events import EventPublisher
from booking_service.devstack.stand_in_memory import Doing, Event, Memory, Order

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
URL_SETTINGS = {
    "main_api": "MAIN_API_URL",
    "payments": "PAYMENT_SERVICE_URL",
    "notifications": "NOTIFICATION_SERVICE_URL",
}
MODES = ("ok", "down", "slow", "error", "reject", "decline")
SECONDS_TO_PAY = 1.0
SECONDS_TO_SEND = 0.3
SLOW_SECONDS = 10.0
LONGEST_BODY = 65_536

Reply = tuple[int, dict[str, Any]]


class Call:
    """A request as a stand-in sees it."""

    def __init__(self, partner: StandIn, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self.partner = partner
        self.body = body
        self.key = handler.headers.get("Idempotency-Key", "")
        self.request_id = handler.headers.get("X-Request-ID", "")
        self.token = handler.headers.get("X-Service-Token", "")

    @property
    def is_from_a_service(self) -> bool:
        try:
            claims = jwt.decode(self.token, settings.SERVICE_SECRET, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return False
        return claims.get("type") == "service" and bool(claims.get("serviceName"))

    def event(self, exchange: str, name: str, **data: Any) -> Event:
        return Event(uuid.uuid4().hex, exchange, name, {"bookingId": self.body["bookingId"], **data}, self.request_id)

    def do_once(self, make: Callable[[Call], Doing]) -> Reply:
        """The answer to the call's key: the one given before, or that of what `make` says is to be done."""
        if not self.key:
            return 400, {"code": "IDEMPOTENCY_KEY_MISSING"}
        key = f"{self.partner.name}:{self.key}"
        return self.partner.memory.answer_to(key) or self.partner.memory.do_once(key, make(self))


# --- what each of them does ----------------------------------------------------------------------------------------
def provider(call: Call, provider_id: str) -> Reply:
    person = PEOPLE_BY_ID.get(provider_id)
    return (200, person.document) if person else (404, {"code": "NOT_FOUND"})


def order_opened(call: Call) -> Reply:
    return call.do_once(_open_order)


def _open_order(call: Call) -> Doing:
    order_id, transaction_id = f"order_{uuid.uuid4().hex[:16]}", f"txn_{uuid.uuid4().hex[:16]}"
    ends_at = time.time() + SECONDS_TO_PAY
    if call.partner.mode == "decline":
        ends = "FAILED"
        failed = {"transactionId": transaction_id, "orderId": order_id, "reason": "declined"}
        event = call.event("payment.events", "payment.failed", **failed)
    else:
        ends = "COMPLETED"
        paid = {"amount": call.body["amount"], "method": "UPI", "paidAt": _text(ends_at)}
        event = call.event("payment.events", "payment.completed", transactionId=transaction_id, **paid)
    call.partner.say(f"order {order_id} of {call.body['amount']} rupees ends {ends} in a second")
    data = {
        "orderId": order_id,
        "bookingId": call.body["bookingId"],
        "amount": call.body["amount"],
        "currency": call.body["currency"],
        "status": "OPEN",
        "checkoutUrl": f"{call.partner.url}/stand-in/checkout/{order_id}",
        "expiresAt": _text(ends_at + 900),
    }
    return Doing(201, data, [event], SECONDS_TO_PAY, Order(order_id, ends, ends_at, data))


def order_looked_at(call: Call, order_id: str) -> Reply:
    order = call.partner.memory.order(order_id)
    if order is None:
        return 404, {"code": "NOT_FOUND"}
    return 200, {**order.data, "status": order.ends if time.time() >= order.ends_at else "OPEN"}


def refund_requested(call: Call) -> Reply:
    return call.do_once(_refund)


def _refund(call: Call) -> Doing:
    refund_id = f"refund_{uuid.uuid4().hex[:16]}"
    refunded = {"amount": call.body["amount"], "transactionId": call.body["transactionId"], "refundId": refund_id}
    event = call.event("payment.events", "payment.refunded", **refunded, refundedAt=_text(time.time() + SECONDS_TO_PAY))
    call.partner.say(f"refund {refund_id} of {call.body['amount']} rupees arrives in a second")
    answer = {"refundId": refund_id, "bookingId": call.body["bookingId"], "amount": call.body["amount"]}
    return Doing(202, {**answer, "status": "ACCEPTED"}, [event], SECONDS_TO_PAY)


def notification_sent(call: Call) -> Reply:
    return call.do_once(_send_notification)


def _send_notification(call: Call) -> Doing:
    name = "notification.failed" if call.partner.mode == "decline" else "notification.sent"
    sent = {"kind": call.body["kind"], "sentAt": _text(time.time() + SECONDS_TO_SEND)}
    channels = call.body["channels"]
    events = [call.event("notification.events", name, channel=channel, **sent) for channel in channels]
    call.partner.say(f"{call.body['kind']} by {', '.join(channels) or 'no channel'}")
    return Doing(202, {"notificationId": f"notification_{uuid.uuid4().hex[:16]}"}, events, SECONDS_TO_SEND)


def _routes(name: str) -> list[tuple[str, str, Callable[..., Reply]]]:
    """The partner's own paths, as the settings name them."""
    everywhere: dict[str, list[tuple[str, str, Callable[..., Reply]]]] = {
        "main_api": [("GET", settings.MAIN_API_PROVIDER_PATH.replace("{id}", "([0-9a-f]{24})"), provider)],
        "payments": [
            ("POST", settings.PAYMENT_ORDERS_PATH, order_opened),
            ("GET", settings.PAYMENT_ORDERS_PATH + "/([^/]+)", order_looked_at),
            ("POST", settings.PAYMENT_REFUNDS_PATH, refund_requested),
        ],
        "notifications": [("POST", settings.NOTIFICATIONS_PATH, notification_sent)],
    }
    return everywhere[name]


# --- HTTP ----------------------------------------------------------------------------------------------------------
class StandIn(ThreadingHTTPServer):
    """One stand-in partner, listening where its setting points to."""

    daemon_threads = True
    modes: ClassVar[dict[str, str]] = dict.fromkeys(URL_SETTINGS, "ok")

    def __init__(self, name: str, memory: Memory, host: str) -> None:
        self.name = name
        self.memory = memory
        self.url: str = getattr(settings, URL_SETTINGS[name]).rstrip("/")
        self.prefix = urlsplit(self.url).path
        self.routes = _routes(name)
        super().__init__((host, urlsplit(self.url).port or 80), Handler)

    @property
    def mode(self) -> str:
        """How it behaves at the moment; one of MODES."""
        return self.modes[self.name]

    def say(self, text: str) -> None:
        print(f"stand-in {self.name}: {text}", flush=True)

    def reply_to(self, method: str, path: str, call: Call) -> Reply:
        """Its answer to a call of its own paths."""
        if not call.is_from_a_service:
            return 401, {"code": "NOT_AUTHENTICATED"}
        for route_method, pattern, function in self.routes:
            match = re.fullmatch(self.prefix + pattern, path)
            if match and route_method == method:
                return function(call, *match.groups())
        return 404, {"code": "NOT_FOUND"}


class Handler(BaseHTTPRequestHandler):
    """One connection to a stand-in."""

    server: StandIn
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(min(length, LONGEST_BODY)) or b"{}")
        except ValueError:
            return self._answer(400, {"code": "NOT_JSON"})
        return self._handle(body if isinstance(body, dict) else {})

    def _handle(self, body: dict[str, Any]) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/stand-in"):
            return self._answer(*self._control(path, body))
        mode = self.server.mode
        if mode == "down":
            return self._reset()
        if mode == "slow":
            time.sleep(SLOW_SECONDS)
        if mode in ("error", "reject"):
            return self._answer(500 if mode == "error" else 422, {"code": "STAND_IN_WAS_TOLD_TO"})
        try:
            return self._answer(*self.server.reply_to(self.command, path, Call(self.server, self, body)))
        except KeyError as missing:
            return self._answer(400, {"code": "INVALID_INPUT", "field": str(missing)})

    def _control(self, path: str, body: dict[str, Any]) -> Reply:
        if path == "/stand-in/fail" and self.command == "POST":
            names = list(URL_SETTINGS) if body.get("partner") == "all" else [body.get("partner")]
            if not set(names) <= set(URL_SETTINGS) or body.get("mode") not in MODES:
                return 400, {"code": "INVALID_INPUT", "partners": [*URL_SETTINGS, "all"], "modes": MODES}
            StandIn.modes.update(dict.fromkeys(map(str, names), body["mode"]))
            self.server.say(f"told: {StandIn.modes}")
        elif path.startswith("/stand-in/checkout/"):
            return 200, {
                "note": "A stand-in: nothing is charged. The order ends by itself a second after it was opened."
            }
        return 200, {"standIn": self.server.name, "modes": StandIn.modes}

    def _answer(self, status: int, data: dict[str, Any]) -> None:
        reply = {"success": True, "data": data} if status < 400 else {"success": False, **data}
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Stand-In", "true")
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # close() would wait for the streams on it, and say goodbye politely

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: what matters is said by `say`."""


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the process ---------------------------------------------------------------------------------------------------
def start(names: Sequence[str], memory: Memory, host: str = "") -> list[StandIn]:
    """Starts those of `names` whose settings point to this machine, or all on `host`; says why it leaves one out."""
    started = []
    for name in names:
        address = urlsplit(getattr(settings, URL_SETTINGS[name]))
        if not host and (address.hostname not in LOOPBACK or address.scheme != "http"):
            print(f"stand-in {name}: not needed, {URL_SETTINGS[name]} names a real one", flush=True)
            continue
        try:
            server = StandIn(name, memory, host or address.hostname or "")
        except OSError:
            print(f"stand-in {name}: port {address.port} is in use, set {URL_SETTINGS[name]} to another", flush=True)
            continue
        threading.Thread(target=server.serve_forever, args=(0.1,), name=name, daemon=True).start()
        server.say(f"at {server.url}")
        started.append(server)
    return started


def main(arguments: Sequence[str] | None = None) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    options = _parser().parse_args(arguments)
    if settings.PRODUCTION:
        print(
            "Stand-in partners do not run in production: MAIN_API_URL and the like name the real ones.", file=sys.stderr
        )
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    memory = Memory(options.folder / "stand-in-partners.sqlite3")
    EventPublisher(memory, settings.RABBITMQ_URL).start()
    servers = start(options.partner or list(URL_SETTINGS), memory, options.host)
    stop.wait()
    for server in servers:
        server.shutdown()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m booking_service.devstack.partners", description="Stand-in partners."
    )
    parser.add_argument("--partner", action="append", choices=list(URL_SETTINGS), help="only this one; may be repeated")
    parser.add_argument("--host", default="", help="listen here, wherever the settings point to")
    parser.add_argument("--folder", type=Path, default=settings.BASE_DIR / ".local", help="where they remember")
    return parser


if __name__ == "__main__":
    sys.exit(main())
