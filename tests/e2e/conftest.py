"""End-to-end tests run on a real database."""

import pytest


@pytest.fixture(autouse=True)
def _database(database: None) -> None:
    """Every test here may use the database."""
