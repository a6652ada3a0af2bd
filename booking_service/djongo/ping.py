"""Whether MongoDB answers."""

from __future__ import annotations

import pymongo
from django.db import connection
from pymongo.errors import PyMongoError


def answers(seconds: float = 1.0) -> bool:
    """Whether MongoDB answers a ping within ``seconds``, the choice of a server included."""
    try:
        with pymongo.timeout(seconds):
            connection.ensure_connection()
            connection.database.command("ping")  # type: ignore[attr-defined]
    except PyMongoError:
        return False
    return True
