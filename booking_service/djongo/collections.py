"""Collections that know the transaction they run in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions
from django.db.transaction import TransactionManagementError
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from .errors import translated, translated_errors

if TYPE_CHECKING:
    from .base import DatabaseWrapper

# Every call that takes a `session`; anything else on a pymongo collection passes through as it is.
SESSION_CALLS = frozenset(
    {
        *("aggregate", "bulk_write", "count_documents", "distinct", "find", "find_one"),
        *("delete_many", "delete_one", "insert_many", "insert_one", "replace_one", "update_many", "update_one"),
        *("find_one_and_delete", "find_one_and_replace", "find_one_and_update"),
    }
)
TIMES_WITH_ZONE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
TIMES_AS_STORED: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=False)


class SessionBoundCollection:
    """A pymongo collection whose calls join the connection's open transaction and raise Django's errors.

    Forgetting the session inside a transaction would write outside it, so passing it is not left to the caller. Cursors
    (`find`, `aggregate`) raise the driver's own errors while they are read; `errors.driver_error` knows both.
    """

    def __init__(
        self, wrapper: DatabaseWrapper, name: str, codec_options: CodecOptions[dict[str, Any]] = TIMES_WITH_ZONE
    ) -> None:
        self._wrapper = wrapper
        self._collection: Collection[dict[str, Any]] = Collection(wrapper.database, name, codec_options=codec_options)

    @functools.cached_property
    def for_display(self) -> SessionBoundCollection:
        """For documents that go out as they are: their times are naive UTC, which is a third cheaper to read and half
        as dear to write as JSON. Nobody calculates with them: comparing one with an instant of ours raises TypeError.
        """
        return SessionBoundCollection(self._wrapper, self._collection.name, TIMES_AS_STORED)

    def insert_in_transaction(self, documents: list[dict[str, Any]]) -> None:
        """Insert into the open transaction. A third cheaper than `insert_many`, whose retries can do nothing there:
        MongoDB has whole transactions retried.

        Raises:
            django.db.transaction.TransactionManagementError: there is no transaction.
            django.db.IntegrityError: a unique index has the value; `errors.duplicate_keys` tells which.
        """
        self._write({"insert": self._collection.name, "documents": documents})

    def update_in_transaction(self, where: dict[str, Any], update: dict[str, Any]) -> int:
        """Update one document in the open transaction; how many matched. Raises as `insert_in_transaction` does."""
        matched: int = self._write({"update": self._collection.name, "updates": [{"q": where, "u": update}]})["n"]
        return matched

    def _write(self, command: dict[str, Any]) -> dict[str, Any]:
        session = self._wrapper.session
        if session is None:
            raise TransactionManagementError("This write belongs into a transaction.")
        with translated_errors():
            reply: dict[str, Any] = self._wrapper.database.command(command, session=session)
            if "writeErrors" in reply:
                raise BulkWriteError(reply)
        return reply

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._collection, name)
        if name not in SESSION_CALLS:
            return attribute
        bound = self._bound(attribute)
        setattr(self, name, bound)
        return bound

    def _bound(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def with_session(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, session=self._wrapper.session, **kwargs)
            except PyMongoError as error:
                raise translated(error) from error

        return with_session


class SessionBoundDatabase:
    """`database["collection"]` for `DjongoManager`: each collection is made once per connection."""

    def __init__(self, wrapper: DatabaseWrapper) -> None:
        self._wrapper = wrapper
        self._collections: dict[str, SessionBoundCollection] = {}

    def __getitem__(self, name: str) -> SessionBoundCollection:
        if name not in self._collections:
            self._collections[name] = SessionBoundCollection(self._wrapper, name)
        return self._collections[name]
