"""`.env.example` names every setting there is, with its default."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PARSERS = re.compile(r"^def (\w+)\(name: str", re.MULTILINE)
NUMBER = re.compile(r'\bnumber\(\s*"([A-Z0-9_]+)", ([0-9_]+)')
NAMED = re.compile(r"^#([A-Z0-9_]+)=(.*)$", re.MULTILINE)


def named() -> dict[str, str]:
    return dict(NAMED.findall((ROOT / ".env.example").read_text()))


def settings() -> str:
    return (ROOT / "booking_service" / "settings.py").read_text()


def test_it_names_what_the_settings_read_and_nothing_else() -> None:
    parsers = "|".join(PARSERS.findall(settings()))
    assert set(named()) == set(re.findall(rf'\b(?:{parsers})\(\s*"([A-Z0-9_]+)"', settings()))


def test_it_tells_the_default_of_every_number() -> None:
    numbers = NUMBER.findall(settings())
    assert len(numbers) > 10
    for name, default in numbers:
        assert named()[name] == default.replace("_", ""), name


def test_it_sets_nothing_by_itself() -> None:
    assert all(not line or line.startswith("#") for line in (ROOT / ".env.example").read_text().splitlines())
