"""A token to try the API with, on a developer's machine."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from patients import services, tokens
from patients.exceptions import PatientNotFound


class Command(BaseCommand):
    help = 'Print an access token for a patient: curl -H "Authorization: Bearer $(python manage.py dev_token ID)" …'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("patient_id", help="the patient's id, 24 hex digits")

    def handle(self, *_args: Any, patient_id: str, **_options: Any) -> None:
        if settings.ENVIRONMENT == "production":
            raise CommandError("This command does not run in production: sign in instead.")
        if not ObjectId.is_valid(patient_id):
            raise CommandError("The id of a patient has 24 hex digits.")
        try:
            services.patient_contact(ObjectId(patient_id))
        except PatientNotFound:
            raise CommandError("There is no such patient.") from None
        self.stdout.write(tokens.access_token_for(ObjectId(patient_id)))
