"""Routes of the catalog app, below its prefix."""

from django.urls import URLPattern, path

from catalog.views import CatalogViewSet

urlpatterns: list[URLPattern] = [
    path("", CatalogViewSet.as_view({"get": "list"}), name="services"),
    path("/featured", CatalogViewSet.as_view({"get": "featured"}), name="services-featured"),
    path("/popular", CatalogViewSet.as_view({"get": "popular"}), name="services-popular"),
    path("/search", CatalogViewSet.as_view({"get": "search"}), name="services-search"),
    path("/category/<str:category>", CatalogViewSet.as_view({"get": "category"}), name="services-category"),
    path("/<str:key>", CatalogViewSet.as_view({"get": "retrieve"}), name="service"),
    path("/<str:key>/pricing", CatalogViewSet.as_view({"get": "pricing"}), name="service-pricing"),
]
