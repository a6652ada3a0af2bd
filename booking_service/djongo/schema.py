"""Collections and indexes made by migrations."""

from __future__ import annotations

from typing import Any

from django_mongodb_backend.schema import DatabaseSchemaEditor as MongoSchemaEditor


class DatabaseSchemaEditor(MongoSchemaEditor):
    """Takes over collections that are already there: the monolith's database holds three of ours."""

    def create_model(self, model: Any) -> None:
        if model._meta.db_table not in self.connection.introspection.table_names():
            super().create_model(model)
            return
        self._create_model_indexes(model)
        for field in model._meta.local_many_to_many:
            if field.remote_field.through._meta.auto_created:
                self.create_model(field.remote_field.through)
