from django.apps import AppConfig


class MonolithConfig(AppConfig):
    """What is left behind: reads the monolith's documents and hands them to the apps that own them now."""

    name = "monolith"
