"""How many messages wait in RabbitMQ, as a consumer saw it last: for staff, as a web process never asks the broker."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from django.core.cache import cache
from redis import RedisError

log = structlog.get_logger(__name__)

KEY = "events:depths"
LOOK_SECONDS = 15.0
KEEP_SECONDS = 60  # then no consumer runs, and what the last one saw is no longer worth telling


def note(depths: Mapping[str, int]) -> None:
    """Tell of what waits in each queue. Without Redis nobody is told, and the consumer goes on."""
    try:
        cache.set(KEY, dict(depths), KEEP_SECONDS)
    except RedisError as error:
        log.warning("depths_not_noted", error=type(error).__name__)


def noted() -> dict[str, int]:
    """What waits in each queue; empty when no consumer has told lately, without Redis, or for another shape."""
    try:
        return {str(queue): int(depth) for queue, depth in dict(cache.get(KEY) or {}).items()}
    except (RedisError, TypeError, ValueError):
        return {}
