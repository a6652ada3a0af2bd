"""Whether MongoDB answers, and whether it is one that this service can use."""

from __future__ import annotations

import re
from typing import Any

import pymongo
from django.db import DatabaseError, connection
from pymongo.errors import PyMongoError

LONGEST_DATABASE_NAME_BYTES = 63  # MongoDB's limit, which the driver does not know
_SET_NAME = re.compile(r"replicaSet=[^&]*&?", re.IGNORECASE)


def answers(seconds: float = 1.0) -> bool:
    """Whether MongoDB answers a ping within ``seconds``, the choice of a server included.

    A thread's first connection fails with Django's errors, the ping itself with the driver's.
    """
    try:
        with pymongo.timeout(seconds):
            connection.ensure_connection()
            connection.database.command("ping")  # type: ignore[attr-defined]
    except (DatabaseError, PyMongoError):
        return False
    return True


def check_names(uri: str, database: str, options: dict[str, Any]) -> None:
    """Have the driver read ``uri``, the files that it names, and the database's name. Connects nowhere.

    Raises:
        ValueError, OSError: no client can be made of that.
    """
    try:
        with pymongo.MongoClient[dict[str, Any]](uri, connect=False, **options) as client:
            client.get_database(database)
    except PyMongoError as refusal:
        raise ValueError(str(refusal)) from refusal
    if len(database.encode()) > LONGEST_DATABASE_NAME_BYTES:
        raise ValueError(f"A database's name has at most {LONGEST_DATABASE_NAME_BYTES} bytes.")


def lacks_transactions(uri: str, seconds: float = 2.0) -> bool:
    """Whether the server at ``uri`` answers, and is no member of a replica set (nor a mongos).

    A client that is told a set's name never finds a server that has none, so this one is not told.
    """
    alone = "," not in uri and not uri.startswith("mongodb+srv")
    options: dict[str, Any] = {"directConnection": True} if alone else {}
    try:
        with pymongo.MongoClient[dict[str, Any]](
            _SET_NAME.sub("", uri), serverSelectionTimeoutMS=int(seconds * 1000), **options
        ) as client:
            hello = client.admin.command("hello")
    except PyMongoError:
        return False
    return "setName" not in hello and hello.get("msg") != "isdbgrid"
