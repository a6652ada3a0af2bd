"""An index is built while bookings are made: the build is held in its middle, and writes go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from booking_service.devstack.servers import MongoServer
from tests.chaos.stack import ROOT

BUILDING = "hangAfterStartingIndexBuild"
ROWS_BEFORE, ROWS_MEANWHILE = 500, 50
Client = MongoClient[dict[str, Any]]


class HoldingMongo(MongoServer):
    """A mongod that can be told to stand still in the middle of something."""

    def command(self) -> list[str]:
        return [*super().command(), "--setParameter", "enableTestCommands=1"]


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoServer]:
    with HoldingMongo(tmp_path / "mongo") as running:
        yield running


def migrating(uri: str, environment: dict[str, str], *to: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "manage.py", "migrate", "events", *to, "--verbosity", "0"]
    return subprocess.Popen(command, cwd=ROOT, env={**environment, "MONGODB_URI": uri})


def row(number: int) -> dict[str, Any]:
    common = {"lane": "BROKER", "type": "booking.created", "status": "SENT", "createdAt": datetime.now(UTC)}
    return {**common, "aggregateId": f"{number:024x}", "aggregateVersion": 1, "position": number}


def write_in_transactions(client: Client, numbers: range) -> float:
    """As a booking does; the longest of them in seconds."""
    slowest, database = 0.0, client.get_default_database()
    for number in numbers:
        began = time.monotonic()
        with client.start_session() as session, session.start_transaction():
            database["outbox"].insert_one(row(number), session=session)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_writes_go_on_while_an_index_is_built(mongo: MongoServer, process_environment: dict[str, str]) -> None:
    assert migrating(mongo.uri, process_environment, "0002_staff_groups").wait(60) == 0
    with Client(mongo.uri) as client:
        outbox = client.get_default_database()["outbox"]
        write_in_transactions(client, range(ROWS_BEFORE))
        entered = client.admin.command("configureFailPoint", BUILDING, mode="alwaysOn")["count"]
        building = migrating(mongo.uri, process_environment, "0003_search_by_aggregate")
        client.admin.command("waitForFailPoint", BUILDING, timesEntered=entered + 1, maxTimeMS=30_000)

        slowest = write_in_transactions(client, range(ROWS_BEFORE, ROWS_BEFORE + ROWS_MEANWHILE))
        was_building = building.poll() is None
        client.admin.command("configureFailPoint", BUILDING, mode="off")

        assert building.wait(30) == 0
        assert was_building
        assert slowest < 5
        assert len(list(outbox.find().hint("outbox_aggregate"))) == ROWS_BEFORE + ROWS_MEANWHILE
