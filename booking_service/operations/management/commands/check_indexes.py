"""`manage.py check_indexes`: after a deployment, and now and then, ask whether queries are served by their indexes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from booking_service.operations.indexes import Fault, findings


class Command(BaseCommand):
    """Lists every finding; fails where an index is missing or different."""

    help = "Tells which declared indexes are missing, different or unused, and which built ones nobody declared."

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(findings())
        for finding in found:
            self.stdout.write(str(finding))
        wrong = sum(finding.fault in (Fault.MISSING, Fault.DIFFERENT) for finding in found)
        if wrong:
            raise CommandError(
                f"{wrong} missing or different: `manage.py migrate` builds them without blocking writes."
            )
        self.stdout.write("Every declared index is built.")
