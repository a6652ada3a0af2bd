"""`/api/services`: the catalog as patients see it.

A cached answer is the finished JSON; nothing is parsed or encoded for it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from booking_service.api.conditional import etag_for, is_known, not_modified, revalidated
from booking_service.api.envelope import success
from booking_service.api.pagination import Page, page_from, pagination
from booking_service.api.renderers import encode
from booking_service.api.schema import documents
from booking_service.api.views import ServiceViewSet
from catalog import openapi, queries, services
from catalog.cache import catalog_cache
from catalog.exceptions import ServiceNotFound
from catalog.pricing import Quote
from catalog.terms import CatalogService

# Clients ask again each time and are told "unchanged" without a body: a staff edit shows at once.
HEADERS = {"Cache-Control": "public, max-age=0, must-revalidate"}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished body and what names it."""

    body: bytes
    etag: str


def answer_of(body: bytes) -> Answer | None:
    return Answer(body, etag_for(body)) if body else None


def body_of(document: Document | None) -> bytes:
    """Nothing is kept as well, as no bytes: who asks for what is not there shall not reach MongoDB each time."""
    return b"" if document is None else encode(document)


def answered(request: Request, key: str, build: Callable[[], Document | None]) -> HttpResponse:
    """The answer kept under `key`, made by `build` when there is none; 304 for a client that has it.

    Raises:
        ServiceNotFound: `build` made None.
    """
    answer = catalog_cache.read(key, lambda: body_of(build()), answer_of)
    if answer is None:
        raise ServiceNotFound
    if is_known(request, answer.etag):
        return not_modified(answer.etag, HEADERS)
    return HttpResponse(answer.body, content_type="application/json", headers={"ETag": answer.etag, **HEADERS})


class CatalogViewSet(ServiceViewSet):
    """Public; only active services."""

    authentication_classes = ()
    permission_classes = ()

    @documents(
        openapi.SERVICES, parameters=(openapi.CATEGORY, *openapi.SHELF), paginated=True, counted=True, conditional=True
    )
    def list(self, request: Request) -> HttpResponse:
        """Active services by sort order, then most booked."""
        return self._page_of(request, queries.shelf_from(request.query_params))

    @documents(openapi.SERVICES, parameters=openapi.SHELF, paginated=True, counted=True, conditional=True)
    def category(self, request: Request, category: str) -> HttpResponse:
        """Active services of one category."""
        query = request.query_params.copy()
        query["category"] = category
        return self._page_of(request, queries.shelf_from(query))

    @documents(openapi.SERVICES, counted=True, conditional=True)
    def featured(self, request: Request) -> HttpResponse:
        """At most six services that we put first."""
        return answered(request, "featured", lambda: _listed(services.services_featured()))

    @documents(openapi.SERVICES, parameters=(openapi.POPULAR,), counted=True, conditional=True)
    def popular(self, request: Request) -> HttpResponse:
        """Popular services, most booked first."""
        limit = queries.popular_limit_from(request.query_params)
        return answered(request, f"popular:{limit}", lambda: _listed(services.services_popular(limit=limit)))

    @documents(openapi.SERVICES, parameters=(openapi.QUERY,), paginated=True, counted=True, conditional=True)
    def search(self, request: Request) -> HttpResponse:
        """Active services that hold the text literally, best match first."""
        text, page = queries.search_text_from(request.query_params), page_from(request)

        def build() -> Document:
            return _paged(page, *services.services_search(text, skip=page.skip, limit=page.limit))

        return answered(request, f"search:{page.number}:{page.limit}:{text}", build)

    @documents(openapi.SERVICE, conditional=True)
    def retrieve(self, request: Request, key: str) -> HttpResponse:
        """One active service by id, slug or name."""

        def build() -> Document | None:
            service = services.service_public(key)
            return service and {"success": True, "data": service}

        return answered(request, f"service:{key}", build)

    @documents(openapi.QUOTE, parameters=(openapi.AT,), conditional=True)
    def pricing(self, request: Request, key: str) -> HttpResponse:
        """What a booking of a visit that starts at `at` is charged."""
        at, service = queries.instant_from(request.query_params), services.service_find(key)
        quote = services.service_quote(service, at)
        return revalidated(request, success({"startsAt": at, **_quoted(service, quote)}))

    def _page_of(self, request: Request, shelf: services.Shelf) -> HttpResponse:
        page = page_from(request)

        def build() -> Document:
            return _paged(page, *services.services_page(shelf, skip=page.skip, limit=page.limit))

        return answered(request, f"list:{page}:{shelf}", build)


def _listed(found: list[Document]) -> Document:
    return {"success": True, "count": len(found), "data": found}


def _paged(page: Page, found: list[Document], total: int) -> Document:
    return {"success": True, "count": len(found), "pagination": pagination(page, total), "data": found}


def _quoted(service: CatalogService, quote: Quote) -> Document:
    package = service.package
    return {
        "basePrice": quote.base_price,
        "platformFee": quote.platform_fee,
        "gst": quote.gst,
        "totalAmount": quote.total_amount,
        "currency": quote.currency,
        "surgeApplied": quote.surge_applied,
        "surgeMultiplier": quote.surge_multiplier,
        "packageDetails": package
        and {
            "sessions": package.total_sessions,
            "duration": package.valid_days,
            "pricePerSession": package.price_per_session,
            "totalPrice": package.price,
        },
    }
