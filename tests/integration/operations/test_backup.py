"""The backup of docs/operations.md, on a server of its own that is written to all the while."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from booking_service.devstack.servers import MongoServer

BOOKINGS, CLAIMS = "nursebookings", "slotclaims"


def connect(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri)


class Bookings:
    """Writes a booking and its claim in one transaction, again and again; knows which were acknowledged."""

    def __init__(self, uri: str) -> None:
        self.acknowledged: list[int] = []
        self._stopping = threading.Event()
        self._client = connect(uri)
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        database, number = self._client.get_default_database(), 0
        while not self._stopping.is_set():
            number += 1
            try:
                with self._client.start_session() as session, session.start_transaction():
                    database[BOOKINGS].insert_one({"_id": number, "patient": number % 7}, session=session)
                    database[CLAIMS].insert_one({"_id": f"patient:{number}", "booking": number}, session=session)
            except PyMongoError:
                continue
            self.acknowledged.append(number)

    def wait_for(self, count: int) -> None:
        for _ in range(3000):
            if len(self.acknowledged) >= count:
                return
            threading.Event().wait(0.01)
        pytest.fail("nothing was written")

    def __enter__(self) -> "Bookings":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)
        self._client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    with MongoServer(tmp_path / "data") as running:
        with connect(running.uri) as client:
            database = client.get_default_database()
            database.create_collection(CLAIMS)
            database[BOOKINGS].create_index([("patient", pymongo.ASCENDING)], name="bookings_of_patient")
        yield running


def copy_while_locked(server: MongoServer, target: Path) -> None:
    """What a snapshot of the volume does, between fsyncLock and fsyncUnlock."""
    with connect(server.uri) as client:
        client.admin.command("fsync", lock=True)
        try:
            shutil.copytree(server.folder, target, ignore=shutil.ignore_patterns("mongod.lock", "*.log"))
        finally:
            client.admin.command("fsyncUnlock")


def test_a_copy_of_a_locked_server_is_whole(server, tmp_path):
    with Bookings(server.uri) as bookings:
        bookings.wait_for(200)
        before_the_lock = list(bookings.acknowledged)
        copy_while_locked(server, tmp_path / "restored")
        bookings.wait_for(len(before_the_lock) + 100)
    server.stop()

    with MongoServer(tmp_path / "restored", server.port) as restored, connect(restored.uri) as client:
        database = client.get_default_database()
        booked = {booking["_id"] for booking in database[BOOKINGS].find()}
        claimed = {claim["booking"] for claim in database[CLAIMS].find()}

        assert booked == claimed, "every transaction is there as a whole or not at all"
        assert set(before_the_lock) <= booked, "no write is lost that was acknowledged before the lock"
        assert max(booked) < max(bookings.acknowledged), "the backup is of then, not of now"
        assert set(database[BOOKINGS].index_information()) == {"_id_", "bookings_of_patient"}
        database[BOOKINGS].insert_one({"_id": -1})
