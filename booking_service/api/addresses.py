"""Where a request comes from, as far as it can be believed."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# Whoever has one IPv6 address usually has a /64 of them.
IPV6_SITE_PREFIX = 64


def client_address(request: HttpRequest) -> str:
    """The address of the client: the rightmost hop that is not one of ``settings.TRUSTED_PROXIES``.

    ``X-Forwarded-For`` counts only as far as trusted proxies wrote it, so a forged one changes nothing. "unknown" where
    no hop can be read (a Unix socket without a proxy).
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.TRUSTED_PROXIES else ""
    return _client(request.META.get("REMOTE_ADDR", ""), forwarded, tuple(settings.TRUSTED_PROXIES))


def client_site(request: HttpRequest) -> str:
    """What rate limits count by: the address, or the /64 of an IPv6 one."""
    return _site(client_address(request))


@lru_cache(maxsize=4096)
def _client(peer: str, forwarded: str, proxies: tuple[str, ...]) -> str:
    trusted = _networks(proxies)
    believed = "unknown"
    for hop in [peer, *reversed(forwarded.split(","))]:
        address = _parsed(hop.strip())
        if address is None:
            break
        believed = str(address)
        if not any(address in network for network in trusted):
            break
    return believed


@lru_cache(maxsize=4096)
def _site(client: str) -> str:
    address = _parsed(client)
    if isinstance(address, IPv6Address):
        return str(ip_network(f"{address}/{IPV6_SITE_PREFIX}", strict=False))
    return client


@lru_cache(maxsize=8)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(proxy) for proxy in proxies)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address
