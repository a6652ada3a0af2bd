"""Nothing runs around a request that has nothing to do."""

from django.core.signals import request_finished, request_started
from django.db import connection


def test_it_calls_no_handler_for_sql_connections() -> None:
    names = {
        getattr(reference() if callable(reference) else reference, "__name__", "")
        for signal in (request_started, request_finished)
        for _, reference, *_ in signal.receivers
    }

    assert not names & {"reset_queries", "close_caches"}


def test_it_may_leave_connections_alone() -> None:
    client = connection.connection

    connection.close()

    assert connection.connection is client
