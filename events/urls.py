"""Routes of the events app, below its prefix."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
