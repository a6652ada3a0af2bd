"""How a partner is called: one request, a deadline for all of it, a breaker around it, an answer as agreed or none.

Every call here may be repeated without harm (a GET, or a POST with an idempotency key), so a failure that came quickly
is tried once more within the same deadline. A call that ran out of time is not: there is no time left for it.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

import requests
import structlog
import urllib3
from django.conf import settings

from booking_service.api.bulkhead import Bulkhead, Busy
from booking_service.api.request_id import HEADER as REQUEST_ID_HEADER
from booking_service.api.request_id import current_request_id
from booking_service.operations import metrics
from booking_service.partners.answers import Answer
from booking_service.partners.breaker import BreakerState, CircuitOpen, PartnerBreaker, Permit
from booking_service.partners.deadline import Deadline, DeadlineAdapter
from booking_service.partners.exceptions import PartnerFault, PartnerRefused, PartnerUnavailable
from booking_service.partners.service_token import service_token

log = structlog.get_logger(__name__)

STAND_IN_HEADER = "X-Stand-In"
LONGEST_RETRY_AFTER_SECONDS = 300
BYTES_BESIDES = 65_536  # of a call's answers that are no body: heads, the sizes of chunks, an answer that failed
PLACE_SECONDS = 0.25  # longer than a healthy partner takes, shorter than anybody minds
_SECONDS = re.compile("[0-9]{1,6}")
_RETRYABLE_STATUSES = frozenset({500, 502, 503, 504})
_OUR_TOKEN_REJECTED = frozenset({401, 403})  # as while SERVICE_SECRET is being replaced: it says nothing of the request
_PAUSE_BEFORE_RETRY_SECONDS = (0.05, 0.15)

T = TypeVar("T")
_thread = threading.local()
_clients: dict[str, PartnerClient] = {}


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class PartnerClient:
    """The one way to a partner. `url_setting` names the setting that holds its address."""

    def __init__(self, name: str, *, url_setting: str, unavailable: type[PartnerUnavailable]) -> None:
        self.name = name
        self._url_setting = url_setting
        self._unavailable = unavailable
        # A partner that hangs must not hold every thread of a web process.
        self._bulkhead = Bulkhead("PARTNER_CALLS_AT_ONCE", seconds=PLACE_SECONDS)
        _clients[name] = self

    @cached_property
    def breaker(self) -> PartnerBreaker:
        """This process's breaker for the partner."""
        metrics.PARTNER_BREAKER_STATE.labels(self.name).set(0)
        return PartnerBreaker(
            self.name,
            failure_threshold=settings.PARTNER_BREAKER_FAILURES,
            recovery_seconds=settings.PARTNER_BREAKER_SECONDS,
            on_change=self._breaker_changed,
        )

    def get(self, path: str, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the answer; its `ValueError` means that the partner broke the contract.

        Raises `PartnerUnavailable` (a subclass of the partner's) or `PartnerRefused`.
        """
        return self._call(_Call("GET", path), read)

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Answer], T], *, idempotency_key: str) -> T:
        """As `get`. The partner must treat a second call with the same key as the first."""
        return self._call(_Call("POST", path, body, {"Idempotency-Key": idempotency_key}), read)

    def _call(self, call: _Call, read: Callable[[Answer], T]) -> T:
        started = time.monotonic()
        outcome = "ok"
        try:
            with self._bulkhead.place():
                return self._guarded(call, read)
        except Busy:  # it says nothing of the partner
            outcome = "full"
            raise self._unavailable(retry_after=1) from None
        except CircuitOpen as error:
            outcome = "open"
            raise self._unavailable(retry_after=error.retry_after) from None
        except PartnerFault as fault:
            outcome = fault.reason
            log.warning("partner_call_failed", partner=self.name, reason=fault.reason, method=call.method)
            raise self._unavailable(retry_after=fault.retry_after) from None
        except PartnerUnavailable:
            outcome = "rejected"
            raise
        except PartnerRefused as refusal:
            outcome = "refused"
            log.warning("partner_refused", partner=self.name, status=refusal.partner_status, method=call.method)
            raise
        finally:
            metrics.PARTNER_CALLS.labels(self.name, outcome).inc()
            metrics.PARTNER_SECONDS.labels(self.name).observe(time.monotonic() - started)

    def _guarded(self, call: _Call, read: Callable[[Answer], T]) -> T:
        most_bytes = settings.PARTNER_ANSWER_MAX_BYTES + BYTES_BESIDES
        deadline = Deadline(settings.PARTNER_DEADLINE_SECONDS, settings.PARTNER_CONNECT_SECONDS, most_bytes)
        with self.breaker.guard() as permit, deadline.applied():
            status, body = self._attempt_twice(call, deadline, permit)
            if status < 400:
                return _understood(body, read)
        if status in _OUR_TOKEN_REJECTED:
            log.error("partner_rejects_our_token", partner=self.name, status=status)
            raise self._unavailable()
        raise PartnerRefused(self.name, status, _refusal_code(body))

    def _attempt_twice(self, call: _Call, deadline: Deadline, permit: Permit) -> tuple[int, bytes]:
        try:
            return self._attempt(call, deadline)
        except PartnerFault as fault:
            pause = random.uniform(*_PAUSE_BEFORE_RETRY_SECONDS)  # noqa: S311 - jitter, not a secret
            if permit.is_probe or not fault.retryable or deadline.remaining <= pause:
                raise
            time.sleep(pause)
            return self._attempt(call, deadline)

    def _attempt(self, call: _Call, deadline: Deadline) -> tuple[int, bytes]:
        try:
            with self._send(call, deadline) as response:
                _check_head(response)
                return response.status_code, _body(response)
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            # A connection that took too long may leave time for another; an answer that did, does not.
            raise PartnerFault("timeout", retryable=True) from None
        except (requests.ConnectionError, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            raise PartnerFault("connection", retryable=True) from None
        except (ValueError, ArithmeticError):  # a head that a library stumbles over
            raise PartnerFault("answer") from None

    def _send(self, call: _Call, deadline: Deadline) -> requests.Response:
        return _session().request(
            call.method,
            getattr(settings, self._url_setting).rstrip("/") + call.path,
            data=None if call.body is None else json.dumps(call.body, default=_plain),
            headers={**_headers(call), **call.headers},
            timeout=(settings.PARTNER_CONNECT_SECONDS, max(deadline.remaining, 0.001)),
            allow_redirects=False,
            stream=True,
            verify=settings.PARTNER_CA_BUNDLE or True,
        )

    def _breaker_changed(self, state: BreakerState) -> None:
        metrics.PARTNER_BREAKER_STATE.labels(self.name).set(list(BreakerState).index(state))
        if state is BreakerState.OPEN:
            metrics.PARTNER_BREAKER_OPENED.labels(self.name).inc()
        log.warning("partner_breaker_changed", partner=self.name, state=state.value)


def breaker_states() -> dict[str, str]:
    """For `/health`: each partner's breaker in this process, `closed`, `half_open` or `open`."""
    return {name: client.breaker.state.value for name, client in sorted(_clients.items())}


def breakers_reset() -> None:
    """Closes every breaker of this process."""
    for client in _clients.values():
        client.breaker.reset()


class _Session(requests.Session):
    """Follows nobody: even when told not to, requests reads the whole body of a redirect and where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _session() -> requests.Session:
    """This thread's session: no proxies, credentials or certificates from the environment, no cookies kept."""
    session: requests.Session | None = getattr(_thread, "session", None)
    if session is None:
        session = _Session()
        session.trust_env = False
        session.mount("http://", DeadlineAdapter())
        session.mount("https://", DeadlineAdapter())
        _thread.session = session
    session.cookies.clear()
    return session


def _headers(call: _Call) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": settings.SERVICE_NAME}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if settings.SERVICE_SECRET:
        headers["X-Service-Token"] = service_token()
    if request_id := current_request_id():
        headers[REQUEST_ID_HEADER] = request_id
    return headers


def _plain(value: object) -> object:
    """Money goes out as a JSON number; amounts have two decimals at most, which a float shows exactly."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to a partner")


def _check_head(response: requests.Response) -> None:
    """Raises for a status or a header that makes the answer useless, before any of its body is read."""
    status = response.status_code
    if status == 429:
        raise PartnerFault("busy", retry_after=_retry_after(response))
    if status >= 500:
        raise PartnerFault("status", retryable=status in _RETRYABLE_STATUSES, retry_after=_retry_after(response))
    if not 200 <= status < 300 and not 400 <= status < 500:
        raise PartnerFault("answer")
    if settings.PRODUCTION and STAND_IN_HEADER in response.headers:
        raise PartnerFault("stand_in")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise PartnerFault("answer")


def _body(response: requests.Response) -> bytes:
    """The body, if it is no longer than allowed; the rest of a longer one is never read."""
    limit: int = settings.PARTNER_ANSWER_MAX_BYTES
    body = b""
    while chunk := response.raw.read(limit + 1 - len(body), decode_content=False):
        body += chunk
        if len(body) > limit:
            raise PartnerFault("answer")
    return body


def _understood(body: bytes, read: Callable[[Answer], T]) -> T:
    try:
        return read(Answer.of(json.loads(body, parse_float=Decimal, parse_constant=_no_constant)))
    except (ValueError, RecursionError, ArithmeticError):
        raise PartnerFault("answer") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _refusal_code(body: bytes) -> str:
    """The partner's error code, when it has the platform's shape; its sentences are not taken over."""
    try:
        code = json.loads(body).get("code", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return code if isinstance(code, str) and code.isidentifier() and len(code) <= 64 else ""


def _retry_after(response: requests.Response) -> int | None:
    text = response.headers.get("Retry-After", "")
    return min(max(int(text), 1), LONGEST_RETRY_AFTER_SECONDS) if _SECONDS.fullmatch(text) else None
