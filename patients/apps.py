from django.apps import AppConfig


class PatientsConfig(AppConfig):
    name = "patients"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"
