"""Every route of the service. `/api/v1/…` is the same API for clients that name the version."""

from django.contrib import admin
from django.urls import include, path

from booking_service.api.admin_only import nothing_on_site
from booking_service.api.admin_sign_in import password_change

api = [
    path("patients", include("patients.urls")),
    path("bookings", include("bookings.urls")),
    path("services", include("bookings.slot_urls")),
    path("services", include("catalog.urls")),
    path("events", include("events.urls")),
]

# In the order of how often they are asked for: Django tries one after the other.
urlpatterns = [
    path("api/", include(api)),
    path("", include("booking_service.operations.urls")),
    path("", include("booking_service.api.urls")),
    path("api/v1/", include((api, "v1"))),
    path("admin/r/<path:anything>", nothing_on_site),
    path("admin/password_change/", admin.site.admin_view(password_change)),
    path("admin/", admin.site.urls),
]

handler400 = "booking_service.api.exception_handler.bad_request"
handler403 = "booking_service.api.exception_handler.permission_denied"
handler404 = "booking_service.api.exception_handler.not_found"
handler500 = "booking_service.api.exception_handler.server_error"
