"""Commands that are sent one after another over a connection of the driver's pool, and answered together.

The driver's own calls wait for each answer, in five changes of threads, and prepare a second try and a session that
most of ours have no use for. MongoDB works off the messages of a connection in their order, so a write whose answer
decides nothing need not be waited for before the next one is sent. The pool, the sessions, what is encoded and what an
error means stay the driver's: after a lost connection a command fails as it does there.
"""

from __future__ import annotations

import struct
import time
from contextlib import ExitStack
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import MongoClient, message
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, ProtocolError, PyMongoError
from pymongo.helpers_shared import _check_command_response
from pymongo.read_preferences import ReadPreference

from .monitoring import command_took

Answer = dict[str, Any]

HEADER = struct.Struct("<iiii")  # length, id, id of what is answered, kind
CHUNK = 64 * 1024


class Exchange:
    """Has a connection until everything that was sent over it is answered."""

    def __init__(self, client: MongoClient[Answer], session: ClientSession | None, database: str) -> None:
        """`session` is the open transaction's, if there is one. Raises pymongo's ConnectionFailure."""
        self._client = client
        self._session = session
        self._database = database
        self._sent: list[tuple[int, str, float]] = []
        self._received = b""
        self._lost: PyMongoError | None = None
        # Gives the connection back, and tells the topology and the session what went wrong on it.
        self._checkout = ExitStack()
        self._connection = self._checkout.enter_context(client._conn_for_writes(session, "exchange"))

    def send(self, command: dict[str, Any], codec_options: CodecOptions[Answer]) -> None:
        """Send one more command. That it could not be sent, whoever waits for its answer learns.

        Raises:
            Whatever a command raises that is no BSON. It was not sent then.
        """
        name, session, connection = next(iter(command)), self._session, self._connection
        connection.add_server_api(command)
        if session is not None:
            session._apply_to(command, False, ReadPreference.PRIMARY, connection)
        connection.send_cluster_time(command, session, self._client)
        request, text, _, largest = message._op_msg(0, command, self._database, None, codec_options)
        if session is not None and session._starting_transaction:
            session._transaction.set_in_progress()
        self._sent.append((request, name, time.perf_counter()))
        if self._lost is None:
            try:
                connection.send_message(text, largest)
            except PyMongoError as error:
                self._lost = error

    def answers(self, codec_options: CodecOptions[Answer]) -> list[Answer]:
        """The answers to all that was sent; the connection is given back.

        Raises:
            pymongo.errors.PyMongoError: the first failure among them. A transaction has failed with it.
        """
        sent, self._sent = self._sent, []
        answers: list[Answer] = []
        first: PyMongoError | None = None
        with self._checkout:
            for request, name, at in sent:
                succeeded = False
                try:
                    answer = self._answer(request, codec_options)
                    failure = self._failure_of(answer)
                    succeeded = failure is None
                finally:
                    command_took(name, succeeded, time.perf_counter() - at)
                answers.append(answer)
                first = first or failure
            if first:
                raise first
        return answers

    def _answer(self, request: int, codec_options: CodecOptions[Answer]) -> Answer:
        if self._lost is not None:
            raise self._lost
        connection, received = self._connection, self._received
        try:
            while len(received) < HEADER.size or len(received) < HEADER.unpack_from(received)[0]:
                piece = connection.conn.get_conn.recv(CHUNK)
                if not piece:
                    raise OSError("connection closed")
                received = received + piece if received else piece
            length, _, answered, kind = HEADER.unpack_from(received)
            if (answered, kind) != (request, message._OpMsg.OP_CODE):
                raise ProtocolError(f"Got an answer of kind {kind} to {answered}, expected one to {request}")
            self._received = received[length:]
            reply = message._OpMsg.unpack(memoryview(received)[HEADER.size : length])
            (answer,) = reply.unpack_response(codec_options=codec_options)
        # As the driver does: whatever it was, nobody knows what comes next on this connection.
        except BaseException as error:  # noqa: BLE001
            connection._raise_connection_failure(error)
        return answer

    def _failure_of(self, answer: Answer) -> PyMongoError | None:
        self._client._process_response(answer, self._session)
        try:
            _check_command_response(answer, self._connection.max_wire_version)
        except PyMongoError as error:
            return error
        return BulkWriteError(answer) if "writeErrors" in answer else None
