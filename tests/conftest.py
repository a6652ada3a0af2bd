"""Fixtures of every test: the servers, the migrated database, the environment of spawned processes."""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import environment

import django  # isort: skip - the settings read the environment just made

django.setup()

from django.core.cache import cache  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402
from pytest_django import DjangoDbBlocker  # noqa: E402

from booking_service.devstack.servers import ServerMissing  # noqa: E402

# What migrations put there stays between tests.
KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
WITHOUT_BROKER = "RabbitMQ is not installed and may not be: tests marked `broker` were skipped."


def pytest_sessionstart(session: pytest.Session) -> None:
    """Under xdist the controller starts the servers, once for all workers."""
    workers = len(session.config.getoption("tx", None) or [])
    if workers and not environment.WORKER:
        environment.servers_start(workers)


def pytest_unconfigure() -> None:
    """Leave no process behind, nor a count that is told at the end, when no server is there to hear it."""
    from bookings.popularity import booked

    atexit.unregister(booked.flush)
    environment.servers_stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: what cannot run there is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"CI skips nothing: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that there was no broker; `make test` repeats it as its last line."""
    if any(WITHOUT_BROKER in str(report.longrepr) for report in terminalreporter.getreports("skipped")):
        terminalreporter.write_line(WITHOUT_BROKER)
        if notes := os.environ.get("TEST_NOTES"):
            Path(notes).write_text(WITHOUT_BROKER)


@pytest.fixture(scope="session")
def mongodb_uri() -> str:
    """A running MongoDB."""
    return environment.server_uri("MONGODB_URI")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A running Redis."""
    return environment.server_uri("REDIS_URL")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """A running RabbitMQ; skips where none can be had."""
    if not os.environ.get("TEST_WITHOUT_BROKER"):
        try:
            return environment.server_uri("RABBITMQ_URL")
        except ServerMissing:
            os.environ["TEST_WITHOUT_BROKER"] = "1"
    pytest.skip(WITHOUT_BROKER)


@pytest.fixture(autouse=True)
def _broker_where_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("broker"):
        request.getfixturevalue("rabbitmq_url")


@pytest.fixture(scope="session")
def django_db_setup(
    mongodb_uri: str,
    django_test_environment: None,
    django_db_modify_db_settings_parallel_suffix: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """A migrated database `test_<name>`, dropped at the end.

    In place of pytest-django's fixture, which makes one only for tests that carry its own mark.
    """
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default": True}, serialized_aliases=set())
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


def empty_collections() -> None:
    """Delete what a test wrote; far quicker than Django's flush, which makes every permission anew."""
    for name in connection.introspection.table_names():
        if name not in KEPT:
            connection.database[name].delete_many({})  # type: ignore[attr-defined]  # the engine's, unknown to Django


@pytest.fixture
def database(django_db_setup: None, redis_url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The migrated, otherwise empty database and cache; emptied again afterwards."""
    with django_db_blocker.unblock():
        yield
        empty_collections()
        cache.clear()


@pytest.fixture
def process_environment(database: None) -> dict[str, str]:
    """The environment in which a spawned process works on this test's database, Redis and RabbitMQ."""
    uri = urlsplit(os.environ["MONGODB_URI"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return {**os.environ, "MONGODB_URI": uri.geturl()}
