"""How the service and what it stands on are.

The broker is asked by opening a TCP connection to it and closing it again: that needs no pika in a web process, tells
of an outage within seconds even where no publisher runs, and RabbitMQ takes it for a load balancer's probe. A process
asks at most once in BROKER_SECONDS.
"""

import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from django_redis import get_redis_connection
from redis.exceptions import RedisError

from booking_service.djongo import server
from booking_service.partners import breaker_states

State = Literal["connected", "disconnected"]

BROKER_SECONDS = 5.0
BROKER_TIMEOUT = 0.5
AMQP_PORTS = {"amqp": 5672, "amqps": 5671}


def report() -> dict[str, Any]:
    """The monolith's shape, with cache, broker and the partners' breakers."""
    database, cache, broker = database_state(), cache_state(), broker_state()
    return {
        "status": _status(database, cache, broker),
        "service": settings.SERVICE_NAME,
        "version": settings.VERSION,
        "timestamp": datetime.now(UTC),
        "database": database,
        "cache": cache,
        "broker": broker,
        "partners": breaker_states(),
    }


def _status(database: State, cache: State, broker: State) -> Literal["ok", "degraded", "down"]:
    """Down without MongoDB, degraded without one of the others."""
    if database != "connected":
        return "down"
    return "ok" if cache == broker == "connected" else "degraded"


def database_state() -> State:
    """Without MongoDB nothing can be answered."""
    return "connected" if server.answers() else "disconnected"


def cache_state() -> State:
    """Without Redis everything is answered, slower."""
    try:
        get_redis_connection("default").ping()
    except RedisError:
        return "disconnected"
    return "connected"


def broker_state() -> State:
    """Without a broker events wait in the outbox."""
    return _broker.state()


class BrokerProbe:
    """Remembers its last answer for BROKER_SECONDS, so that many probes make few connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._state: State = "disconnected"

    def state(self) -> State:
        with self._lock:
            if time.monotonic() - self._asked_at > BROKER_SECONDS:
                self._state = "connected" if _accepts_connections(settings.RABBITMQ_URL) else "disconnected"
                self._asked_at = time.monotonic()
            return self._state


_broker = BrokerProbe()


def _accepts_connections(url: str) -> bool:
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or AMQP_PORTS[parts.scheme])
    try:
        socket.create_connection(address, timeout=BROKER_TIMEOUT).close()
    except OSError:
        return False
    return True
