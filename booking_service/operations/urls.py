"""``/``, health and metrics."""

from django.urls import path

from booking_service.operations.views import LandingViewSet, ProbeViewSet, metrics_page

urlpatterns = [
    path("", LandingViewSet.as_view({"get": "show"})),
    path("health", ProbeViewSet.as_view({"get": "health"})),
    path("health/live", ProbeViewSet.as_view({"get": "live"})),
    path("health/ready", ProbeViewSet.as_view({"get": "ready"})),
    path("metrics", metrics_page),
]
