from django.apps import AppConfig


class EngineConfig(AppConfig):
    name = "tests.integration.djongo"
    label = "engine"
