"""Every route of the service. `/api/v1/…` is the same API for clients that name the version."""

from typing import Any

from django.contrib import admin
from django.urls import include, path

from booking_service.api.admin_only import nothing_on_site
from booking_service.api.admin_sign_in import password_change

APPS = {
    "patients": ("patients.urls",),
    "bookings": ("bookings.urls",),
    "services": ("bookings.slot_urls", "catalog.urls"),
    "events": ("events.urls",),
}


def api(prefix: str) -> list[Any]:
    """The routes of all apps under `prefix`, in the order of how often they are asked for: Django tries one by one."""
    return [path(f"{prefix}{name}", include(urls)) for name, modules in APPS.items() for urls in modules]


urlpatterns = [
    *api("api/"),
    path("", include("booking_service.operations.urls")),
    path("", include("booking_service.api.urls")),
    path("api/v1/", include((api(""), "v1"))),
    path("admin/r/<path:anything>", nothing_on_site),
    path("admin/password_change/", admin.site.admin_view(password_change)),
    path("admin/", admin.site.urls),
]

handler400 = "booking_service.api.exception_handler.bad_request"
handler403 = "booking_service.api.exception_handler.permission_denied"
handler404 = "booking_service.api.exception_handler.not_found"
handler500 = "booking_service.api.exception_handler.server_error"
