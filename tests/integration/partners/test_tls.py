"""The same promises over TLS."""

import socket
import ssl
import subprocess
import time
from decimal import Decimal

import pytest
from bson import ObjectId

from booking_service.partners import payments
from booking_service.partners.exceptions import PaymentServiceDown
from tests.integration.partners import servers

BOOKING = ObjectId()
ORDER = {"orderId": "o1", "bookingId": str(BOOKING), "amount": 1, "currency": "INR", "status": "OPEN"}


class TLSPartner(servers.LoopbackPartner):
    """Speaks TLS with a certificate that only `PARTNER_CA_BUNDLE` knows."""

    context: ssl.SSLContext

    @property
    def url(self) -> str:
        return super().url.replace("http://127.0.0.1", "https://localhost")

    def _serve(self, connection: socket.socket) -> None:
        try:
            encrypted = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return
        super()._serve(encrypted)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def payment_service(certificate, settings):
    TLSPartner.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TLSPartner.context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server = TLSPartner([servers.answers(ORDER)])
    settings.PAYMENT_SERVICE_URL = server.url
    settings.PARTNER_CA_BUNDLE = str(certificate / "cert.pem")
    yield server
    server.stop()


def open_order() -> payments.PaymentOrder:
    return payments.order_open(
        booking_id=BOOKING, patient_id=ObjectId(), amount=Decimal(1), currency="INR", idempotency_key="k"
    )


def test_it_trusts_the_authority_it_is_given(payment_service):
    assert open_order().id == "o1"
    assert open_order().id == "o1"
    assert payment_service.connections == 1


def test_it_trusts_nobody_else(payment_service, settings):
    settings.PARTNER_CA_BUNDLE = ""

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert payment_service.requests == []


@pytest.mark.parametrize("behaviour", [servers.hangs, servers.drips_headers, servers.drips_body])
def test_a_slow_partner_holds_no_caller_longer_than_the_deadline(payment_service, settings, behaviour):
    settings.PARTNER_DEADLINE_SECONDS = 1.0
    payment_service.behave(behaviour)
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert time.monotonic() - started < 2


def test_a_handshake_that_never_comes_ends_by_the_deadline(partner, settings):
    silent = partner(servers.hangs)
    settings.PAYMENT_SERVICE_URL = silent.url.replace("http://", "https://")
    started = time.monotonic()

    with pytest.raises(PaymentServiceDown):
        open_order()

    assert time.monotonic() - started < 5
