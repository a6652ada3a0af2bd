"""`manage.py send_reminders`: for a CronJob, every few minutes."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from booking_service.api.request_id import bind_request_id
from bookings.notifications import reminders_send


class Command(BaseCommand):
    """Does once what is due now. Safe to run twice, and in two pods at once."""

    help = "Remind patients of visits, a day and two hours before they begin."

    def handle(self, *args: Any, **options: Any) -> None:
        bind_request_id()
        try:
            reminded = reminders_send()
        except OperationalError as error:
            raise CommandError(str(error)) from error
        for kind, of_kind in reminded.items():
            self.stdout.write(f"{kind}: {of_kind.sent}")
        if resisting := [booking_id for of_kind in reminded.values() for booking_id in of_kind.failed]:
            raise CommandError(f"{len(resisting)} reminders failed: {', '.join(map(str, resisting[:10]))}")
