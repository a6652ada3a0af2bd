"""`manage.py seed_catalog`: fill the catalog; again and again without harm."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from catalog import seeding


class Command(BaseCommand):
    help = "Adds the services that the catalog lacks. Never touches one that staff have edited or an import brought."

    def handle(self, *_args: Any, **_options: Any) -> None:
        outcome = seeding.seed()
        self._tell("added", outcome.added)
        self._tell("brought up to date", outcome.updated)
        self._tell("left as staff or an import made them", outcome.kept)
        self.stdout.write(f"{len(outcome.unchanged)} already as they should be.")

    def _tell(self, what: str, names: list[str]) -> None:
        if names:
            self.stdout.write(f"{len(names)} {what}: {', '.join(names)}")
