"""The partners as an app of Django's: it has no models, only checks."""

from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """Registers the checks of the partners' settings."""

    name = "booking_service.partners"
    label = "partners"

    def ready(self) -> None:
        from booking_service.partners import checks  # noqa: F401 - importing it registers them
