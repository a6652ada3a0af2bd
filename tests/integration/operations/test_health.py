"""Health, as machines ask for it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import requests
from django.test import Client
from pytest_django import Settings

from booking_service.devstack.servers import HOST, MongoServer, RedisServer, free_port
from booking_service.operations import health
from tests.integration.operations.conftest import Web


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_broker", health.BrokerProbe())


@pytest.mark.broker
def test_it_is_ok_when_everything_answers(client: Client) -> None:
    report = client.get("/health")

    body = report.json()
    assert report.status_code == 200
    assert (body["status"], body["database"], body["cache"], body["broker"]) == ("ok", *["connected"] * 3)
    assert body["service"] == "patient-booking-service"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo


def test_it_is_degraded_without_a_broker(client: Client, settings: Settings) -> None:
    settings.RABBITMQ_URL = f"amqp://{HOST}:{free_port()}/"

    report = client.get("/health")

    assert report.status_code == 200
    assert (report.json()["status"], report.json()["broker"]) == ("degraded", "disconnected")


def test_it_asks_the_broker_once_in_a_while(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def accepts(url: str) -> bool:
        asked.append(url)
        return True

    monkeypatch.setattr(health, "_accepts_connections", accepts)

    assert [health.broker_state() for _ in range(5)] == ["connected"] * 5
    assert len(asked) == 1


def test_it_tells_outages_apart(web: Callable[..., Web], tmp_path: Path) -> None:
    with MongoServer(tmp_path / "mongo") as mongo, RedisServer(tmp_path / "redis") as redis:
        running = web(MONGODB_URI=mongo.uri, REDIS_URL=redis.uri, WEB_CONCURRENCY="1")

        redis.kill()
        without_redis = requests.get(f"{running.url}/health", timeout=10)
        ready_without_redis = requests.get(f"{running.url}/health/ready", timeout=10)
        mongo.kill()
        without_mongo = requests.get(f"{running.url}/health", timeout=10)
        ready_without_mongo = requests.get(f"{running.url}/health/ready", timeout=10)
        live_without_mongo = requests.get(f"{running.url}/health/live", timeout=10)
        mongo.start()
        ready_again = requests.get(f"{running.url}/health/ready", timeout=10)

    assert (without_redis.status_code, without_redis.json()["status"]) == (200, "degraded")
    assert without_redis.json()["cache"] == "disconnected"
    assert ready_without_redis.status_code == 200
    assert (without_mongo.status_code, without_mongo.json()["status"]) == (503, "down")
    assert without_mongo.json()["database"] == "disconnected"
    assert ready_without_mongo.status_code == 503
    assert live_without_mongo.status_code == 200
    assert ready_again.status_code == 200


def test_it_has_its_shape_where_mongodb_never_answered(web: Callable[..., Web]) -> None:
    running = web(MONGODB_URI=f"mongodb://{HOST}:{free_port()}/gone?replicaSet=rs0", WEB_CONCURRENCY="1")

    report = requests.get(f"{running.url}/health", timeout=10)
    ready = requests.get(f"{running.url}/health/ready", timeout=10)

    assert (report.status_code, report.json()["status"], report.json()["database"]) == (503, "down", "disconnected")
    assert (ready.status_code, ready.json()) == (503, {"status": "down", "database": "disconnected"})


def test_it_is_not_counted_by_the_rate_limit(client: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_ENABLED = True
    settings.RATE_LIMIT_REQUESTS = 1

    assert {client.get("/health/live").status_code for _ in range(3)} == {200}


def test_it_names_its_endpoints(client: Client) -> None:
    body = client.get("/").json()

    assert body["success"] is True
    for path in ("/api/services", "/api/events", "/api/docs", "/health"):
        assert path in body["data"]["endpoints"].values()
