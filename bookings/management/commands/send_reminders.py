"""`manage.py send_reminders`: for a CronJob, every few minutes."""

from typing import Any

from django.core.management.base import BaseCommand

from booking_service.api.request_id import bind_request_id
from bookings.notifications import reminders_send


class Command(BaseCommand):
    """Does once what is due now. Safe to run twice, and in two pods at once."""

    help = "Remind patients of visits, a day and two hours before they begin."

    def handle(self, *args: Any, **options: Any) -> None:
        bind_request_id()
        for kind, sent in reminders_send().items():
            self.stdout.write(f"{kind}: {sent}")
