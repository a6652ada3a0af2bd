"""Brings the database up to what the service expects: checks, migrations, the catalog, a staff user.

Run as a process of its own, so that nothing of Django or its connections lives in the process that runs the others.
Prints the staff user's password when it has just made that user; an error is one line on standard error, exit code 1.
"""

from __future__ import annotations

import io
import os
import secrets
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError

STAFF_NAME = "admin"


def staff_user_create() -> str | None:
    """Make the staff user and return its password; None when there is one already."""
    from django.contrib.auth.models import User

    if User.objects.filter(username=STAFF_NAME).exists():
        return None
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(STAFF_NAME, password=password)
    return password


def database_prepare() -> str | None:
    """Check, migrate, seed; returns what staff_user_create() does."""
    silence = io.StringIO()  # standard output is for the password alone
    call_command("check", databases=["default"], fail_level="ERROR", stdout=silence)
    call_command("migrate", verbosity=0, interactive=False, stdout=silence)
    call_command("seed_catalog", stdout=silence)
    return staff_user_create()


def one_line(error: Exception) -> str:
    """The sentence that matters: a system check's error comes with a headline before it and a count after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if str(error).startswith("SystemCheckError"):
        lines = [line for line in lines if line.startswith(("?:", "HINT:")) or "(" in line.split(":")[0]] or lines
    return " ".join(lines[:2]).removeprefix("?: ")


def main() -> int:
    """Prepare; 0, or 1 after saying why not."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "booking_service.settings")
    try:
        django.setup()
        password = database_prepare()
    except (ImproperlyConfigured, CommandError, DatabaseError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    if password:
        print(password)
    return 0


if __name__ == "__main__":
    sys.exit(main())
