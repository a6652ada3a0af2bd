"""`ENGINE = "booking_service.djongo"`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR
from typing import Any

import pymongo
from django.db.backends.utils import debug_transaction
from django.db.transaction import TransactionManagementError
from django.utils.functional import cached_property
from django_mongodb_backend import base, operations
from pymongo.client_session import ClientSession
from pymongo.client_session_shared import _TxnState
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from .collections import ANY_TEXT, ANY_TIME, SessionBoundDatabase
from .errors import UNKNOWN_COMMIT, translated_errors
from .exchange import Exchange
from .monitoring import command_took
from .pipelining import PipelinedWrites
from .schema import DatabaseSchemaEditor

COMMIT = "commitTransaction"
COMMIT_RETRY_SECONDS = 10.0
# For an abort, and for asking once more whether a commit went through: whoever gave no answer to the command before has
# had a socket's timeout already.
LAST_WORD_SECONDS = 2.0
MAJORITY = WriteConcern("majority")


class Cursor(base.Cursor):
    """The cursor `DjongoManager` asks for: `db_conn` is the database, bound to the current transaction."""

    def __init__(self, db_conn: SessionBoundDatabase) -> None:
        self.db_conn = db_conn


class DatabaseOperations(operations.DatabaseOperations):
    """This engine's compilers; and an `iexact` that matches text where upstream's matches a regular expression."""

    compiler_module = "booking_service.djongo.compiler"
    prep_for_iexact_query = operations.DatabaseOperations.prep_for_like_query

    def convert_datetimefield_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The instant; without a zone where no other zone may have a day for it, so that nobody looks for one."""
        if value is None or not MINYEAR < value.year < MAXYEAR:
            return value
        return super().convert_datetimefield_value(value, expression, connection)

    def convert_decimalfield_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The number; infinity and what is no number stay as they are stored, for no number can be made of them."""
        number = super().convert_decimalfield_value(value, expression, connection)
        return number if number is None or number.is_finite() else value


class DatabaseWrapper(base.DatabaseWrapper):
    """The official MongoDB wrapper with djongo's fields and manager, and commits that are safe to retry."""

    data_types = {**base.DatabaseWrapper.data_types, "GenericObjectIdField": "objectId", "ObjectIdField": "objectId"}
    # `exact` must never read its value as an operator.
    mongo_operators = {**base.DatabaseWrapper.mongo_operators, "exact": lambda field, value: {field: {"$eq": value}}}
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor
    _session: ClientSession | None = None
    _pipelined: PipelinedWrites | None = None
    _failure: PyMongoError | None = None

    @property
    def session(self) -> Any:
        """The open transaction's session. Whoever takes it finds no write of it under way.

        Raises:
            pymongo.errors.PyMongoError: a pipelined write failed, and with it the transaction, whoever overlooked it:
                what is left of it is not committed.
        """
        self._settle()
        if self._failure is not None:
            raise self._failure
        return self._session

    @session.setter
    def session(self, session: ClientSession | None) -> None:
        self._session = session

    def pipeline(self, command: dict[str, Any]) -> None:
        """Have a write of the open transaction sent with the next one that is waited for, see `pipelining`."""
        if self._session is None:
            raise TransactionManagementError("This write belongs into a transaction.")
        pipelined = self._pipelined or PipelinedWrites(self.connection, self.session, self.database.name)
        try:
            pipelined.add(command)
        except BaseException:
            if pipelined is not self._pipelined:
                pipelined.drop()  # with nothing in it there is no answer to wait for
            raise
        self._pipelined = pipelined

    def pipeline_and_wait(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a write of the open transaction, sent with those that wait; it may hold `writeErrors`."""
        self.pipeline(command)
        answer: dict[str, Any] = self._settle(PipelinedWrites.last_answer)
        return answer

    def _settle(self, how: Callable[[PipelinedWrites], Any] = PipelinedWrites.settle) -> Any:
        if self._pipelined is None:
            return None
        pipelined, self._pipelined = self._pipelined, None
        try:
            return how(pipelined)
        except PyMongoError as error:
            self._failure = error
            raise

    @cached_property
    def documents(self) -> SessionBoundDatabase:
        """The database as `DjongoManager.mongo_…` calls see it."""
        return SessionBoundDatabase(self)

    def cursor(self) -> Cursor:
        return Cursor(self.documents)

    def get_connection_params(self) -> dict[str, Any]:
        readable = {"datetime_conversion": ANY_TIME.name, "unicode_decode_error_handler": ANY_TEXT}
        return {**readable, **super().get_connection_params()}

    def get_database_version(self) -> tuple[int, ...]:
        """The first thing asked of a new connection; commands that can do without a database go on without it."""
        with translated_errors():
            version: tuple[int, ...] = super().get_database_version()
            return version

    def close_pool(self) -> None:
        self._drop()  # its transaction ends with it
        super().close_pool()
        self.__dict__.pop("documents", None)

    def start_transaction_mongo(self) -> None:
        """Begin a transaction: snapshot reads, writes acknowledged by a majority."""
        self.ensure_connection()
        self.session = self.connection.start_session()
        self.session.start_transaction(ReadConcern("snapshot"), MAJORITY)

    def commit_mongo(self) -> None:
        """Commit, and run the commit hooks; a failed commit never leaves its session behind.

        Raises:
            django.db.OperationalError: the commit failed, or its outcome stayed unknown for COMMIT_RETRY_SECONDS.
        """
        try:
            with debug_transaction(self, "session.commit_transaction()"), translated_errors():
                self._commit_until_known()
        except BaseException:
            self.run_on_commit.clear()
            raise
        finally:
            self._end_session()
        self.run_and_clear_commit_hooks()

    def validate_no_atomic_block(self) -> None:
        """Nothing to validate: Django's `atomic`, in which the admin's pages run, is no transaction here, so ours may
        begin and commit inside of it."""

    def _commit_until_known(self) -> None:
        session, give_up_at = self.session, time.monotonic() + COMMIT_RETRY_SECONDS
        if self._commit_asked_once(session):
            return None
        while True:
            try:
                with pymongo.timeout(max(give_up_at - time.monotonic(), LAST_WORD_SECONDS)):
                    return session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label(UNKNOWN_COMMIT) or time.monotonic() > give_up_at:
                    raise

    def _commit_asked_once(self, session: ClientSession) -> bool:
        """Whether MongoDB says, asked once, that it has committed. If it says anything else, or nothing, the driver has
        to commit: it knows what that means, and a transaction that is committed already may be committed again."""
        state, concern = session._transaction, MAJORITY.document
        if state.state is not _TxnState.IN_PROGRESS or state.recovery_token:
            return False
        state.attempt += 1
        succeeded, began = False, time.perf_counter()
        try:
            with self.connection._conn_for_writes(session, COMMIT) as connection:
                exchange = Exchange(connection, self.connection, session)
                succeeded = "writeConcernError" not in exchange.ask({COMMIT: 1, "writeConcern": concern}, "admin")
        except PyMongoError:
            return False
        finally:
            command_took(COMMIT, succeeded, time.perf_counter() - began)
        if succeeded:
            state.state = _TxnState.COMMITTED
        return succeeded

    def rollback_mongo(self) -> None:
        """Abort the open transaction, if any, and forget its commit hooks."""
        self.run_on_commit.clear()
        self._end_session()

    def _drop(self) -> None:
        pipelined, self._pipelined = self._pipelined, None
        if pipelined is not None:
            pipelined.drop()

    def _end_session(self) -> None:
        """Whatever it has not committed is aborted."""
        self._drop()
        session, self._session, self._failure = self._session, None, None
        if session:
            with pymongo.timeout(LAST_WORD_SECONDS):
                session.end_session()
