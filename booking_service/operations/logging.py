"""Logs: one JSON object a line, or readable text in development; the request's id is on every line.

structlog's and the standard library's loggers end in the same handlers, so a library's warning looks like our own.
No line holds the text of an exception: a driver's message may quote the document it failed on. It holds its type and
where it happened, which finds the bug.
"""

import logging
import logging.config
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from booking_service.api.request_id import current_request_id

ROTATE_AT_BYTES = 50_000_000
ROTATED_FILES_KEPT = 5
FRAMES_SHOWN = 20

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def logging_config(*, log_format: str, level: str, log_file: str = "") -> dict[str, Any]:
    """What settings.LOGGING is: the console, and rotating files, one a process, if ``log_file`` names them."""
    handlers: dict[str, Any] = {"console": {"class": "logging.StreamHandler", "formatter": log_format}}
    if log_file:
        handlers["file"] = {
            "class": "booking_service.operations.log_files.ProcessFileHandler",
            "formatter": "json",
            "filename": log_file,
            "maxBytes": ROTATE_AT_BYTES,
            "backupCount": ROTATED_FILES_KEPT,
            "delay": True,
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {name: {"()": formatter} for name, formatter in FORMATTERS.items()},
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": level},
        "loggers": {
            # Django names the path of every 4xx, and the Host or Origin it refuses: what a caller typed.
            "django": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            "django.security": {"level": "CRITICAL"},
            # Below that it logs whole commands, with the documents in them.
            "pymongo": {"level": "WARNING"},
            # A dozen lines for every connection it opens or closes.
            "pika": {"level": "WARNING"},
            # It quotes the header lines of a partner that it cannot read.
            "urllib3": {"level": "ERROR"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """settings.LOGGING_CONFIG: Django calls it at start with settings.LOGGING."""
    logging.config.dictConfig(config)
    # Facts about the process that no line shows, and that are looked up for every line otherwise.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # nor is the calling line looked for
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, as_record],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLogger().level),
        # Tests capture logs, which a cached logger escapes.
        cache_logger_on_first_use="pytest" not in sys.modules,
    )
    sys.excepthook = log_uncaught


def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """sys.excepthook: what ends a command is a line like any other, where Python would print the exception's text.

    Except at a prompt (`manage.py shell`), where somebody waits to read it. What a CommandError says is our own.
    """
    from django.core.management import CommandError

    if hasattr(sys, "ps1"):
        sys.__excepthook__(kind, error, trace)
        return
    said = {"said": str(error)} if isinstance(error, CommandError) else {}
    structlog.get_logger(__name__).critical("uncaught_exception", exc_info=(kind, error, trace), **said)


def as_record(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    """The last processor: the event becomes the record's message as it is, for the formatters below."""
    return (event,), {"exc_info": event.pop("exc_info", None)}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a line says, in either format: the event first, then who said it, for which request, and what was raised."""
    event = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
    fields = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **event,
    }
    request_id = current_request_id()
    if request_id:
        fields["requestId"] = request_id
    if record.exc_info and record.exc_info[0]:
        fields |= exception_fields(record.exc_info)
    return fields


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(fields_of(record), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """Text for a developer's terminal: one line, and one for each frame that an exception passed."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        clock, level = fields.pop("timestamp")[11:23], fields.pop("level").upper()
        name, event, frames = fields.pop("logger"), fields.pop("event", ""), fields.pop("frames", [])
        rest = " ".join(f"{key}={value}" for key, value in fields.items())
        return "\n    ".join([f"{clock} {level:<7} {name}: {event} {rest}".rstrip(), *frames])


FORMATTERS: dict[str, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


class WithoutRequests(logging.Filter):
    """gunicorn quotes a request that it could not read or serve; what is in it is the caller's."""

    QUOTING = ("Invalid request", "Error handling request")

    def filter(self, record: logging.LogRecord) -> bool:
        for start in self.QUOTING:
            if str(record.msg).startswith(start):
                record.msg, record.args = start, ()
        return True


def exception_fields(exc_info: ExceptionInfo | tuple[None, None, None]) -> dict[str, Any]:
    """The types of an exception and its causes, and the frames it passed; not its text."""
    kinds: list[str] = []
    error = exc_info[1]
    while error is not None and len(kinds) < FRAMES_SHOWN:
        kinds.append(f"{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or error.__context__
    frames = traceback.extract_tb(exc_info[2])[-FRAMES_SHOWN:]
    return {"exception": kinds, "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
