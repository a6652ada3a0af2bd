"""`manage.py sweep_bookings`: for a CronJob, every few minutes."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from booking_service.api.request_id import bind_request_id
from bookings import sweeping


class Command(BaseCommand):
    """Does once what is due now. Safe to run twice, and in two pods at once."""

    help = "Fail unassigned visits whose time has come, cancel unpaid bookings, free claims without a booking."

    def handle(self, *args: Any, **options: Any) -> None:
        bind_request_id()
        try:
            unassigned, unpaid = sweeping.sweep_unassigned(), sweeping.sweep_unpaid()
            claims = sweeping.sweep_orphaned_claims()
        except OperationalError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"failed: {unassigned.changed} (overtaken: {len(unassigned.overtaken)})")
        self.stdout.write(f"cancelled as unpaid: {unpaid.changed} (overtaken: {len(unpaid.overtaken)})")
        self.stdout.write(f"orphaned claims freed: {claims.changed}")
        if resisting := [*unassigned.failed, *unpaid.failed, *claims.failed]:
            raise CommandError(f"{len(resisting)} bookings could not be swept: {', '.join(map(str, resisting[:10]))}")
