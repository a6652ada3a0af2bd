"""Routes of the bookings app, below its prefix."""

from collections.abc import Callable
from typing import Any

from django.urls import path

from bookings.views import BookingViewSet


def endpoint(**actions: str) -> Callable[..., Any]:
    """HTTP methods, in lower case, and what the viewset does for them."""
    return BookingViewSet.as_view({**actions})


urlpatterns = [
    path("", endpoint(get="list", post="create")),
    path("/upcoming", endpoint(get="upcoming")),
    path("/history", endpoint(get="history")),
    path("/patient/me", endpoint(get="list")),  # as clients of the monolith ask
    path("/provider/me", endpoint(get="assigned")),
    path("/<str:booking_id>", endpoint(get="retrieve", put="update", delete="cancel")),
    path("/<str:booking_id>/cancel", endpoint(put="cancel")),
    path("/<str:booking_id>/cancellation-preview", endpoint(get="cancellation_preview")),
    path("/<str:booking_id>/reschedule", endpoint(post="reschedule")),
    path("/<str:booking_id>/timeline", endpoint(get="timeline")),
    path("/<str:booking_id>/assign", endpoint(put="assign")),
    path("/<str:booking_id>/confirm", endpoint(put="confirm")),
    path("/<str:booking_id>/decline", endpoint(put="decline")),
    path("/<str:booking_id>/en-route", endpoint(put="en_route")),
    path("/<str:booking_id>/start", endpoint(put="start")),
    path("/<str:booking_id>/complete", endpoint(put="complete")),
    path("/<str:booking_id>/no-show", endpoint(put="no_show")),
    path("/<str:booking_id>/review", endpoint(post="review")),
    path("/<str:booking_id>/payment", endpoint(get="payment", post="payment_open")),
]
