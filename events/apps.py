"""The events app."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    verbose_name = "Events"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401 - importing the checks registers them

        receivers.connect()
