"""Where a request comes from, as far as it can be believed."""

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from booking_service.api.addresses import client_address, client_site


def address(settings: Settings, peer: str, forwarded: str | None, *proxies: str) -> str:
    settings.TRUSTED_PROXIES = list(proxies)
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers))


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "client"),
    [
        pytest.param("9.9.9.9", None, [], "9.9.9.9", id="nobody between"),
        pytest.param("9.9.9.9", "1.1.1.1", [], "9.9.9.9", id="forged, no proxy trusted"),
        pytest.param("9.9.9.9", "1.1.1.1", ["10.0.0.0/8"], "9.9.9.9", id="forged past the proxy"),
        pytest.param("10.0.0.1", "1.1.1.1", ["10.0.0.0/8"], "1.1.1.1", id="a proxy says so"),
        pytest.param("10.0.0.1", "6.6.6.6, 1.1.1.1", ["10.0.0.0/8"], "1.1.1.1", id="forged before the proxy"),
        pytest.param("10.0.0.1", "6.6.6.6,1.1.1.1 ,10.0.0.2", ["10.0.0.0/8"], "1.1.1.1", id="two proxies"),
        pytest.param("10.0.0.1", "10.0.0.3", ["10.0.0.0/8"], "10.0.0.3", id="a client inside"),
        pytest.param("10.0.0.1", "banana", ["10.0.0.0/8"], "10.0.0.1", id="nonsense"),
        pytest.param("10.0.0.1", None, ["10.0.0.0/8"], "10.0.0.1", id="a silent proxy"),
        pytest.param("10.0.0.1", "1.1.1.1", ["10.0.0.1"], "1.1.1.1", id="one address trusted"),
        pytest.param("::ffff:10.0.0.1", "1.1.1.1", ["10.0.0.0/8"], "1.1.1.1", id="dual stack"),
        pytest.param("", "1.1.1.1", [], "unknown", id="a Unix socket"),
    ],
)
def test_it_believes_the_rightmost_untrusted_hop(
    settings: Settings, peer: str, forwarded: str | None, proxies: list[str], client: str
) -> None:
    assert address(settings, peer, forwarded, *proxies) == client


def test_it_takes_an_ipv6_site_for_one_client(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = []
    sites = {
        client_site(RequestFactory().get("/", REMOTE_ADDR=peer))
        for peer in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    }

    assert sites == {"2001:db8:1:2::/64", "2001:db8:1:3::/64"}
