"""`manage.py sweep_bookings`: for a CronJob, every few minutes."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from booking_service.api.request_id import bind_request_id
from bookings import sweeping


class Command(BaseCommand):
    """Does once what is due now. Safe to run twice, and in two pods at once."""

    help = "Fail unassigned visits whose time has come, cancel unpaid bookings, free claims without a booking."

    def handle(self, *args: Any, **options: Any) -> None:
        bind_request_id()
        unassigned, unpaid = sweeping.sweep_unassigned(), sweeping.sweep_unpaid()
        self.stdout.write(f"failed: {unassigned.changed} (overtaken: {unassigned.overtaken})")
        self.stdout.write(f"cancelled as unpaid: {unpaid.changed} (overtaken: {unpaid.overtaken})")
        self.stdout.write(f"orphaned claims freed: {sweeping.sweep_orphaned_claims()}")
        if resisting := [*unassigned.failed, *unpaid.failed]:
            raise CommandError(f"{len(resisting)} bookings could not be swept: {', '.join(map(str, resisting[:10]))}")
