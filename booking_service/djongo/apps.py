"""Django's own apps with ObjectId keys: their stock migrations make integer ones, which MongoDB does not count up."""

from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.apps import AuthConfig
from django.contrib.contenttypes.apps import ContentTypesConfig

OBJECT_ID = "django_mongodb_backend.fields.ObjectIdAutoField"


class MongoAdminConfig(AdminConfig):
    default_auto_field = OBJECT_ID


class MongoAuthConfig(AuthConfig):
    default_auto_field = OBJECT_ID


class MongoContentTypesConfig(ContentTypesConfig):
    default_auto_field = OBJECT_ID


MIGRATION_MODULES = {app: f"booking_service.djongo.migrations.{app}" for app in ("admin", "auth", "contenttypes")}
