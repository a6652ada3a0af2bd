"""`seed/*.toml`, written by people: the services of a new installation. Pure, but for reading the files."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from catalog.rules import Category

FILES = {
    Category.NURSING: "nursing.toml",
    Category.PHYSIOTHERAPY: "physiotherapy.toml",
    Category.PACKAGE: "packages.toml",
}
FOLDER = Path(__file__).parent / "seed"


def rows() -> Iterator[tuple[Category, dict[str, Any]]]:
    """Every service of the seed, in the order in which lists show them."""
    for category, name in FILES.items():
        read = tomllib.loads((FOLDER / name).read_text(encoding="utf-8"), parse_float=Decimal)
        for row in read["service"]:
            yield category, row


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """What its services are called."""
    return frozenset(row["name"] for _, row in rows())
