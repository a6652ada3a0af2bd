"""`/api/schema` and the page at `/api/docs` that shows it, from our own files: nothing comes from a CDN."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.request import Request

from booking_service.api.pages import read_only
from booking_service.api.schema import schema_document
from booking_service.api.views import ServiceViewSet


class SchemaViewSet(ServiceViewSet):
    """Public: the contract is no secret."""

    authentication_classes = ()
    permission_classes = ()
    schema = None

    def show(self, request: Request) -> HttpResponse:
        """The OpenAPI 3 document of this service."""
        return HttpResponse(schema_document(), content_type="application/json")


@read_only
def docs_page(request: HttpRequest, **_: str) -> HttpResponse:
    """The document, readable, with every call ready to be tried."""
    return render(request, "api/docs.html")
