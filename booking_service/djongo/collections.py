"""Collections that know the transaction they run in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions, DatetimeConversion
from django.db.transaction import TransactionManagementError
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError

from .errors import translated, translated_errors

if TYPE_CHECKING:
    from .base import DatabaseWrapper

# Every call that takes a `session`; anything else on a pymongo collection passes through as it is.
SESSION_CALLS = frozenset(
    {
        *("aggregate", "bulk_write", "count_documents", "distinct", "find"),
        *("delete_many", "delete_one", "insert_many", "insert_one", "replace_one", "update_many", "update_one"),
        *("find_one_and_delete", "find_one_and_replace", "find_one_and_update"),
    }
)
# MongoDB sends no more than 101 documents at first unless it is told to.
LARGEST_PAGE = 1_000
# An instant that Python's calendar has no year for is a DatetimeMS, not an error of the whole answer.
ANY_TIME = DatetimeConversion.DATETIME_AUTO
TIMES_WITH_ZONE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, datetime_conversion=ANY_TIME)
TIMES_AS_STORED: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=False, datetime_conversion=ANY_TIME)


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

    def find_one(
        self, where: Mapping[str, Any], projection: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any] | None:
        """The first document that matches, or None; `options` are the driver's."""
        if options:
            return next(iter(self.find(where, projection, limit=-1, **options)), None)
        command: dict[str, Any] = {"find": self._collection.name, "filter": where, "limit": 1, "singleBatch": True}
        if projection is not None:
            command["projection"] = projection
        found = self._found(command)
        return next(iter(self.find(where, projection, limit=-1) if found is None else found), None)

    def aggregate_page(self, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What an aggregation yields, when that is no more than a page: it comes in one answer."""
        found = self._found(
            {"aggregate": self._collection.name, "pipeline": stages, "cursor": {"batchSize": LARGEST_PAGE}}
        )
        return list(self.aggregate(stages)) if found is None else found

    def insert(self, documents: list[dict[str, Any]]) -> None:
        """Insert; into the open transaction, if there is one, as `insert_pipelined` does."""
        if self._wrapper.in_atomic_block_mongo:
            self.insert_pipelined(documents)
        else:
            self.insert_many(documents)

    def insert_in_transaction(self, documents: list[dict[str, Any]]) -> None:
        """Insert into the open transaction.

        Raises:
            django.db.transaction.TransactionManagementError: there is no transaction.
            django.db.IntegrityError: a unique index has the value; `errors.duplicate_keys` tells which.
        """
        self.insert_pipelined(documents)
        with translated_errors():
            self._wrapper.answers()

    def insert_pipelined(self, documents: list[dict[str, Any]]) -> None:
        """`insert_in_transaction` without waiting: what goes wrong is raised by the next call that waits, at the latest
        by the commit. For what cannot be refused, and for what makes the whole transaction fail if it is."""
        self._pipeline({"insert": self._collection.name, "documents": documents})

    def update_pipelined(self, where: dict[str, Any], update: dict[str, Any]) -> None:
        """Update one document, if there is one, as `insert_pipelined` inserts."""
        self._pipeline({"update": self._collection.name, "updates": [{"q": where, "u": update}]})

    def _pipeline(self, command: dict[str, Any]) -> None:
        if not self._wrapper.in_atomic_block_mongo:
            raise TransactionManagementError("This write belongs into a transaction.")
        with translated_errors():
            self._wrapper.send(command, self._collection.codec_options)

    def _found(self, command: dict[str, Any]) -> list[dict[str, Any]] | None:
        """The documents of the command's only batch. None: the connection broke, or there are more, and the driver's
        own call is to be made; it tries twice. In a transaction nothing is asked again: all of it is retried."""
        wrapper, codec_options = self._wrapper, self._collection.codec_options
        try:
            if wrapper.session is None and (level := self._collection.read_concern.document):
                command["readConcern"] = level
            wrapper.send(command, codec_options)
            (answer,) = wrapper.answers(codec_options)
        except PyMongoError as error:
            lost = isinstance(error, AutoReconnect) and not isinstance(error, ServerSelectionTimeoutError)
            if wrapper.in_atomic_block_mongo or not lost:
                raise translated(error) from error
            return None
        cursor = answer["cursor"]
        return cursor["firstBatch"] if cursor["id"] == 0 else None

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
