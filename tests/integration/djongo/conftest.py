from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from .models import Clinic, Treatment


@pytest.fixture(scope="session", autouse=True)
def _collections(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The sample collections, made the way a migration makes them."""
    with django_db_blocker.unblock(), connection.schema_editor() as editor:
        for model in (Clinic, Treatment):
            editor.create_model(model)
    yield
    with django_db_blocker.unblock(), connection.schema_editor() as editor:
        for model in (Clinic, Treatment):
            editor.delete_model(model)


@pytest.fixture(autouse=True)
def _emptied(database: None) -> Iterator[None]:
    yield
    for model in (Treatment, Clinic):
        model.objects.mongo_delete_many({})
