"""A command and its answer on a connection of the driver's that is checked out.

Half of the processor time of the driver's own way, which also looks for listeners, for encryption, and for what a
second try would need. What it tells the topology and the session, this tells them, too.
"""

from __future__ import annotations

from typing import Any

from bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions
from pymongo import MongoClient, message
from pymongo.client_session import ClientSession
from pymongo.errors import DocumentTooLarge, OperationFailure
from pymongo.helpers_shared import _check_command_response
from pymongo.monitoring import ConnectionClosedReason
from pymongo.pool import Connection
from pymongo.read_preferences import ReadPreference

from .interface import wait_in_kernel

Answer = dict[str, Any]


class Exchange:
    """What is asked and answered on one connection, in `session` if there is one."""

    def __init__(self, connection: Connection, client: MongoClient[Answer], session: ClientSession | None) -> None:
        self._connection = connection
        self._client = client
        self._session = session
        wait_in_kernel(connection)

    def packed(
        self,
        command: Answer,
        database: str,
        preference: Any = ReadPreference.PRIMARY,
        codec_options: CodecOptions[Answer] = DEFAULT_CODEC_OPTIONS,
        *,
        tells_time: bool = True,
    ) -> tuple[int, bytes]:
        """The number and the bytes of the message with `command`, which goes into the session's transaction.

        Args:
            tells_time: whether it says how far the cluster is as we know; not needed right behind one that does.

        Raises:
            Whatever a command raises that is no BSON, or too large. Nothing has happened then.
        """
        connection, session = self._connection, self._session
        connection.add_server_api(command)
        if session is not None:
            session._apply_to(command, False, preference, connection)
        if tells_time:
            connection.send_cluster_time(command, session, self._client)
        connection.apply_timeout(command)
        number, text, _, largest = message._op_msg(0, command, database, preference, codec_options)
        if largest > connection.max_bson_size:
            raise DocumentTooLarge(f"A document of {largest} bytes is larger than MongoDB takes.")
        if session is not None and session._starting_transaction:
            session._transaction.set_in_progress()
            session._transaction.has_completed_command = True  # or the driver, trying again, begins it once more
        return number, text

    def ask(
        self,
        command: Answer,
        database: str,
        preference: Any = ReadPreference.PRIMARY,
        codec_options: CodecOptions[Answer] = DEFAULT_CODEC_OPTIONS,
    ) -> Answer:
        """The answer to one command. Raises what `packed`, `send` and `answer` raise."""
        number, text = self.packed(command, database, preference, codec_options)
        try:
            self.send(text)
            return self.answer(number, codec_options)
        except OperationFailure:
            raise
        except BaseException:
            self.abandon()
            raise

    def send(self, text: bytes) -> None:
        """Send what `packed` made. Raises pymongo's ConnectionFailure; the connection is closed then."""
        self._connection.send_message(text, 0)

    def answer(
        self, number: int, codec_options: CodecOptions[Answer] = DEFAULT_CODEC_OPTIONS, *, hears_time: bool = True
    ) -> Answer:
        """The next answer, which has to be the one to the message of that number.

        Args:
            hears_time: whether client and session learn from it how far the cluster is; the next answer knows better.

        Raises:
            pymongo.errors.OperationFailure: the answer is an error.
            pymongo.errors.ConnectionFailure: there is none; the connection is closed then.
        """
        reply = self._connection.receive_message(number)
        (answer,) = reply.unpack_response(codec_options=codec_options)
        if hears_time:
            self._client._process_response(answer, self._session)
        _check_command_response(answer, self._connection.max_wire_version)
        return answer

    def abandon(self) -> None:
        """Close the connection: nobody else gets one on which an answer is left."""
        self._connection.close_conn(ConnectionClosedReason.ERROR)
