"""Operations as an app of Django's."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Registers the checks, measures MongoDB, and reports errors where SENTRY_DSN is set."""

    name = "booking_service.operations"

    def ready(self) -> None:
        from django.conf import settings

        from booking_service.djongo.monitoring import observe_commands
        from booking_service.operations import checks, metrics  # noqa: F401 - importing the checks registers them
        from booking_service.operations.request_signals import disconnect_idle_handlers

        observe_commands(metrics.command_observe)
        disconnect_idle_handlers()
        if settings.SENTRY_DSN:
            from booking_service.operations import error_tracking

            error_tracking.start(dsn=settings.SENTRY_DSN, environment=settings.ENVIRONMENT, release=settings.VERSION)
