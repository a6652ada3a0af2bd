"""Checks of settings that only hold together."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from .limits import DELIVERY_LIMIT


@register()
def check_events(**_: Any) -> list[CheckMessage]:
    """A publisher gives a batch up while it is still its own; a crash of a consumer costs no message its life."""
    found: list[CheckMessage] = []
    if settings.EVENTS_CONFIRM_SECONDS >= settings.EVENTS_LEASE_SECONDS:
        found.append(
            Error(
                "EVENTS_CONFIRM_SECONDS is not shorter than EVENTS_LEASE_SECONDS: another publisher would send the "
                "rows of one that still waits for its confirms.",
                hint=f"Set it below {settings.EVENTS_LEASE_SECONDS}, or lengthen the lease.",
                id="events.E001",
            )
        )
    if settings.EVENTS_PREFETCH > DELIVERY_LIMIT:
        found.append(
            Error(
                f"EVENTS_PREFETCH is above the queue's delivery limit of {DELIVERY_LIMIT}: what a crashing consumer "
                "had taken and not looked at would be dead before a healthy one reached it.",
                hint=f"Set it to {DELIVERY_LIMIT} or less.",
                id="events.E002",
            )
        )
    return found
