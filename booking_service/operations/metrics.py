"""Every metric of this service. Right under several processes: no gauge that only one of them can know."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

# --- what /metrics shows


def exposition() -> tuple[bytes, str]:
    """What Prometheus reads, and its content type: of all processes of this pod under gunicorn, else of this one."""
    registry = CollectorRegistry()
    if values.ValueClass._multiprocess:
        MultiProcessCollector(registry)
    else:
        registry.register(REGISTRY)
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


# --- requests
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_SECONDS = Histogram(
    "booking_request_seconds",
    "Time to answer a request, by the route's template, method and status.",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@lru_cache(maxsize=2048)
def _request_seconds(route: str, method: str, status: int) -> Any:
    # Finding a labelled child costs more than counting in it.
    return REQUEST_SECONDS.labels(route, method, str(status))


def request_observe(route: str, method: str, status: int, seconds: float) -> None:
    """Count one request and its time."""
    _request_seconds(route, method, status).observe(seconds)


# --- database
DATABASE_SECONDS = Histogram(
    "booking_database_seconds",
    "Time MongoDB took for a command, by command and outcome (ok, failed).",
    ["command", "outcome"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)


@lru_cache(maxsize=256)
def _database_seconds(command: str, succeeded: bool) -> Any:
    return DATABASE_SECONDS.labels(command, "ok" if succeeded else "failed")


def command_observe(command: str, succeeded: bool, seconds: float) -> None:
    """Count one command of MongoDB and its time."""
    _database_seconds(command, succeeded).observe(seconds)


# --- bookings and the catalog
BOOKING_EVENTS = Counter(
    "booking_bookings_total", "Bookings by what happened to them and the status that followed.", ["event", "status"]
)
REFUSALS = Counter("booking_refusals_total", "Requests that were refused, by code, such as SLOT_TAKEN.", ["code"])
CACHE_LOOKUPS = Counter(
    "booking_cache_lookups_total", "Lookups in a cache by result: hit, miss, down.", ["cache", "result"]
)

# --- partners
PARTNER_CALLS = Counter(
    "booking_partner_calls_total",
    "Calls to a partner by outcome: ok, refused, rejected (our token), open or full (not made), or the failure.",
    ["partner", "outcome"],
)
PARTNER_SECONDS = Histogram(
    "booking_partner_call_seconds",
    "Time a caller spent on a call to a partner, its one retry included.",
    ["partner"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5),
)
PARTNER_BREAKER_STATE = Gauge(
    "booking_partner_breaker_state",
    "A partner's breaker, the worst of all processes: 0 closed, 1 half open, 2 open.",
    ["partner"],
    multiprocess_mode="livemax",
)
PARTNER_BREAKER_OPENED = Counter(
    "booking_partner_breaker_opened_total", "Times a partner's breaker opened.", ["partner"]
)
PROVIDER_LOOKUPS = Counter(
    "booking_provider_lookups_total",
    "Lookups of a provider: hit (cache), miss (asked), stale (main API down).",
    ["result"],
)


# --- events
def begin_at_zero(counter: Counter, *values: Iterable[str]) -> None:
    """Show `counter` for every combination of its labels' values, from the start of a process.

    A series that first appears with a count of one has not increased, so nobody would be alerted of the first dead
    message.
    """
    for labels in product(*values):
        counter.labels(*labels)


EVENTS_PUBLISHED = Counter(
    "booking_events_published_total",
    "Attempts to publish an event by what came of them: confirmed, returned (no queue), nacked, unknown (sent again).",
    ["type", "outcome"],
)
EVENTS_CONSUMED = Counter(
    "booking_events_consumed_total",
    "Messages by what came of them: done, duplicate, retried, dead.",
    ["type", "outcome"],
)
EVENTS_HANDLER_SECONDS = Histogram(
    "booking_events_handler_seconds",
    "Time from taking a message in hand to its commit.",
    ["type"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS_DELIVERED = Counter(
    "booking_events_partner_deliveries_total",
    "Calls to partners from the outbox by what came of them: done, retried, dead.",
    ["type", "outcome"],
)
