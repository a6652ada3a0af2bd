"""Log lines."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import structlog

from booking_service.api.request_id import bind_request_id
from booking_service.operations.logging import (
    JsonFormatter,
    TextFormatter,
    WithoutRequests,
    as_record,
    log_uncaught,
    logging_config,
)
from booking_service.settings import BASE_DIR


def record(message: Any, *args: Any, **options: Any) -> logging.LogRecord:
    return logging.LogRecord("bookings.services", logging.WARNING, __file__, 1, message, args, None, **options)


def failed(text: str) -> logging.LogRecord:
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise RuntimeError(text) from cause
    except RuntimeError:
        made = record({"event": "it failed"})
        made.exc_info = sys.exc_info()
        return made


def test_it_writes_one_json_object_a_line() -> None:
    bind_request_id("trace-1")

    line = JsonFormatter().format(record({"event": "slot taken", "code": "SLOT_TAKEN"}))

    fields = json.loads(line)
    assert "\n" not in line
    assert fields.pop("timestamp").endswith("+00:00")
    assert fields == {
        "level": "warning",
        "logger": "bookings.services",
        "event": "slot taken",
        "code": "SLOT_TAKEN",
        "requestId": "trace-1",
    }


def test_it_writes_lines_of_libraries_alike() -> None:
    assert json.loads(JsonFormatter().format(record("%s is away", "Redis")))["event"] == "Redis is away"


def test_it_tells_where_an_exception_happened_and_not_its_text() -> None:
    line = JsonFormatter().format(failed("asha@example.com"))

    fields = json.loads(line)
    assert "asha" not in line
    assert fields["exception"] == ["builtins.RuntimeError", "builtins.KeyError"]
    assert fields["frames"][-1].endswith(" failed")


def test_it_tells_a_developer_the_same_in_lines() -> None:
    first, *frames = TextFormatter().format(failed("asha@example.com")).splitlines()

    assert "asha" not in first
    assert "WARNING bookings.services: it failed " in first
    assert first.endswith(" exception=['builtins.RuntimeError', 'builtins.KeyError']")
    assert [frame.endswith(" failed") and frame.startswith(f"    {__file__}:") for frame in frames] == [True]


def test_it_writes_what_json_does_not_know() -> None:
    assert json.loads(JsonFormatter().format(record({"event": "x", 1: object})))["1"] == "<class 'object'>"


@pytest.mark.parametrize(
    ("message", "args", "kept"),
    [
        ("Invalid request from ip=1.1.1.1: 'canary'", (), "Invalid request"),
        ("Error handling request %s", ("/canary?q=canary",), "Error handling request"),
        ("Booting worker with pid: %s", (7,), "Booting worker with pid: 7"),
    ],
)
def test_it_drops_requests_from_gunicorns_messages(message: str, args: tuple[Any, ...], kept: str) -> None:
    quoted = record(message, *args)

    assert WithoutRequests().filter(quoted)
    assert quoted.getMessage() == kept


def test_it_hands_structlogs_events_to_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        structlog.get_logger("bookings.services").info("slot taken", code="SLOT_TAKEN")

    assert caplog.records[-1].name == "bookings.services"
    assert caplog.records[-1].msg == {"event": "slot taken", "code": "SLOT_TAKEN"}


def test_it_keeps_the_exception_of_a_structlog_event() -> None:
    (event,), options = as_record(None, "error", {"event": "x", "exc_info": True})

    assert (event, options) == ({"event": "x"}, {"exc_info": True})


@pytest.mark.parametrize("name", ["django.request", "django.security.csrf", "django.security.DisallowedHost"])
def test_it_says_nothing_of_requests_that_django_refuses(name: str) -> None:
    levels = {logger: logging.getLevelName(options["level"]) for logger, options in loggers_configured().items()}
    nearest = max((logger for logger in levels if f"{name}.".startswith(f"{logger}.")), key=len)

    assert levels[nearest] > logging.WARNING


def loggers_configured() -> dict[str, Any]:
    found: dict[str, Any] = logging_config(log_format="json", level="INFO")["loggers"]
    return found


def ended(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a command of `manage.py`, and what it wrote to the terminal."""
    process = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return process.returncode, process.stderr


BREAKS = """
def broken():
    try:
        {}['symptoms']
    except KeyError as cause:
        raise OSError('fever') from cause
broken()
"""
REFUSES = "from django.core.management import CommandError; raise CommandError('There is no such patient.')"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_command_that_an_exception_ends_tells_where_and_not_its_text(log_format: str) -> None:
    code, said = ended("shell", "--command", BREAKS, LOG_FORMAT=log_format)

    assert code == 1
    assert "uncaught_exception" in said
    assert re.search(r"builtins.OSError.*builtins.KeyError.*broken", said, re.DOTALL)
    assert [text for text in ("fever", "symptoms", "Traceback") if text in said] == []


@pytest.mark.parametrize("options", [[], ["--traceback"]])
def test_a_command_that_refuses_says_why(options: list[str]) -> None:
    code, said = ended("shell", "--command", REFUSES, *options)

    assert (code, "There is no such patient." in said) == (1, True)


def test_a_setting_that_is_refused_is_named_to_a_command() -> None:
    code, said = ended("check_indexes", LOG_LEVEL="LOUD")

    assert (code, "LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not 'LOUD'." in said) == (1, True)


def test_somebody_at_a_prompt_reads_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)

    log_uncaught(KeyError, KeyError("symptoms"), None)

    assert "KeyError: 'symptoms'" in capsys.readouterr().err


def test_it_writes_a_file_only_when_asked() -> None:
    assert list(logging_config(log_format="json", level="INFO")["handlers"]) == ["console"]
    assert list(logging_config(log_format="json", level="INFO", log_file="x.log")["handlers"]) == ["console", "file"]
