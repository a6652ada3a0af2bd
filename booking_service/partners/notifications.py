"""The notification service: tell a patient something about a booking. `notification.sent` tells when it has been said.

It is told ids, the kind of message and the channels the patient wants, nothing personal and nothing clinical: it knows
name, phone and address of a patient by the id, from `patient.registered` and the main platform.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bson import ObjectId
from django.conf import settings

from booking_service.partners.answers import Answer
from booking_service.partners.client import PartnerClient
from booking_service.partners.exceptions import NotificationServiceDown

client = PartnerClient("notifications", url_setting="NOTIFICATION_SERVICE_URL", unavailable=NotificationServiceDown)


class Channel(StrEnum):
    """The ways to reach a patient."""

    EMAIL = "EMAIL"
    SMS = "SMS"
    PUSH = "PUSH"
    WHATSAPP = "WHATSAPP"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The notification service's word that it will deliver; `id` is its own."""

    id: str


def send(
    *,
    patient_id: ObjectId,
    booking_id: ObjectId,
    kind: str,
    channels: Collection[str],
    facts: Mapping[str, str],
    idempotency_key: str,
) -> Accepted:
    """Hands one message over; the same key again does not send it twice.

    `kind` names the template (`confirmation`, `assignment`, `reschedule`, `cancellation`, `reminder`), `facts` are what
    it shows besides the patient (`startsAt`, `serviceType` and the like): ids, times and catalog names only.
    Raises `NotificationServiceDown` (try again later, same key) or `PartnerRefused`.
    """
    body = {
        "patientId": str(patient_id),
        "bookingId": str(booking_id),
        "kind": kind,
        "channels": sorted(channels),
        "facts": dict(facts),
    }
    return client.post(settings.NOTIFICATIONS_PATH, body, _read_accepted, idempotency_key=idempotency_key)


def _read_accepted(answer: Answer) -> Accepted:
    return Accepted(id=answer.text("notificationId"))
