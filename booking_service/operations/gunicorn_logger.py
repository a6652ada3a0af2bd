"""gunicorn's own messages, in the service's format and without what callers typed."""

import sys
from typing import Any

from gunicorn.glogging import Logger

from booking_service import settings
from booking_service.operations.logging import FORMATTERS, WithoutRequests


class ServiceLogger(Logger):
    """gunicorn's logger with the formatter of settings.LOGGING. It writes no access lines: the service does."""

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """A client that stalled or went away is no fault of ours, and must not be able to fill the log with traces."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.debug(msg, *args, **kwargs)
        else:
            super().exception(msg, *args, **kwargs)

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(FORMATTERS[settings.LOG_FORMAT]())
        if not any(isinstance(known, WithoutRequests) for known in self.error_log.filters):
            self.error_log.addFilter(WithoutRequests())
