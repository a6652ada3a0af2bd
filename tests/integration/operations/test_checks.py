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


@pytest.mark.parametrize(
    ("proxies", "named"),
    [
        (["10.0.0.1/8"], "10.0.0.1/8"),
        (["banana"], "banana"),
        (["0.0.0.0/0"], "0.0.0.0/0"),
        (["::/0"], "::/0"),
        (["0.0.0.0/1", "128.0.0.0/1"], "0.0.0.0/0"),
        (["::/1", "8000::/2", "c000::/2"], "::/0"),
        (["128.0.0.0/1"], "128.0.0.0/1"),
        (["52.0.0.0/8"], "52.0.0.0/8"),
        (["52.0.0.0/9", "52.128.0.0/10", "52.192.0.0/10"], "52.0.0.0/8"),
        (["2a00::/12"], "2a00::/12"),
        (["2000::/17"], "2000::/17"),
        (["1.0.0.0/9", "52.0.0.0/9"], "1.0.0.0/9,52.0.0.0/9"),
        (["2000::/21", "2a00::/21"], "2000::/21,2a00::/21"),
    ],
)
def test_it_refuses_a_proxy_that_is_no_network_or_everybody(settings: Settings, proxies: list[str], named: str) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", *proxies, "::1"]

    (problem,) = checks.check_trusted_proxies(None)

    assert (problem.id, repr(named) in problem.msg) == ("operations.E003", True)


def test_it_accepts_private_networks_and_those_of_one_provider(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [
        *("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
        *("52.0.0.0/9", "52.0.0.0/9", "52.0.0.0/10"),
        *("104.16.0.0/13", "104.24.0.0/14", "130.211.0.0/22", "2400:cb00::/32", "2600:9000::/28", "9.9.9.9"),
    ]

    assert checks.check_trusted_proxies(None) == []


def test_it_warns_of_any_host_before_deployment(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert [problem.id for problem in checks.check_hosts(None)] == ["operations.W004"]

    settings.ALLOWED_HOSTS = ["bookings.example.com"]
    assert checks.check_hosts(None) == []
