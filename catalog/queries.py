"""What the catalog's queries may say."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from django.http import QueryDict

from booking_service.api import serializers
from booking_service.api.errors import FieldError, InvalidInput
from booking_service.api.pagination import MAX_LIMIT
from booking_service.api.unseen import as_seen
from catalog.rules import Category
from catalog.search import LONGEST_QUERY
from catalog.services import Shelf

FLAGS = {"true": True, "1": True, "false": False, "0": False}
LONGEST_CITY = 100
DEFAULT_POPULAR = 6

# A "+" that the client did not encode arrives as a blank.
_BARE_OFFSET = re.compile(r" (?=[0-9]{2}:?[0-9]{2}\Z)")
_INSTANT = serializers.InstantField()


def shelf_from(query: QueryDict) -> Shelf:
    """Which services a list's query asks for. Raises InvalidInput."""
    errors: list[FieldError] = []
    category = _category(query.get("category"), errors)
    city = as_seen(query.get("city") or "") or None  # each way to write it would be an answer of its own in the cache
    if city and len(city) > LONGEST_CITY:
        errors.append(FieldError("city", f"Use at most {LONGEST_CITY} characters.", "INVALID"))
    featured, popular = (_flag(query, name, errors) for name in ("featured", "popular"))
    if errors:
        raise InvalidInput(errors=errors)
    return Shelf(category=category, city=city, is_featured=featured, is_popular=popular)


def search_text_from(query: QueryDict) -> str:
    """The text to search for, 64 characters at most. Raises InvalidInput."""
    text = query.get("q", "").strip()
    if not text:
        raise InvalidInput(errors=[FieldError("q", "Say what to search for.", "REQUIRED")])
    if len(text) > LONGEST_QUERY:
        raise InvalidInput(errors=[FieldError("q", f"Use at most {LONGEST_QUERY} characters.", "TOO_LONG")])
    return text


def popular_limit_from(query: QueryDict) -> int:
    """How many popular services are asked for. Raises InvalidInput."""
    text = query.get("limit", str(DEFAULT_POPULAR))
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
        message = f"Give one whole number from 1 to {MAX_LIMIT}."
        raise InvalidInput(errors=[FieldError("limit", message, "OUT_OF_RANGE")])
    return int(text)


def instant_from(query: QueryDict) -> datetime:
    """The instant `at`, now if the query has none. Raises InvalidInput."""
    text = query.get("at")
    if text is None:
        return datetime.now(UTC)
    try:
        moment = _INSTANT.to_internal_value(_BARE_OFFSET.sub("+", text))
    except serializers.ValidationError as invalid:
        raise InvalidInput(errors=[FieldError("at", str(detail), "INVALID") for detail in invalid.detail]) from None
    if not 2000 <= moment.year <= 2999:
        raise InvalidInput(errors=[FieldError("at", "Give an instant of this service's time.", "OUT_OF_RANGE")])
    return moment


def _category(text: str | None, errors: list[FieldError]) -> str | None:
    if not text:
        return None
    if text.upper() not in set(Category):
        errors.append(FieldError("category", f"Use one of {', '.join(Category)}.", "UNKNOWN_CATEGORY"))
    return text.upper()


def _flag(query: QueryDict, name: str, errors: list[FieldError]) -> bool | None:
    text = query.get(name)
    if text is None:
        return None
    if text.lower() not in FLAGS:
        errors.append(FieldError(name, "Use true or false.", "INVALID"))
    return FLAGS.get(text.lower())
