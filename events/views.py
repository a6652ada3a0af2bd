"""`/api/events`: the contract of our events, for programs and for people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from booking_service.api.pages import read_only
from booking_service.api.renderers import encode

from .asyncapi import document
from .schemas import CONSUMED, PUBLISHED, Contract, Schema


@read_only
def contract_view(request: HttpRequest, **_: str) -> HttpResponse:
    """A page for whoever asks for HTML, the AsyncAPI document for everybody else. Public: the contract is no secret."""
    wants_page = "text/html" in request.headers.get("Accept", "")
    if request.GET.get("format", "html" if wants_page else "json") == "html":
        sections = [("Published", rows(PUBLISHED)), ("Consumed", rows(CONSUMED))]
        return render(request, "events/contract.html", {"sections": sections, "version": settings.VERSION})
    made = document(version=settings.VERSION)
    return HttpResponse(encode(made), content_type="application/json", headers={"Vary": "Accept"})


def rows(contracts: tuple[Contract, ...]) -> list[dict[str, Any]]:
    return [
        {"contract": contract, "properties": [(name, *described(name, contract)) for name in contract.properties]}
        for contract in contracts
    ]


def described(name: str, contract: Contract) -> tuple[str, bool]:
    """A property's type in words, and whether it is always there."""
    return words(contract.properties[name]), name not in contract.optional


def words(schema: Schema) -> str:
    """`text up to 200`, `one of A, B`, `number 0 to 10000000`, or the schema's own description."""
    if "anyOf" in schema:
        return f"{words(schema['anyOf'][0])}, or null"
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "description" in schema:
        return str(schema["description"])
    return f"text up to {schema['maxLength']} characters"
