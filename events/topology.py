"""Which exchanges and queues this service needs: from its contracts and settings."""

from django.conf import settings

from . import broker, schemas


def topology() -> broker.Topology:
    """The service's exchanges, its queue with the explicit keys it is bound by, and the retry queues' delays."""
    contracts = (*schemas.PUBLISHED, *schemas.CONSUMED)
    return broker.Topology(
        queue=settings.EVENTS_QUEUE,
        exchanges=tuple(dict.fromkeys(contract.exchange for contract in contracts)),
        bindings=tuple((contract.exchange, contract.name) for contract in schemas.CONSUMED),
        retry_delays=tuple(settings.EVENTS_RETRY_SECONDS),
    )
