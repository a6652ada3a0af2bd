"""What the notification service is told: ids, channels and facts."""

import pytest
from bson import ObjectId

from booking_service.partners import notifications
from booking_service.partners.exceptions import NotificationServiceDown, PartnerRefused
from tests.integration.partners import servers

BOOKING, PATIENT = ObjectId(), ObjectId()


@pytest.fixture
def notification_service(partner, settings):
    server = partner(servers.answers({"notificationId": "n_1"}, status="202 Accepted"))
    settings.NOTIFICATION_SERVICE_URL = server.url
    return server


def send() -> notifications.Accepted:
    return notifications.send(
        patient_id=PATIENT,
        booking_id=BOOKING,
        kind="confirmation",
        channels={"SMS", "EMAIL"},
        facts={"startsAt": "2026-11-22T04:30:00Z", "serviceType": "WOUND_DRESSING"},
        idempotency_key="booking-confirmation",
    )


def test_it_hands_a_message_over(notification_service):
    assert send() == notifications.Accepted("n_1")

    (request,) = notification_service.requests
    assert (request.method, request.path) == ("POST", "/api/notifications")
    assert request.headers["idempotency-key"] == "booking-confirmation"
    assert request.json == {
        "patientId": str(PATIENT),
        "bookingId": str(BOOKING),
        "kind": "confirmation",
        "channels": ["EMAIL", "SMS"],
        "facts": {"startsAt": "2026-11-22T04:30:00Z", "serviceType": "WOUND_DRESSING"},
    }


def test_it_says_when_the_service_is_down(notification_service):
    notification_service.behave(servers.resets)

    with pytest.raises(NotificationServiceDown):
        send()


def test_it_says_when_the_service_refuses(notification_service):
    notification_service.behave(servers.refuses("422 No", b'{"code": "NO_SUCH_PATIENT"}'))

    with pytest.raises(PartnerRefused) as refusal:
        send()

    assert refusal.value.partner_code == "NO_SUCH_PATIENT"


def test_an_answer_without_an_id_is_not_an_acceptance(notification_service):
    notification_service.behave(servers.answers({}))

    with pytest.raises(NotificationServiceDown):
        send()
