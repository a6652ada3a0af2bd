"""A token to try the API with, on a developer's machine."""

from __future__ import annotations

from typing import Any

import jwt
from bson import ObjectId
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from booking_service.devstack import people
from patients import services, tokens
from patients.exceptions import EmailTaken, PatientNotFound, PhoneTaken

PROVIDERS = {"nurse": people.NURSE, "physiotherapist": people.PHYSIOTHERAPIST, "admin": people.ADMIN}
INVENTED_PATIENT = {
    "name": "Kavya Developer",
    "email": "kavya.developer@example.com",
    "phone": "9000000001",
    "password": "Development-1",
}


class Command(BaseCommand):
    help = 'Print a token: curl -H "Authorization: Bearer $(python manage.py dev_token patient ID)" …'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("who", choices=["patient", *PROVIDERS])
        parser.add_argument("id", nargs="?", default="", help="24 hex digits; without it, an invented person's")

    def handle(self, *_args: Any, who: str, id: str, **_options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("This command does not run in production: sign in instead.")
        if id and not ObjectId.is_valid(id):
            raise CommandError("An id has 24 hex digits.")
        self.stdout.write(_patient_token(id) if who == "patient" else _provider_token(id or PROVIDERS[who].id))


def _patient_token(identity: str) -> str:
    if not identity:
        return _invented_patient_token()
    try:
        services.patient_contact(ObjectId(identity))
    except PatientNotFound:
        raise CommandError("There is no such patient.") from None
    return tokens.access_token_for(ObjectId(identity))


def _invented_patient_token() -> str:
    try:
        return services.patient_register(**INVENTED_PATIENT)[1].token
    except (EmailTaken, PhoneTaken):
        email, password = INVENTED_PATIENT["email"], INVENTED_PATIENT["password"]
        return services.patient_login(email=email, password=password, address="dev_token")[1].token


def _provider_token(identity: str) -> str:
    """As the platform issues it: who it is, and nothing else; what they are, the main API knows."""
    return jwt.encode({"id": identity}, settings.JWT_SECRET, algorithm=tokens.ALGORITHM)
