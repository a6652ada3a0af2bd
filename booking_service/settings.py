"""The only reader of the environment. Every value is parsed strictly; development has defaults that run.

`NAME_FILE` names a file that holds the value of `NAME`, for secrets mounted as files. An empty value is none: the
templates of secrets and of compose files have many, and an empty secret would sign for anybody.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from redis import ConnectionPool, RedisError

from booking_service.djongo import server
from booking_service.djongo.apps import MIGRATION_MODULES  # noqa: F401 - Django's setting
from booking_service.operations.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "1.0.0"
env = environ.FileAwareEnv()

TRUE_WORDS, FALSE_WORDS = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
SMALLEST_SECRET_BYTES = 32
LARGEST_NUMBER = 1_000_000  # so many days, minutes, seconds or bytes fit wherever they are used
MOST_TO_START = 1000  # processes, and threads in each
HOST = re.compile(r"[\w.%-]+")  # %2F: MongoDB takes a Unix socket's path for a host
DEVELOPMENT_SECRET = "development-only-secret-that-production-refuses"  # noqa: S105 - refused in production below


def text(name: str, default: str = "") -> str:
    """The variable's text without surrounding white space; the default where there is none."""
    try:
        given = str(env.ENVIRON.get(name, "")).strip()  # env.str takes what begins with $ for another variable
        given.encode()  # a variable's bytes that are no UTF-8 came as surrogates
    except OSError as problem:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {problem.strerror}.") from None
    except UnicodeError:
        raise ImproperlyConfigured(f"{name} must be UTF-8, also in the file that {name}_FILE names.") from None
    return given or default


def flag(name: str, default: bool) -> bool:
    """A boolean; anything but true/false, 1/0, yes/no, on/off is refused."""
    word = text(name, str(default)).lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ImproperlyConfigured(f"{name} must be true or false, not {word!r}.")
    return word in TRUE_WORDS


def number(name: str, default: int, smallest: int = 0, largest: int = LARGEST_NUMBER) -> int:
    """A whole number from `smallest` to `largest`."""
    word = text(name, str(default))
    if not re.fullmatch("[0-9]{1,20}", word) or not smallest <= int(word) <= largest:
        raise ImproperlyConfigured(f"{name} must be a whole number from {smallest} to {largest}, not {word!r}.")
    return int(word)


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def seconds(name: str, default: str) -> list[float]:
    """A comma-separated list of durations in seconds."""
    try:
        durations = [float(word) for word in words(name, default)]
    except ValueError:
        durations = []
    if not durations or not all(0 < duration <= LARGEST_NUMBER for duration in durations):
        raise ImproperlyConfigured(f"{name} must be durations in seconds with commas between them, such as {default}.")
    return durations


def time_zone(name: str, default: str) -> str:
    """A zone of the tz database."""
    zone = text(name, default)
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # no such zone, no name of one, the name of a folder of zones
        raise ImproperlyConfigured(f"{name} must be a time zone such as {default}, not {zone!r}.") from None
    return zone


def url(name: str, default: str, *schemes: str) -> str:
    """A URL of one of `schemes`; production has no defaults for the URLs it depends on."""
    value = text(name, "" if PRODUCTION else default)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: give it the URL ({schemes[0]}://…) of the server to use.")
    if not names_a_server(value, *schemes):
        raise ImproperlyConfigured(
            f"{name} must be a URL that starts with {' or '.join(f'{s}://' for s in schemes)} and names a host, with a "
            "port from 1 to 65535 or none. What else is in it, such as a password, is percent-encoded."
        )
    return value


def names_a_server(value: str, *schemes: str) -> bool:
    """Whether `value` is a URL of one of `schemes` whose host and port can be: for MongoDB several of them, separated
    by commas; for unix:// a path."""
    try:
        scheme, location, path, _, _ = urlsplit(value)
        hosts = location.rpartition("@")[2]
        servers = [urlsplit(f"//{host}") for host in (hosts.split(",") if scheme == "mongodb" else [hosts])]
        possible = all(can_be_a_host(server.hostname or "") and server.port != 0 for server in servers)
    except ValueError:
        return False
    printable = value.isprintable() and " " not in value
    return scheme in schemes and printable and (bool(path) if scheme == "unix" else possible)


def can_be_a_host(host: str) -> bool:
    """Whether a server can have this name or address. Raises ValueError for some that cannot."""
    if ":" in host or re.fullmatch("[0-9.]+", host):
        return bool(ip_address(host))
    return bool(HOST.fullmatch(host) and host.encode("idna"))


@contextmanager
def accepted(name: str, what: str) -> Iterator[None]:
    """What a library refuses inside is refused by the variable's name, without the library's text: it may quote a
    password."""
    try:
        yield
    except (RedisError, OSError, ValueError, TypeError, AttributeError) as refusal:
        raise ImproperlyConfigured(f"{name} must {what} ({type(refusal).__name__}).") from None


def secret(name: str, default: str = DEVELOPMENT_SECRET) -> str:
    """A secret of at least SMALLEST_SECRET_BYTES, or "" where that is the default; production has no default one."""
    value = text(name, default)
    if PRODUCTION and value == DEVELOPMENT_SECRET:
        raise ImproperlyConfigured(
            f"{name} is not set: production needs a random one, `openssl rand -base64 48` makes it."
        )
    if value and len(value.encode()) < SMALLEST_SECRET_BYTES:
        raise ImproperlyConfigured(f"{name} must have at least {SMALLEST_SECRET_BYTES} bytes.")
    return value


# --- what runs -----------------------------------------------------------------------------------------------------
ENVIRONMENT = text("ENVIRONMENT", "development")
if ENVIRONMENT not in {"development", "test", "production"}:
    raise ImproperlyConfigured(f"ENVIRONMENT must be development, test or production, not {ENVIRONMENT!r}.")
PRODUCTION = ENVIRONMENT == "production"
DEBUG = False  # error pages never show code or data, in development neither
SERVICE_NAME = "patient-booking-service"
PORT = number("PORT", 3001, smallest=1, largest=65_535)
WEB_CONCURRENCY = number("WEB_CONCURRENCY", 2, smallest=1, largest=MOST_TO_START)
WEB_THREADS = number("WEB_THREADS", 8, smallest=1, largest=MOST_TO_START)
WEB_PIN_CPU = flag("WEB_PIN_CPU", True)  # each web process on one CPU

ALLOWED_HOSTS = words("ALLOWED_HOSTS", "*")
ROOT_URLCONF = "booking_service.urls"
WSGI_APPLICATION = "booking_service.wsgi.application"
APPEND_SLASH = False

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "booking_service.operations.admin_site.StaffAdminConfig",
    "booking_service.djongo.apps.MongoAuthConfig",
    "booking_service.djongo.apps.MongoContentTypesConfig",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_mongodb_backend",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "booking_service.api",
    "booking_service.operations",
    "booking_service.partners",
    "patients",
    "catalog",
    "bookings",
    "events",
    "monolith",
]
_OUTERMOST = [
    "booking_service.api.request_id.RequestIdMiddleware",
    "booking_service.operations.requests.RequestRecordMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
_LIMITS = [
    "booking_service.api.throttling.ClientLimitMiddleware",
    "booking_service.api.body_limit.BodyLimitMiddleware",
]
API_MIDDLEWARE = [*_OUTERMOST, *_LIMITS]
# What is here besides does nothing for the API, and is not asked there (wsgi.py).
MIDDLEWARE = [
    *_OUTERMOST,
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *_LIMITS,
    "booking_service.api.admin_only.PageCspMiddleware",
    "booking_service.api.admin_only.AdminSessionMiddleware",
    "booking_service.api.admin_only.AdminCommonMiddleware",
    "booking_service.api.admin_only.AdminAuthenticationMiddleware",
    "booking_service.api.admin_only.AdminMessageMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "booking_service" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "booking_service" / "static"]
STATIC_ROOT = BASE_DIR / ".local" / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION  # production collects them once, when the image is built

# --- MongoDB -------------------------------------------------------------------------------------------------------
MONGODB_URI = url(
    "MONGODB_URI",
    "mongodb://127.0.0.1:27017/patient_booking?replicaSet=rs0&directConnection=true",
    "mongodb",
    "mongodb+srv",
)
MONGODB_NAME = urlsplit(MONGODB_URI).path.strip("/") or "patient_booking"
MONGODB_OPTIONS = {
    "maxPoolSize": 50,
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 20000,
    "appname": SERVICE_NAME,
}
with accepted("MONGODB_URI", "have a name of a database, options and files that the driver takes"):
    server.check_names(MONGODB_URI, MONGODB_NAME, MONGODB_OPTIONS)
DATABASES = {
    "default": {
        "ENGINE": "booking_service.djongo",
        "HOST": MONGODB_URI,
        "NAME": MONGODB_NAME,
        "OPTIONS": MONGODB_OPTIONS,
    }
}
DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"

# --- Redis ---------------------------------------------------------------------------------------------------------
REDIS_URL = url("REDIS_URL", "redis://127.0.0.1:6379/0", "redis", "rediss", "unix")
with accepted("REDIS_URL", "have a number of a database and options that the driver takes"):
    if not REDIS_URL.startswith("unix:") and not re.fullmatch("/?[0-9]*", urlsplit(REDIS_URL).path):
        raise ValueError
    ConnectionPool.from_url(REDIS_URL).make_connection()  # which connects nowhere yet
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "patient-booking",
        "OPTIONS": {
            # Not pickle, its default: what is read from Redis must never run.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 0.25,
            "SOCKET_TIMEOUT": 0.5,
        },
    }
}

# --- RabbitMQ ------------------------------------------------------------------------------------------------------
RABBITMQ_URL = url("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/", "amqp", "amqps")
EVENTS_QUEUE = text("EVENTS_QUEUE", "patient-booking.events")
EVENTS_RETRY_SECONDS = seconds("EVENTS_RETRY_SECONDS", "5,30,300,1800")
EVENTS_LEASE_SECONDS = number("EVENTS_LEASE_SECONDS", 30, smallest=1)  # how long a dead publisher's rows wait
EVENTS_CONFIRM_SECONDS = number("EVENTS_CONFIRM_SECONDS", 10, smallest=1)  # shorter than a lease
EVENTS_SWEEP_SECONDS = number("EVENTS_SWEEP_SECONDS", 5, smallest=1)  # looks for what no wake-up told of
EVENTS_BATCH = number("EVENTS_BATCH", 1000, smallest=1)
EVENTS_PREFETCH = number("EVENTS_PREFETCH", 20, smallest=1)  # not above the queue's delivery limit
EVENTS_CONSUMER_THREADS = number("EVENTS_CONSUMER_THREADS", 12, smallest=1, largest=MOST_TO_START)
EVENTS_PARTNER_ATTEMPTS = number("EVENTS_PARTNER_ATTEMPTS", 12, smallest=1)  # about two hours of asking
EVENTS_PARTNER_THREADS = number("EVENTS_PARTNER_THREADS", 4, smallest=1, largest=MOST_TO_START)
EVENTS_METRICS_PORT = number(
    "EVENTS_METRICS_PORT", 0, largest=65_535
)  # of publish_events and consume_events; 0 is none

# --- who calls -----------------------------------------------------------------------------------------------------
JWT_SECRET = secret("JWT_SECRET")
SECRET_KEY = secret("SECRET_KEY", JWT_SECRET)  # signs staff sessions
JWT_SECRET_PREVIOUS = secret("JWT_SECRET_PREVIOUS", "")
SERVICE_SECRET = secret("SERVICE_SECRET")
ACCEPT_MONOLITH_TOKENS = flag("ACCEPT_MONOLITH_TOKENS", True)
ACCESS_TOKEN_LIFETIME = timedelta(minutes=number("ACCESS_TOKEN_MINUTES", 30, smallest=1))
REFRESH_TOKEN_LIFETIME = timedelta(days=number("REFRESH_TOKEN_DAYS", 30, smallest=1))
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SECRET,
    "TOKEN_TYPE_CLAIM": "type",
    "USER_ID_CLAIM": "id",
    "ACCESS_TOKEN_LIFETIME": ACCESS_TOKEN_LIFETIME,
    "REFRESH_TOKEN_LIFETIME": REFRESH_TOKEN_LIFETIME,
}
PASSWORD_HASHES_AT_ONCE = number(
    "PASSWORD_HASHES_AT_ONCE", max(WEB_THREADS * 2 // 3, 1), smallest=1
)  # sign-ins, registrations and changes of a password, a process
PASSWORD_HASHERS = ["patients.passwords.PatientArgon2Hasher", "patients.passwords.MonolithBcryptHasher"]
RATE_LIMIT_ENABLED = flag("RATE_LIMIT_ENABLED", True)
RATE_LIMIT_REQUESTS = number("RATE_LIMIT_REQUESTS", 1000, smallest=1)  # of one client address in a window
RATE_LIMIT_WINDOW_SECONDS = number("RATE_LIMIT_WINDOW_SECONDS", 900, smallest=1)
TRUSTED_PROXIES = words("TRUSTED_PROXIES")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- the admin, in a browser ----------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Patient bookings",
    "SITE_HEADER": "Patient bookings",
    "SITE_SYMBOL": "medical_services",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("booking_service/favicon.svg")}
    ],
    "SITE_URL": None,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "booking_service.operations.dashboard.page",
    "STYLES": [lambda _request: static("booking_service/admin.css")],
    "COLORS": {
        "primary": {  # a calm teal
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(60% .118 184.704)",
            "700": "oklch(51.1% .096 186.391)",
            "800": "oklch(43.7% .078 188.216)",
            "900": "oklch(38.6% .063 188.416)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
    "LOGIN": {"form": "booking_service.api.admin_sign_in.LimitedSignInForm"},
}
SESSION_COOKIE_AGE = 60 * number("ADMIN_IDLE_MINUTES", 30, smallest=1)
SESSION_SAVE_EVERY_REQUEST = True  # so that it is the idle time that counts
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_HTTPONLY = True
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # not in a cookie, which goes everywhere
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS")
LOGIN_REDIRECT_URL = "/admin/"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
# TLS ends at the ingress, which redirects; pods and probes speak plain HTTP to each other.
SECURE_SSL_REDIRECT = flag("SECURE_SSL_REDIRECT", False)
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # SECURE_SSL_REDIRECT, for the same reason
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", "'unsafe-eval'"],  # unfold's Alpine evaluates its attributes; no inline script runs
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}

# --- partners ------------------------------------------------------------------------------------------------------
MAIN_API_URL = url("MAIN_API_URL", "http://127.0.0.1:3900", "http", "https")
PAYMENT_SERVICE_URL = url("PAYMENT_SERVICE_URL", "http://127.0.0.1:3901", "http", "https")
NOTIFICATION_SERVICE_URL = url("NOTIFICATION_SERVICE_URL", "http://127.0.0.1:3902", "http", "https")
MAIN_API_PROVIDER_PATH = text("MAIN_API_PROVIDER_PATH", "/api/internal/providers/{id}")
PAYMENT_ORDERS_PATH = text("PAYMENT_ORDERS_PATH", "/api/payments/orders")
PAYMENT_REFUNDS_PATH = text("PAYMENT_REFUNDS_PATH", "/api/payments/refunds")
NOTIFICATIONS_PATH = text("NOTIFICATIONS_PATH", "/api/notifications")
PARTNER_CA_BUNDLE = text("PARTNER_CA_BUNDLE")
if PARTNER_CA_BUNDLE:
    with accepted("PARTNER_CA_BUNDLE", "be a file of certificates"):
        ssl.create_default_context(cafile=PARTNER_CA_BUNDLE)
PARTNER_CONNECT_SECONDS = number("PARTNER_CONNECT_MS", 1000, smallest=1) / 1000
PARTNER_DEADLINE_SECONDS = number("PARTNER_DEADLINE_MS", 3000, smallest=1) / 1000  # the whole call, retry included
PARTNER_CALLS_AT_ONCE = number(
    "PARTNER_CALLS_AT_ONCE", max(WEB_THREADS // 2, 1), smallest=1
)  # to one partner, a process
PARTNER_ANSWER_MAX_BYTES = number("PARTNER_ANSWER_MAX_BYTES", 65_536, smallest=1)
PARTNER_BREAKER_FAILURES = number("PARTNER_BREAKER_FAILURES", 5, smallest=1)
PARTNER_BREAKER_SECONDS = number("PARTNER_BREAKER_SECONDS", 30, smallest=1)
PROVIDER_CACHE_SECONDS = number("PROVIDER_CACHE_SECONDS", 30)  # so long somebody who was dismissed may still act
PROVIDER_STALE_SECONDS = number("PROVIDER_STALE_SECONDS", 0)  # more, for providers, while the main API is down

# --- time and language ---------------------------------------------------------------------------------------------
SERVICE_TIME_ZONE = time_zone("SERVICE_TIME_ZONE", "Asia/Kolkata")
TIME_ZONE = SERVICE_TIME_ZONE
USE_TZ = True
TRAVEL_BUFFER_MINUTES = number("TRAVEL_BUFFER_MINUTES", 15)  # what a provider needs between two visits
UNPAID_MINUTES = number("UNPAID_MINUTES", 30, smallest=1)  # an online booking waits this long for its payment
USE_I18N = False
LANGUAGE_CODE = "en-gb"

# --- the API -------------------------------------------------------------------------------------------------------
API_BODY_LIMIT = 10_240  # bytes
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440  # of the admin's forms, the files in them included
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "booking_service.api.schema.ServiceSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["patients.authentication.PatientAuthentication"],
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Patient booking service",
    "DESCRIPTION": (
        "Home nursing and physiotherapy visits: patients, the service catalog, bookings.\n\n"
        "To try it: send the example of `POST /api/patients/register`, copy `data.token` from the answer, press "
        "*Authorize* and paste it. Every example works when sent."
    ),
    "VERSION": VERSION,
    "PREPROCESSING_HOOKS": ["booking_service.api.schema.without_aliases"],
    "POSTPROCESSING_HOOKS": ["booking_service.api.schema.with_security_schemes"],
}

# --- logs, metrics, errors -----------------------------------------------------------------------------------------
LOG_FORMAT = text("LOG_FORMAT", "json" if PRODUCTION else "text")
if LOG_FORMAT not in {"json", "text"}:
    raise ImproperlyConfigured(f"LOG_FORMAT must be json or text, not {LOG_FORMAT!r}.")
LOG_LEVEL = text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {LOG_LEVEL!r}.")
LOG_FILE = text("LOG_FILE")
if LOG_FILE and not Path(LOG_FILE).parent.is_dir():
    raise ImproperlyConfigured(f"LOG_FILE must be in a folder that is there, not {LOG_FILE!r}.")
LOGGING_CONFIG = "booking_service.operations.logging.configure"
LOGGING = logging_config(log_format=LOG_FORMAT, level=LOG_LEVEL, log_file=LOG_FILE)
SENTRY_DSN = text("SENTRY_DSN")
