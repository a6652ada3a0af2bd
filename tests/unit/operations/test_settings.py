"""What the environment may say, and what production refuses to start with."""

from __future__ import annotations

import re
import runpy
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from booking_service import settings as running

SOURCE = Path(running.__file__)
EXAMPLE = running.BASE_DIR / ".env.example"
NEEDED = (
    "MONGODB_URI",
    "REDIS_URL",
    "RABBITMQ_URL",
    "JWT_SECRET",
    "SERVICE_SECRET",
    "MAIN_API_URL",
    "PAYMENT_SERVICE_URL",
    "NOTIFICATION_SERVICE_URL",
)
PRODUCTION = {
    "ENVIRONMENT": "production",
    "MONGODB_URI": "mongodb://mongo.example.com/booking?replicaSet=rs0",
    "REDIS_URL": "rediss://redis.example.com/0",
    "RABBITMQ_URL": "amqps://rabbit.example.com/",
    "JWT_SECRET": "the-platform-s-secret-for-tokens-of-people",
    "SERVICE_SECRET": "the-platform-s-secret-for-its-services",
    "MAIN_API_URL": "https://main.example.com",
    "PAYMENT_SERVICE_URL": "https://payments.example.com",
    "NOTIFICATION_SERVICE_URL": "https://notifications.example.com",
}


def named() -> set[str]:
    """Every variable that settings.py reads."""
    return set(
        re.findall(r'\b(?:text|flag|number|words|seconds|time_zone|url|secret)\(\s*"([A-Z_]+)"', SOURCE.read_text())
    )


def numbers() -> list[str]:
    """Those of them that are whole numbers."""
    return re.findall(r'\bnumber\(\s*"([A-Z_]+)"', SOURCE.read_text())


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.env.ENVIRON, "files_cache", {})  # files are read once a process
    for name in named():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.fixture
def settings_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def read(**environment: str) -> dict[str, Any]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(SOURCE))

    return read


def test_it_runs_in_development_with_nothing_said(settings_with: Any) -> None:
    assert settings_with()["ENVIRONMENT"] == "development"


def test_it_runs_in_production_with_what_it_needs(settings_with: Any) -> None:
    assert settings_with(**PRODUCTION)["PRODUCTION"] is True


@pytest.mark.parametrize("empty", [None, "", "  "])
@pytest.mark.parametrize("name", NEEDED)
def test_production_does_not_start_without(settings_with: Any, name: str, empty: str | None) -> None:
    given = {key: value for key, value in PRODUCTION.items() if key != name}
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is not set"):
        settings_with(**given, **({} if empty is None else {name: empty}))


@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_SECRET_PREVIOUS", "SECRET_KEY", "SERVICE_SECRET"])
@pytest.mark.parametrize("bad", ["x" * 31, running.DEVELOPMENT_SECRET])
def test_production_does_not_start_with_a_short_or_default_secret(settings_with: Any, name: str, bad: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} "):
        settings_with(**{**PRODUCTION, name: bad})


def test_an_empty_value_is_none(settings_with: Any) -> None:
    read = settings_with(**PRODUCTION, SECRET_KEY="", PORT="", LOG_LEVEL=" ")

    assert read["SECRET_KEY"] == PRODUCTION["JWT_SECRET"]
    assert (read["PORT"], read["LOG_LEVEL"]) == (3001, "INFO")


def test_a_value_that_begins_with_a_dollar_is_itself_and_no_other_variable(settings_with: Any) -> None:
    secret = "$JWT_SECRET_that_really_begins_like_this"

    read = settings_with(**{**PRODUCTION, "SECRET_KEY": secret, "ALLOWED_HOSTS": "$HOSTS"})

    assert (read["SECRET_KEY"], read["ALLOWED_HOSTS"]) == (secret, ["$HOSTS"])
    with pytest.raises(ImproperlyConfigured, match=r"^ENVIRONMENT must be "):
        settings_with(ENVIRONMENT="$STAGE")


def test_a_secret_may_stand_in_a_file(settings_with: Any, tmp_path: Path) -> None:
    mounted = tmp_path / "jwt"
    mounted.write_text("a-secret-that-was-mounted-as-a-file-here\n")
    given = {name: value for name, value in PRODUCTION.items() if name != "JWT_SECRET"}

    assert settings_with(**given, JWT_SECRET_FILE=str(mounted))["JWT_SECRET"] == mounted.read_text().strip()


def test_a_secret_that_is_no_utf_8_is_named(settings_with: Any, tmp_path: Path) -> None:
    (tmp_path / "jwt").write_bytes(b"\xff" * 40)
    with pytest.raises(ImproperlyConfigured, match=r"^JWT_SECRET must be UTF-8, also in the file that JWT_SECRET_FILE"):
        settings_with(JWT_SECRET_FILE=str(tmp_path / "jwt"))


@pytest.mark.parametrize("name", numbers())
def test_the_largest_number_is_one_that_the_settings_can_be_made_with(settings_with: Any, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be a whole number from [01] to ") as refusal:
        settings_with(**{name: "2147483648"})
    largest = str(refusal.value).split(" to ")[1].split(",")[0]

    read = settings_with(**{name: largest})

    for lifetime in (read["ACCESS_TOKEN_LIFETIME"], read["REFRESH_TOKEN_LIFETIME"]):
        assert datetime.now(UTC) + lifetime
    assert datetime.now(UTC) + timedelta(seconds=read["SESSION_COOKIE_AGE"])


def test_a_file_that_is_not_there_is_named(settings_with: Any, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^JWT_SECRET_FILE names a file that cannot be read"):
        settings_with(JWT_SECRET_FILE=str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("ENVIRONMENT", "prod"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WEB_THREADS", "-1"),
        ("RATE_LIMIT_ENABLED", "maybe"),
        ("EVENTS_RETRY_SECONDS", "5,soon"),
        ("EVENTS_RETRY_SECONDS", "0"),
        ("SERVICE_TIME_ZONE", "Asia/Atlantis"),
        ("SERVICE_TIME_ZONE", "Asia"),
        ("SERVICE_TIME_ZONE", "../etc/passwd"),
        ("REDIS_URL", "http://redis.example.com"),
        ("REFRESH_TOKEN_DAYS", "2147483648"),
        ("REFRESH_TOKEN_DAYS", "1000001"),
        ("ADMIN_IDLE_MINUTES", "9" * 5000),
        ("EVENTS_CONSUMER_THREADS", "1001"),
        ("EVENTS_RETRY_SECONDS", "5,1e7"),
        ("RATE_LIMIT_REQUESTS", "१०"),
        ("LOG_LEVEL", "\udcff"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FILE", "/nowhere/service.log"),
    ],
)
def test_a_broken_value_is_refused_by_name_in_one_line(settings_with: Any, name: str, bad: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be ") as refusal:
        settings_with(**{name: bad})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("MONGODB_URI", "mongodb://user:hunter2@/booking"),
        ("MONGODB_URI", "mongodb://user:hunter2@one.example:27017,two.example:99999/booking"),
        ("MONGODB_URI", "mongodb://user:hun/ter2@one.example/booking"),
        ("MONGODB_URI", "mongodb://user:hunter2@one.example,,two.example/booking"),
        ("REDIS_URL", "redis://:hunter2@redis.example:0/0"),
        ("REDIS_URL", "redis://:hunter2@redis.example:port/0"),
        ("REDIS_URL", "unix://hunter2@"),
        ("RABBITMQ_URL", "amqp://user:hunter2@:5672/"),
        ("RABBITMQ_URL", "amqp://user:hunter2@one.example,two.example/"),
        ("RABBITMQ_URL", "amqp://user:hunter2@[::1/"),
        ("RABBITMQ_URL", "amqp://user:hunter2@[1::2::3]/"),
        ("MAIN_API_URL", "https://user:hunter2@main.example:65536"),
        ("MAIN_API_URL", "https://user:hunter2@300.1.1.1"),
        ("PAYMENT_SERVICE_URL", "https://user:hunter2@pay ments.example"),
        ("PAYMENT_SERVICE_URL", "https://user:hunter2@payments.example/\tv1"),
        ("PAYMENT_SERVICE_URL", "https:user:hunter2@payments.example"),
        ("NOTIFICATION_SERVICE_URL", "https://user:hunter2@notifi..cations.example"),
        ("NOTIFICATION_SERVICE_URL", "https://user:hunter2@" + "n" * 64 + ".example"),
        ("NOTIFICATION_SERVICE_URL", "https://user:hunter2@notifications\u2100.example"),
        ("NOTIFICATION_SERVICE_URL", "https://user:hunter2@{host}"),
    ],
)
def test_a_server_that_cannot_be_is_refused_without_its_password(settings_with: Any, name: str, bad: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be a URL ") as refusal:
        settings_with(**{**PRODUCTION, name: bad})
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("MONGODB_URI", "mongodb://user:hunter2@one.example/a.b"),
        ("MONGODB_URI", "mongodb://user:hunter2@one.example/a/b"),
        ("MONGODB_URI", "mongodb://user:hunter2@one.example/" + "n" * 64),
        ("MONGODB_URI", "mongodb://user:hunter2@one.example/booking?tlsCAFile=/nowhere"),
        ("MONGODB_URI", "mongodb+srv://user:hunter2@cluster0.example.net/a.b"),
        ("REDIS_URL", "redis://:hunter2@redis.example/0?socket_timeout=abc"),
        ("REDIS_URL", "redis://:hunter2@redis.example/0?nope=1"),
        ("REDIS_URL", "redis://:hunter2@redis.example/0?protocol=9"),
        ("REDIS_URL", "redis://:hunter2@redis.example/abc"),
        ("PARTNER_CA_BUNDLE", "/nowhere/hunter2.pem"),
        ("PARTNER_CA_BUNDLE", "/tmp"),
        ("PARTNER_CA_BUNDLE", __file__),
    ],
)
def test_what_a_library_would_refuse_later_is_refused_without_its_text(settings_with: Any, name: str, bad: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must (have|be) ") as refusal:
        settings_with(**{**PRODUCTION, name: bad})
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize(
    ("name", "good"),
    [
        (
            "MONGODB_URI",
            "mongodb://user:p%40ss@one.example,two.example:27018/booking?replicaSet=rs0&w=majority",
        ),
        ("MONGODB_URI", "mongodb+srv://user:pass@cluster0.example.net/booking"),
        ("MONGODB_URI", "mongodb://[::1]:27017/booking"),
        ("MONGODB_URI", "mongodb://one.example/" + "n" * 63),
        ("MONGODB_URI", "mongodb://%2Ftmp%2Fmongodb-27017.sock/booking"),
        ("REDIS_URL", "rediss://:pass@redis_1:6380/0"),
        ("REDIS_URL", "redis://redis:6379/1?socket_timeout=2&health_check_interval=30"),
        ("REDIS_URL", "redis://redis:6379"),
        ("REDIS_URL", "unix:///run/redis/redis.sock?db=1"),
        ("RABBITMQ_URL", "amqp://guest:p@ss@[fd00::1]:5672/%2Fbooking"),
        ("MAIN_API_URL", "http://10.0.0.7:3900/base/"),
        ("MAIN_API_URL", "https://bücher.example."),
        ("MAIN_API_URL", "https://main"),
    ],
)
def test_a_server_that_can_be_is_taken_as_it_is_named(settings_with: Any, name: str, good: str) -> None:
    assert settings_with(**{**PRODUCTION, name: good})[name] == good


def test_the_example_has_every_setting_and_no_other() -> None:
    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)) == named()


def test_the_example_says_what_the_defaults_are(settings_with: Any) -> None:
    """Taken at its word, the example changes nothing."""
    said = dict(re.findall(r"^#([A-Z_]+)=(.+)$", EXAMPLE.read_text(), re.MULTILINE))
    plain = settings_with()
    as_said = settings_with(**said)

    assert {name for name in plain if name.isupper() and plain[name] != as_said[name]} <= {"UNFOLD"}  # it has functions
