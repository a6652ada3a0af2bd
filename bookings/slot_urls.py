"""The route of the slots, below the catalog's prefix: this app owns the claims."""

from django.urls import path

from bookings.views import SlotViewSet

urlpatterns = [path("/<str:id_or_slug>/slots", SlotViewSet.as_view({"get": "slots"}))]
