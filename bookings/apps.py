"""The bookings app."""

from django.apps import AppConfig


class BookingsConfig(AppConfig):
    """Counts what happens to bookings."""

    name = "bookings"

    def ready(self) -> None:
        from bookings import measuring

        measuring.connect()
