"""Writes of a transaction that are sent together and answered together.

MongoDB works off the messages of a connection in their order. A write whose answer decides nothing need not be waited
for before the next one is sent: it waits here, and goes out with the first one that does decide something, or before
the commit. So several writes are one trip to MongoDB and back. The commit is not sent along: after a lost connection
it is repeated on another one, where it must not find a transaction that lacks the last writes.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError

from .exchange import Answer, Exchange
from .monitoring import command_took

PIPELINED = "pipelined"  # what metrics call all that is sent together: none of it has a time of its own


class PipelinedWrites:
    """Writes of an open transaction that are to be sent, on a connection that they have until all are answered.

    Of one transaction, hundreds: of tens of thousands both ends would wait until somebody reads.
    """

    def __init__(self, client: MongoClient[Answer], session: ClientSession, database: str) -> None:
        """Raises pymongo's ConnectionFailure."""
        self._database = database
        self._requests: list[int] = []
        self._messages: list[bytes] = []
        # Gives the connection back, and tells the topology and the session what went wrong on it.
        with ExitStack() as checkout:
            connection = checkout.enter_context(client._conn_for_writes(session, "pipelined"))
            self._exchange = Exchange(connection, client, session)
            self._checkout = checkout.pop_all()

    def add(self, command: dict[str, Any]) -> None:
        """One more write behind those that are here already.

        Raises:
            Whatever a command raises that is no BSON, or too large. It is not among them then.
        """
        number, text = self._exchange.packed(command, self._database, tells_time=not self._requests)
        self._requests.append(number)
        self._messages.append(text)

    def drop(self) -> None:
        """Send nothing, and give the connection back."""
        self._checkout.close()

    def settle(self) -> None:
        """Send them, wait for every answer, and give the connection back.

        Raises:
            pymongo.errors.PyMongoError: the first failure among them; the transaction has failed with it. What a unique
                index refuses is no DuplicateKeyError: whoever waits for another write would take it for that one's.
        """
        if failure := _refusal(self.last_answer()):
            raise failure

    def last_answer(self) -> Answer:
        """`settle`, for the answer to the last of them, which may hold `writeErrors`: it is the one that decides."""
        succeeded, began = False, time.perf_counter()
        try:
            with self._checkout:
                *answers, last = self._exchanged()
                for failure in filter(None, map(_failure_in, answers)):
                    raise failure
                if isinstance(last, OperationFailure):
                    raise last
            succeeded = True
        finally:
            command_took(PIPELINED, succeeded, time.perf_counter() - began)
        return last

    def _exchanged(self) -> list[Answer | OperationFailure]:
        try:
            self._exchange.send(b"".join(self._messages))
            return [self._answer_to(request) for request in self._requests]
        except BaseException:
            self._exchange.abandon()
            raise

    def _answer_to(self, request: int) -> Answer | OperationFailure:
        try:
            return self._exchange.answer(request, hears_time=request == self._requests[-1])
        except OperationFailure as failure:
            return failure


def _failure_in(answer: Answer | OperationFailure) -> PyMongoError | None:
    return answer if isinstance(answer, OperationFailure) else _refusal(answer)


def _refusal(answer: Answer) -> PyMongoError | None:
    """What MongoDB refused of a write that it could carry out otherwise."""
    refused = answer.get("writeErrors")
    return OperationFailure("A pipelined write was refused", refused[0].get("code"), answer) if refused else None
