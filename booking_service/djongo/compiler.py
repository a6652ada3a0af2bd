"""The official query compiler, with the one delete it refuses, from a list that joins another collection; and models of
documents that do not fit theirs."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.db.models.sql.constants import MULTI
from django.db.models.sql.query import Query
from django.db.models.sql.subqueries import DeleteQuery
from django_mongodb_backend.compiler import (
    SQLAggregateCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)
from django_mongodb_backend.compiler import SQLCompiler as MongoCompiler
from django_mongodb_backend.compiler import SQLDeleteCompiler as MongoDeleteCompiler

from .readable import or_none


class SQLCompiler(MongoCompiler):
    """A stored value that is none of its field is read as None."""

    def get_converters(self, expressions: Any) -> Any:
        found = super().get_converters(expressions)
        return {place: (or_none(converters), expression) for place, (converters, expression) in found.items()}


class SQLDeleteCompiler(MongoDeleteCompiler):
    """The admin deletes what a filtered list shows; where the list joins, the ids are looked up first."""

    def execute_sql(self, result_type: str = MULTI) -> Any:
        if self.single_alias:
            return super().execute_sql(result_type)
        chosen = self.query.clone()
        chosen.__class__ = Query
        chosen.clear_select_clause()
        chosen.select = (self.query.model._meta.pk.get_col(self.query.get_initial_alias()),)
        ids = [row[0] for row in chosen.get_compiler(connection=self.connection).results_iter()]
        deletion = DeleteQuery(self.query.model)
        deletion.add_q(Q(pk__in=ids))
        return deletion.get_compiler(connection=self.connection).execute_sql(result_type)


__all__ = ["SQLAggregateCompiler", "SQLCompiler", "SQLDeleteCompiler", "SQLInsertCompiler", "SQLUpdateCompiler"]
