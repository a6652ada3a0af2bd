"""Collections that know the transaction they run in."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, NetworkTimeout, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from .errors import translated, translated_errors
from .exchange import Exchange
from .monitoring import command_took

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
ROWS_IN_ONE_ANSWER = 1_000
# An instant that Python's calendar has no year for is a DatetimeMS, and a text that is no UTF-8 shows as it can:
# neither is an error of the whole answer.
ANY_TIME, ANY_TEXT = DatetimeConversion.DATETIME_AUTO, "replace"
TIMES_WITH_ZONE: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=ANY_TIME, unicode_decode_error_handler=ANY_TEXT
)
TIMES_AS_STORED = TIMES_WITH_ZONE.with_options(tz_aware=False)


class SessionBoundCollection:
    """A pymongo collection whose calls join the connection's open transaction and raise Django's errors.

    Forgetting the session inside a transaction would write outside it, so passing it is not left to the caller. Cursors
    (`find`, `aggregate`) raise the driver's own errors while they are read; `errors.driver_error` knows both. In a
    transaction a cursor is read before the next pipelined write.
    """

    def __init__(
        self,
        wrapper: DatabaseWrapper,
        name: str,
        codec_options: CodecOptions[dict[str, Any]] = TIMES_WITH_ZONE,
        write_concern: WriteConcern | None = None,
    ) -> None:
        self._wrapper = wrapper
        self._collection: Collection[dict[str, Any]] = Collection(
            wrapper.database, name, codec_options=codec_options, write_concern=write_concern
        )

    @functools.cached_property
    def for_display(self) -> SessionBoundCollection:
        """For documents that go out as they are: their times are naive UTC, which is a third cheaper to read and half
        as dear to write as JSON. Nobody calculates with them: comparing one with an instant of ours raises TypeError.
        """
        return SessionBoundCollection(self._wrapper, self._collection.name, TIMES_AS_STORED)

    @functools.cached_property
    def on_primary(self) -> SessionBoundCollection:
        """For writes outside of transactions that may be lost with the primary: nobody waits for a disk or a second
        node. What was answered then may never have been."""
        return SessionBoundCollection(self._wrapper, self._collection.name, write_concern=WriteConcern(1))

    def find_one(
        self, where: Mapping[str, Any], projection: Mapping[str, Any] | None = None, **options: Any
    ) -> dict[str, Any] | None:
        """The first document that matches, or None; `options` are the driver's."""
        command: dict[str, Any] = {"find": self._collection.name, "filter": where, "limit": 1, "singleBatch": True}
        if projection is not None:
            command["projection"] = projection
        with translated_errors():
            found = self._first_batch(command) if not options else None
            return next(iter(self.find(where, projection, limit=-1, **options) if found is None else found), None)

    def aggregate_page(self, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What an aggregation that writes nothing yields, for one of few rows: they come in one answer."""
        cursor = {"batchSize": ROWS_IN_ONE_ANSWER}
        with translated_errors():
            found = self._first_batch({"aggregate": self._collection.name, "pipeline": stages, "cursor": cursor})
            return list(self.aggregate(stages)) if found is None else found

    def insert(self, documents: list[dict[str, Any]]) -> None:
        """Insert; into the open transaction, if there is one, as `insert_pipelined` does."""
        if self._wrapper.in_atomic_block_mongo:
            self.insert_pipelined(documents)
        else:
            self.insert_many(documents)

    def insert_in_transaction(self, documents: list[dict[str, Any]]) -> None:
        """Insert into the open transaction, with what `insert_pipelined` and `update_pipelined` have left to be sent.

        Raises:
            django.db.transaction.TransactionManagementError: there is no transaction.
            django.db.IntegrityError: a unique index has the value; `errors.duplicate_keys` tells which.
        """
        with translated_errors():
            reply = self._wrapper.pipeline_and_wait({"insert": self._collection.name, "documents": documents})
            if "writeErrors" in reply:
                raise BulkWriteError(reply)

    def insert_pipelined(self, documents: list[dict[str, Any]]) -> None:
        """Insert into the open transaction without waiting, where only a mistake of ours could be refused.

        A failure is raised by the next call that waits, at the latest by the commit: django.db.DatabaseError.
        """
        with translated_errors():
            self._wrapper.pipeline({"insert": self._collection.name, "documents": documents})

    def update_pipelined(self, where: dict[str, Any], update: dict[str, Any]) -> None:
        """Update one document, if there is one, as `insert_pipelined` inserts."""
        with translated_errors():
            self._wrapper.pipeline({"update": self._collection.name, "updates": [{"q": where, "u": update}]})

    def _first_batch(self, command: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What a reading command finds; None when the driver's own call has to find it: there is more, or this failed,
        and the driver knows what can be tried again. In a transaction nothing can: all of it is."""
        if (concern := self._collection.read_concern.document) and not self._wrapper.in_atomic_block_mongo:
            command["readConcern"] = concern
        try:
            cursor = self._asked(command)["cursor"]
        except (ServerSelectionTimeoutError, NetworkTimeout):
            raise
        except PyMongoError:
            if self._wrapper.in_atomic_block_mongo:
                raise
            return None
        if cursor["id"]:
            self._asked({"killCursors": self._collection.name, "cursors": [cursor["id"]]})
            return None
        found: list[dict[str, Any]] = cursor["firstBatch"]
        return found

    def _asked(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a reading command that is sent once, in the open transaction if there is one."""
        collection, session, name = self._collection, self._wrapper.session, next(iter(command))
        client, codec_options = collection.database.client, collection.codec_options
        preferred = ReadPreference.PRIMARY if session else collection.read_preference
        succeeded, began = False, time.perf_counter()
        try:
            with client._conn_for_reads(preferred, session, name) as (connection, preference):
                exchange = Exchange(connection, client, session)
                answer = exchange.ask(command, collection.database.name, preference, codec_options)
            succeeded = True
        finally:
            command_took(name, succeeded, time.perf_counter() - began)
        return answer

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
