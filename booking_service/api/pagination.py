"""``page`` and ``limit``, strictly: outside of the range is a refusal, not a silent clamp."""

import re
from dataclasses import dataclass

from django.http import QueryDict
from rest_framework.request import Request

from booking_service.api.errors import FieldError, InvalidInput

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# Beyond this MongoDB's skip would overflow; no list is that long.
MAX_PAGE = 1_000_000_000

_WHOLE_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Page:
    """The page asked for, counted from 1, and how many items a page has."""

    number: int
    limit: int

    @property
    def skip(self) -> int:
        """How many items come before this page."""
        return (self.number - 1) * self.limit


def page_from(request: Request) -> Page:
    """The page that the query asks for. Raises InvalidInput outside of ``page`` ≥ 1 and ``limit`` 1 to 100."""
    query = request.query_params
    if not query:
        return Page(1, DEFAULT_LIMIT)
    errors: list[FieldError] = []
    number = _number(query, "page", default=1, maximum=MAX_PAGE, errors=errors)
    limit = _number(query, "limit", default=DEFAULT_LIMIT, maximum=MAX_LIMIT, errors=errors)
    if errors:
        raise InvalidInput(errors=errors)
    return Page(number, limit)


def pagination(page: Page, total: int) -> dict[str, int]:
    """The envelope's ``pagination`` for a list of ``total`` items."""
    return {"page": page.number, "limit": page.limit, "total": total, "pages": -(-total // page.limit)}


def _number(query: QueryDict, name: str, *, default: int, maximum: int, errors: list[FieldError]) -> int:
    given = query.getlist(name)
    if not given:
        return default
    if len(given) == 1 and _WHOLE_NUMBER.fullmatch(given[0]) and 1 <= int(given[0]) <= maximum:
        return int(given[0])
    errors.append(FieldError(name, f"Give one whole number from 1 to {maximum}.", "OUT_OF_RANGE"))
    return default
