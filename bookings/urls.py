"""Routes of the bookings app, below its prefix."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
