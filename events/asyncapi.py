"""The AsyncAPI document of this service, made of the contracts that the receivers and the consumer work with."""

from __future__ import annotations

from typing import Any

from .schemas import CONSUMED, PUBLISHED, SERVICE_NAME, Contract

Document = dict[str, Any]

DESCRIPTION = """\
Exchanges are durable topic exchanges; the routing key is the event's name. Messages are persistent JSON.

What this service publishes carries the event's id as `message_id`: a message may come twice, with the same id and the
same bytes, and is to be counted once. First copies of one booking's events come in the order of `aggregate_version`.

The id of the request that an event came from is both AMQP's `correlation_id` and a header of that name. What others
send may have it as AMQP's `correlation_id`: then our log lines bear it.

What this service consumes takes effect once for each type and `message_id`; without one, once for each body. A message
of more than 64 KB, that is no JSON, of an unknown type, not published to its exchange with its type as the routing key,
or that breaks its schema goes to the dead queue at once. So does an amount of more than two decimals or in another
currency than INR, and an instant before 2000 or after 2100. Headers are not read, and go no further."""

CORRELATION_ID = "correlation_id"
HEADERS: Document = {
    "type": "object",
    "properties": {
        "aggregate_id": {"type": "string", "description": "the booking or patient it is about"},
        "aggregate_version": {"type": "integer", "description": "grows with every change of that document"},
        CORRELATION_ID: {"type": "string", "description": "the request it came from"},
    },
    "required": ["aggregate_id", "aggregate_version", CORRELATION_ID],
}


def document(*, version: str) -> Document:
    """AsyncAPI 2.6: a channel is `<exchange>/<routing key>`; `subscribe` is what others may receive from us."""
    channels = {channel_name(contract): channel(contract, "subscribe") for contract in PUBLISHED}
    channels |= {channel_name(contract): channel(contract, "publish") for contract in CONSUMED}
    messages = {contract.name: message(contract, HEADERS) for contract in PUBLISHED}
    messages |= {contract.name: message(contract, None) for contract in CONSUMED}
    return {
        "asyncapi": "2.6.0",
        "info": {"title": f"Events of {SERVICE_NAME}", "version": version, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": channels,
        "components": {"messages": messages},
    }


def channel_name(contract: Contract) -> str:
    return f"{contract.exchange}/{contract.name}"


def channel(contract: Contract, operation: str) -> Document:
    return {
        "description": contract.summary,
        operation: {
            "operationId": f"{operation}_{contract.name.replace('.', '_')}",
            "summary": contract.summary,
            "message": {"$ref": f"#/components/messages/{contract.name}"},
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": contract.exchange, "type": "topic", "durable": True, "autoDelete": False},
            }
        },
    }


def message(contract: Contract, headers: Document | None) -> Document:
    described: Document = {
        "name": contract.name,
        "title": contract.name,
        "summary": contract.summary,
        "contentType": "application/json",
        "schemaFormat": "application/schema+json;version=draft-07",
        "payload": contract.schema,
        "bindings": {"amqp": {"messageType": contract.name, "contentEncoding": "utf-8"}},
    }
    if headers is None:
        return described
    location = f"$message.header#/{CORRELATION_ID}"
    return {
        **described,
        "headers": headers,
        "correlationId": {"location": location, "description": "the request it came from"},
    }
