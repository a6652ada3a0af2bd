"""Query strings, read with suspicion: what no client of this API would send is refused before it reaches anything."""

import re
from urllib.parse import unquote_to_bytes

from django.http import QueryDict

from booking_service.api.errors import FieldError, InvalidInput

MAX_LENGTH = 2000
# A key such as status[$gt] or a.b is an operator for some database, and a parameter of no endpoint here.
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class InvalidQuery(InvalidInput):
    """The query string is not one that this API understands."""

    code = "INVALID_QUERY"
    message = "The query string is not valid."


def check_query(query: str) -> None:
    """Raises InvalidQuery for a query that is too long, no UTF-8, has NUL characters or keys like ``status[$gt]``."""
    if not query:
        return
    try:
        text = unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        raise InvalidQuery("The query string is not valid UTF-8.") from None
    if len(query) > MAX_LENGTH or "\0" in text:
        raise InvalidQuery
    odd = [key for key in QueryDict(query) if not _KEY.fullmatch(key)]
    if odd:
        raise InvalidQuery(
            errors=[FieldError(key[:100], "No parameter has such a name.", "UNKNOWN_KEY") for key in odd]
        )


def single(query: QueryDict, name: str) -> str | None:
    """The one value of ``name``, None if it is not given. Raises InvalidQuery if it is given twice."""
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidQuery(errors=[FieldError(name, "Give this once.", "REPEATED")])
    return values[0] if values else None
