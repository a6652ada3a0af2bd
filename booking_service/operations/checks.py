"""System checks: what would make this service unsafe, or unable to keep its promises."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks

from booking_service.djongo import server

NO_REPLICA_SET = "MongoDB runs without a replica set, so it has no transactions, which every booking needs."
MAKE_REPLICA_SET = (
    "A single node will do: start it with `mongod --replSet rs0`, then once: "
    "`mongosh --eval \"rs.initiate({_id: 'rs0', members: [{_id: 0, host: '127.0.0.1:27017'}]})\"`."
)

# So many public addresses, by version, are nobody's proxies, but a large part of the internet.
PUBLIC_AT_LARGE = {4: 2 ** (32 - 8), 6: 2 ** (128 - 20)}


@register(Tags.database)
def check_transactions(app_configs: Any, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """MongoDB has to be a replica set. One that cannot be reached is not this check's business."""
    if not databases or not server.lacks_transactions(settings.MONGODB_URI):
        return []
    return [Error(NO_REPLICA_SET, hint=MAKE_REPLICA_SET, id="operations.E001")]


@register()
def check_rate_limits(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Off is for load tests."""
    if settings.RATE_LIMIT_ENABLED:
        return []
    return [
        Warning(
            "Rate limits are off: nothing slows down somebody who guesses passwords.",
            hint="Unset RATE_LIMIT_ENABLED; false is for load tests.",
            id="operations.W002",
        )
    ]


@register()
def check_trusted_proxies(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A proxy that is misspelt is not trusted, and all its clients would share one limit; where everybody is trusted,
    everybody chooses the address whose limit it is."""
    return [
        Error(
            f"TRUSTED_PROXIES has {proxy!r}, which is no address and no network of proxies.",
            hint="Give addresses or networks, such as 10.0.0.0/8,192.168.1.7; not a large part of the internet.",
            id="operations.E003",
        )
        for proxy in [*_no_networks(settings.TRUSTED_PROXIES), *_everybody(settings.TRUSTED_PROXIES)]
    ]


@register(Tags.security, deploy=True)
def check_hosts(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """The admin builds links from the host that a request names."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Warning(
            "ALLOWED_HOSTS admits any host, so a forged Host header reaches the admin.",
            hint="Set ALLOWED_HOSTS to the names of this service.",
            id="operations.W004",
        )
    ]


def problems_at_start() -> list[CheckMessage]:
    """What a web process says when it starts; an Error means that it must not serve."""
    return [*check_transactions(None, databases=["default"]), *run_checks()]


def _no_networks(proxies: Iterable[str]) -> list[str]:
    return [proxy for proxy in proxies if _network(proxy) is None]


def _everybody(proxies: Iterable[str]) -> list[str]:
    """The public networks of each version that are, all together, a large part of the internet."""
    public = [network for network in map(_network, proxies) if network is not None and not network.is_private]
    versions: list[list[IPv4Network | IPv6Network]] = [
        [*collapse_addresses(network for network in public if isinstance(network, IPv4Network))],
        [*collapse_addresses(network for network in public if isinstance(network, IPv6Network))],
    ]
    return [
        ",".join(map(str, networks))
        for networks in versions
        if networks and sum(network.num_addresses for network in networks) >= PUBLIC_AT_LARGE[networks[0].version]
    ]


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None
