"""Writes of a transaction that are sent one after another and answered together.

MongoDB works off the messages of a connection in their order. A write whose answer decides nothing need not be waited
for before the next one is sent: a thread is woken once for several, and MongoDB works while the next is put together.
The commit is not sent along: after a lost connection it is repeated on another one, where it must not find a
transaction that lacks the last writes.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from bson.codec_options import DEFAULT_CODEC_OPTIONS
from pymongo import MongoClient, message
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.helpers_shared import _check_command_response
from pymongo.monitoring import ConnectionClosedReason
from pymongo.read_preferences import ReadPreference

from .monitoring import command_took

Answer = dict[str, Any]


class PipelinedWrites:
    """The writes of an open transaction that are under way, on a connection that they have until all are answered."""

    def __init__(self, client: MongoClient[Answer], session: ClientSession, database: str) -> None:
        """Raises pymongo's ConnectionFailure."""
        self._client = client
        self._session = session
        self._database = database
        self._sent: list[tuple[int, str]] = []
        self._lost: PyMongoError | None = None
        # Gives the connection back, and tells the topology and the session what went wrong on it.
        self._checkout = ExitStack()
        self._connection = self._checkout.enter_context(client._conn_for_writes(session, "pipelined"))

    def send(self, command: dict[str, Any]) -> None:
        """Send a write behind those that are under way. That it could not be sent, `settle` tells.

        Raises:
            Whatever a command raises that is no BSON, or too large. It was not sent then.
        """
        name, session, connection = next(iter(command)), self._session, self._connection
        connection.add_server_api(command)
        session._apply_to(command, False, ReadPreference.PRIMARY, connection)
        connection.send_cluster_time(command, session, self._client)
        connection.apply_timeout(command)
        request, text, _, largest = message._op_msg(0, command, self._database, None, DEFAULT_CODEC_OPTIONS)
        if session._starting_transaction:
            session._transaction.set_in_progress()
        if self._lost is None:
            try:
                connection.send_message(text, largest)
            except PyMongoError as error:
                self._lost = error
        self._sent.append((request, name))

    def settle(self) -> None:
        """Wait for every answer, and give the connection back.

        Raises:
            pymongo.errors.PyMongoError: the first failure among them; the transaction has failed with it. None is a
                DuplicateKeyError: whoever waits for another write would take it for that one's.
        """
        sent, self._sent = self._sent, []
        first: PyMongoError | None = None
        with self._checkout:
            try:
                for request, name in sent:
                    failure = self._failure_of(request, name)
                    first = first or failure
            except PyMongoError:  # the driver has closed the connection
                raise
            except BaseException:  # nobody else gets one on which answers are left
                self._connection.close_conn(ConnectionClosedReason.ERROR)
                raise
            if first:
                raise first

    def _failure_of(self, request: int, name: str) -> PyMongoError | None:
        """What the answer says went wrong. Raises pymongo's ConnectionFailure when there is none."""
        succeeded, began = False, time.perf_counter()
        try:
            if self._lost is not None:
                raise self._lost
            reply = self._connection.receive_message(request)
            (answer,) = reply.unpack_response(codec_options=DEFAULT_CODEC_OPTIONS)
            failure = self._failure_in(answer)
            succeeded = failure is None
        finally:
            command_took(name, succeeded, time.perf_counter() - began)
        return failure

    def _failure_in(self, answer: Answer) -> PyMongoError | None:
        self._client._process_response(answer, self._session)
        try:
            _check_command_response(answer, self._connection.max_wire_version)
        except PyMongoError as error:
            return error
        refused = answer.get("writeErrors")
        return OperationFailure("A pipelined write was refused", refused[0].get("code"), answer) if refused else None
