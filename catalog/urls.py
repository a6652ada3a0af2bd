"""Routes of the catalog app, below its prefix."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
