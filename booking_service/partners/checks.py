"""Checks of the settings by which other services are called."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

URL_SETTINGS = ("MAIN_API_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL")
STAND_IN_ADDRESSES = {(host, port) for host in ("127.0.0.1", "localhost", "::1") for port in (3900, 3901, 3902)}
LONGEST_DEADLINE_SECONDS = 4.5


@register()
def check_partners(**_: Any) -> list[CheckMessage]:
    """Production calls real partners, with a token, and no call may outlive the five seconds that are promised."""
    found: list[CheckMessage] = []
    if settings.PRODUCTION:
        found += [_stand_in(name) for name in URL_SETTINGS if _names_a_stand_in(getattr(settings, name))]
    if settings.PARTNER_DEADLINE_SECONDS > LONGEST_DEADLINE_SECONDS:
        found.append(
            Error(
                "PARTNER_DEADLINE_MS is too long: every caller of a partner is to have its answer within 5 seconds.",
                hint=f"Set it to {LONGEST_DEADLINE_SECONDS * 1000:.0f} or less.",
                id="partners.E002",
            )
        )
    return found


def _names_a_stand_in(url: str) -> bool:
    return (urlsplit(url).hostname, urlsplit(url).port) in STAND_IN_ADDRESSES


def _stand_in(name: str) -> Error:
    return Error(
        f"{name} names a stand-in partner, in production.",
        hint="Give it the URL of the real service.",
        id="partners.E001",
    )
