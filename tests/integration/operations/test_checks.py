"""System checks."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.checks import ERROR
from pytest_django import Settings

from booking_service.devstack.servers import HOST, MongoServer, free_port
from booking_service.djongo import server
from booking_service.operations import checks
from tests.integration.operations.conftest import Web


@pytest.fixture
def lone_mongo(tmp_path: Path) -> Iterator[str]:
    """A MongoDB that is no replica set."""
    port, data = free_port(), tmp_path / "data"
    data.mkdir()
    command = [MongoServer.binary(), "--dbpath", str(data), "--port", str(port), "--bind_ip", HOST, "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"mongodb://{HOST}:{port}/patient_booking?replicaSet=rs0&directConnection=true"
    process.terminate()
    process.wait()


def test_it_refuses_a_mongodb_without_transactions(
    lone_mongo: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MONGODB_URI = lone_mongo
    monkeypatch.setattr(server, "lacks_transactions", lambda uri, real=server.lacks_transactions: real(uri, 20))

    (problem,) = checks.check_transactions(None, databases=["default"])

    assert (problem.id, problem.level) == ("operations.E001", ERROR)
    assert "rs.initiate" in str(problem.hint)


def test_it_does_not_serve_without_transactions(lone_mongo: str, web: Callable[..., Web]) -> None:
    assert server.lacks_transactions(lone_mongo, 20)

    running = web(ready=False, MONGODB_URI=lone_mongo)

    assert running.process.wait(60) != 0
    assert "operations.E001" in running.log.read_text()
    assert "rs.initiate" in running.log.read_text()


def test_it_does_not_serve_with_a_setting_that_any_app_refuses(web: Callable[..., Web]) -> None:
    running = web(ready=False, PARTNER_DEADLINE_MS="9000", WEB_CONCURRENCY="1")

    assert running.process.wait(60) != 0
    assert "partners.E002" in running.log.read_text()


def test_it_accepts_a_replica_set(settings: Settings) -> None:
    assert checks.check_transactions(None, databases=["default"]) == []


def test_it_leaves_an_absent_mongodb_to_the_health_check(settings: Settings) -> None:
    settings.MONGODB_URI = f"mongodb://{HOST}:{free_port()}/x"

    assert checks.check_transactions(None, databases=["default"]) == []


def test_it_says_that_rate_limits_are_off(settings: Settings) -> None:
    settings.RATE_LIMIT_ENABLED = False
    assert [problem.id for problem in checks.check_rate_limits(None)] == ["operations.W002"]

    settings.RATE_LIMIT_ENABLED = True
    assert checks.check_rate_limits(None) == []


def test_it_refuses_a_proxy_that_is_no_network_or_everybody(settings: Settings) -> None:
    wrong = ["10.0.0.1/8", "banana", "0.0.0.0/0", "::/0"]
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", *wrong, "::1"]

    problems = checks.check_trusted_proxies(None)

    assert [name in problem.msg for name, problem in zip(wrong, problems, strict=True)] == [True] * 4


def test_it_warns_of_any_host_before_deployment(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert [problem.id for problem in checks.check_hosts(None)] == ["operations.W004"]

    settings.ALLOWED_HOSTS = ["bookings.example.com"]
    assert checks.check_hosts(None) == []
