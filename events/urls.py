"""Routes of the events app, below its prefix."""

from django.urls import path

from .views import contract_view

urlpatterns = [path("", contract_view)]
