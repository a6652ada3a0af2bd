"""The OpenAPI document and its page."""

from django.urls import path

from booking_service.api.docs import SchemaViewSet, docs_page

urlpatterns = [
    path("api/schema", SchemaViewSet.as_view({"get": "show"})),
    path("api/docs", docs_page),
]
