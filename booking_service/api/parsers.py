"""JSON bodies, read with suspicion: bounded, shallow, valid UTF-8, no NUL."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.parsers import BaseParser

from booking_service.api.errors import InvalidInput

# No request of this API nests deeper than a handful of levels.
MAX_DEPTH = 16


class MalformedBody(InvalidInput):
    """The body is not a JSON document that we accept."""

    code = "MALFORMED_JSON"
    message = "The body is not valid JSON."


class JsonParser(BaseParser):
    """The only parser: another media type is a 415."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        # Read through the request, which keeps the body: Idempotency-Key hashes it.
        return decode(parser_context["request"].body if parser_context else stream.read())


def decode(body: bytes) -> Any:
    """The document in ``body``. Raises MalformedBody."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedBody from None
    # Both walks are needed by hardly any request: a body with few brackets cannot be deep.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise MalformedBody("The body is nested too deeply.")
    if b"\\u0000" in body and _has_nul(document):
        raise MalformedBody("The body has a NUL character.")
    return document


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        level = [child for value in level for child in _children(value)]
        depth += 1
    return depth


def _has_nul(document: Any) -> bool:
    pending = [document]
    while pending:
        value = pending.pop()
        texts = value.keys() if isinstance(value, dict) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            return True
        pending.extend(_children(value))
    return False
