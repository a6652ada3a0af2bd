"""Makes a MongoDB server the one node of a replica set, which transactions need."""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

NOT_YET_INITIALIZED = 94


def primary_ensure(uri: str, seconds: float = 30.0) -> None:
    """Return once the server at `uri` takes writes as the primary of its own one-node set.

    Initiates the set on the first start. A server whose data was written on another port finds itself missing from its
    own configuration; that one is rewritten. Raises TimeoutError when it is no primary after `seconds`.
    """
    address = urlsplit(uri).netloc
    deadline = time.monotonic() + seconds
    with MongoClient[dict[str, object]](address, directConnection=True, serverSelectionTimeoutMS=500) as client:
        while time.monotonic() < deadline:
            with suppress(PyMongoError):  # still starting or electing; the deadline decides
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
                _configure(client, address)
            time.sleep(0.05)
    raise TimeoutError(f"MongoDB at {address} is no primary after {seconds:.0f} s.")


def _configure(client: MongoClient[dict[str, object]], address: str) -> None:
    members = [{"_id": 0, "host": address}]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as failure:
        if failure.code == NOT_YET_INITIALIZED:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            return
        raise
    if [member["host"] for member in config["members"]] != [address]:
        moved = {**config, "members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", moved, force=True)
