"""MongoDB's driver errors as Django's, so that no app needs to know the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, IntegrityError, OperationalError
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, PyMongoError

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
DUPLICATE_KEY = 11000


class StillInConflict(OperationalError):
    """A transaction met other transactions for as long as it was tried again. Nothing of it was written."""


def translated(error: PyMongoError) -> DatabaseError:
    """The Django error that says what `error` says: IntegrityError for a duplicate key, OperationalError where MongoDB
    cannot be reached or asks for a retry, DatabaseError for the rest. The cause stays attached by the caller."""
    if isinstance(error, DuplicateKeyError) or is_duplicate_in_bulk(error):
        return IntegrityError("duplicate key")
    if (
        isinstance(error, ConnectionFailure)
        or error.has_error_label(TRANSIENT)
        or error.has_error_label(UNKNOWN_COMMIT)
    ):
        return OperationalError("MongoDB is not reachable or asks for a retry")
    return DatabaseError("MongoDB refused the operation")


def is_duplicate_in_bulk(error: PyMongoError) -> bool:
    """Whether a bulk write failed on a unique index."""
    if not isinstance(error, BulkWriteError):
        return False
    return any(write_error.get("code") == DUPLICATE_KEY for write_error in error.details.get("writeErrors", ()))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise driver errors of the block as Django's, with the original as `__cause__`."""
    try:
        yield
    except PyMongoError as error:
        raise translated(error) from error


def driver_error(error: BaseException | None) -> PyMongoError | None:
    """The driver's error that `error` is or was raised from, if any."""
    while error is not None and not isinstance(error, PyMongoError):
        error = error.__cause__
    return error


def is_transient(error: BaseException) -> bool:
    """Whether running the whole transaction again may succeed (a write conflict, an election, a lost connection)."""
    cause = driver_error(error)
    return cause is not None and cause.has_error_label(TRANSIENT)


def duplicate_keys(error: BaseException) -> list[dict[str, Any]]:
    """The key values that collided, one document for each duplicate: `[{"_id": "provider:…:123"}]`."""
    cause = driver_error(error)
    if isinstance(cause, BulkWriteError):
        return [w.get("keyValue", {}) for w in cause.details.get("writeErrors", ()) if w.get("code") == DUPLICATE_KEY]
    if isinstance(cause, DuplicateKeyError):
        return [(cause.details or {}).get("keyValue", {})]
    return []


def is_unreachable(error: BaseException) -> bool:
    """Whether MongoDB could not be reached at all."""
    return isinstance(driver_error(error), ConnectionFailure)
