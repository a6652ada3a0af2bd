"""What is said at start about the partners' settings."""

import pytest

from booking_service.partners.checks import check_partners


@pytest.fixture
def production(settings):
    settings.PRODUCTION = True
    settings.MAIN_API_URL = "https://main.example"
    settings.PAYMENT_SERVICE_URL = "https://payments.example"
    settings.NOTIFICATION_SERVICE_URL = "https://notifications.example"
    return settings


def ids() -> list[str | None]:
    return [message.id for message in check_partners()]


def test_it_has_nothing_to_say_in_development():
    assert ids() == []


def test_it_has_nothing_to_say_about_real_partners(production):
    assert ids() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize(
    ("name", "port"), [("MAIN_API_URL", 3900), ("PAYMENT_SERVICE_URL", 3901), ("NOTIFICATION_SERVICE_URL", 3902)]
)
def test_it_refuses_stand_ins_in_production(production, name, port, host):
    setattr(production, name, f"http://{host}:{port}")

    assert ids() == ["partners.E001"]
    assert name in check_partners()[0].msg


def test_it_refuses_a_deadline_beyond_the_promise(settings):
    settings.PARTNER_DEADLINE_SECONDS = 4.6

    assert ids() == ["partners.E002"]
