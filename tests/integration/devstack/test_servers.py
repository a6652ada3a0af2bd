"""The servers that `make run` and the tests start: ready when start() returns, gone when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from pymongo import MongoClient

from booking_service.devstack.servers import MongoServer, RabbitServer, RedisServer, Server, ServerError, ServerMissing

OWNER = """
import sys, time
from pathlib import Path
from booking_service.devstack.servers import {kind}
server = {kind}(Path(sys.argv[1])).start()
print(server.port, flush=True)
time.sleep(600)
"""


def connected(server: MongoServer) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.uri)


def processes_naming(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        words = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


def wait_until_none_names(folder: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while (left := processes_naming(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_it_makes_mongodb_a_replica_set_that_commits_transactions(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server, connected(server) as client, client.start_session() as session:
        collection = client.get_default_database()["visits"]
        with session.start_transaction():
            collection.insert_one({"_id": 1}, session=session)
        assert collection.count_documents({}) == 1


def test_it_keeps_what_was_written_before_a_kill(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as server, connected(server) as client:
        client.get_default_database()["visits"].insert_one({"_id": 1})
        server.kill()
        assert not server.running
        server.start()
        assert client.get_default_database()["visits"].find_one() == {"_id": 1}


def test_it_starts_mongodb_on_another_port_with_the_same_data(tmp_path: Path) -> None:
    with MongoServer(tmp_path) as first, connected(first) as client:
        client.get_default_database()["visits"].insert_one({"_id": 1})
    with MongoServer(tmp_path) as second, connected(second) as client:
        assert second.port != first.port
        assert client.get_default_database()["visits"].find_one() == {"_id": 1}


def test_it_serves_redis_and_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.uri) as client:
        client.set("slot", "taken")
        server.restart()
        assert client.get("slot") == b"taken"


def test_it_answers_nothing_while_paused(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.pause()
        assert not server.is_ready()
        server.resume()
        assert server.is_ready()


def test_it_names_the_port_that_is_in_use(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "first") as first:
        with pytest.raises(ServerError, match=f"Port {first.port}, meant for Redis, is in use"):
            RedisServer(tmp_path / "second", first.port).start()
        assert first.is_ready()


def test_it_passes_on_why_a_server_ended_at_once(tmp_path: Path) -> None:
    class BrokenRedis(RedisServer):
        def command(self) -> list[str]:
            return [*super().command(), "--no-such-option", "1"]

    with pytest.raises(ServerError, match=r"Redis ended at once: .+log:"):
        BrokenRedis(tmp_path).start()
    wait_until_none_names(tmp_path)


def test_it_names_the_cure_when_a_server_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("booking_service.devstack.servers._rabbit_script", lambda name: None)
    with pytest.raises(ServerMissing, match=r"apt-get install rabbitmq-server.*RABBITMQ_URL"):
        RabbitServer(tmp_path).start()


@pytest.mark.broker
def test_it_runs_two_rabbitmq_nodes_side_by_side_and_leaves_no_process(tmp_path: Path) -> None:
    with RabbitServer(tmp_path / "first") as first, RabbitServer(tmp_path / "second") as second:
        first.control("add_vhost", "only-here")
        assert "only-here" in first.control("list_vhosts")
        assert "only-here" not in second.control("list_vhosts")
    wait_until_none_names(tmp_path)


@pytest.mark.parametrize("kind", [MongoServer, RedisServer, pytest.param(RabbitServer, marks=pytest.mark.broker)])
def test_it_ends_the_server_when_its_owner_is_killed(kind: type[Server], tmp_path: Path) -> None:
    script = OWNER.format(kind=kind.__name__)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline()) > 0
        os.kill(owner.pid, signal.SIGKILL)
    wait_until_none_names(tmp_path)
