"""Errors to Sentry, with nothing that a caller typed: where it happened and for which request, not with what."""

import re
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.types import Event, Hint

from booking_service.api.request_id import current_request_id

EVENT_NAME = re.compile(r"[a-z][a-z_ ]{0,60}")


def start(*, dsn: str, environment: str, release: str, **options: Any) -> None:
    """Send unhandled exceptions and logged errors to ``dsn``. ``options`` are for tests.

    Who calls is not collected unless asked for, and `scrubbed` takes out what is.
    """
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        integrations=[DjangoIntegration(transaction_style="url", middleware_spans=False, signals_spans=False)],
        max_request_body_size="never",
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=scrubbed,
        **options,
    )


def name_of(record: Any) -> str:
    """The name of an event that we logged, a constant such as `delivery_dead`; nothing of what others say.

    Sentry groups by it: what is logged without an exception would be one issue a module otherwise.
    """
    event = record.msg.get("event") if isinstance(getattr(record, "msg", None), dict) else None
    return event if isinstance(event, str) and EVENT_NAME.fullmatch(event) else ""


def scrubbed(event: Event, hint: Hint) -> Event:
    """The event without personal text: a driver's or a library's message may quote what it was given."""
    for callers in ("user", "breadcrumbs", "extra", "request"):
        event.pop(callers, None)  # type: ignore[misc]  # mypy wants the keys of a TypedDict spelt out
    for error in (event.get("exception") or {}).get("values", []):
        error.pop("value", None)
    if isinstance(event.get("logentry"), dict):
        event["logentry"] = {"message": name_of(hint.get("log_record")) or str(event.get("logger", "log"))}
    event.setdefault("tags", {})["requestId"] = current_request_id()
    return event
