"""Fixtures of every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# What migrations put there stays between tests.
KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}


def empty_collections() -> None:
    """Delete what a test wrote; far quicker than Django's flush, which makes every permission anew."""
    from django.db import connection

    for name in connection.introspection.table_names():
        if name not in KEPT:
            connection.database[name].delete_many({})


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """The migrated, otherwise empty database and cache; emptied again afterwards."""
    from django.core.cache import cache

    with django_db_blocker.unblock():
        yield
        empty_collections()
        cache.clear()
