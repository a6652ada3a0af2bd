"""Routes of the patients app, below its prefix."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
