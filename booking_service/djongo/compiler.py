"""The official query compiler; but it reads whatever a document holds, sorts by indexes, and deletes from a list that
joins, too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ValidationError
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
from django_mongodb_backend.query import MongoQuery as OfficialQuery

Converter = Callable[[Any, Any, Any], Any]

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ValidationError)


class MongoQuery(OfficialQuery):
    """Documents are sorted and counted off as they are stored, and only then shaped: no index serves the order of what
    `$addFields` or `$project` made, not even where they made nothing new."""

    extra_fields: dict[str, Any] | None
    project_fields: dict[str, Any]

    def get_pipeline(self) -> list[dict[str, Any]]:
        self.extra_fields = {name: made for name, made in (self.extra_fields or {}).items() if made != f"${name}"}
        pipeline: list[dict[str, Any]] = super().get_pipeline()
        shape = {"$project": self.project_fields}
        if shape in pipeline and not self.extra_fields and self._only_picks_fields():
            pipeline.remove(shape)
            pipeline.append(shape)
        return pipeline

    def _only_picks_fields(self) -> bool:
        return not self.combinator_pipeline and all(made == 1 for made in self.project_fields.values())


class SQLCompiler(MongoCompiler):
    """Documents need not have the shape of their model: one odd value must not hide those beside it."""

    query_class = MongoQuery

    def get_converters(self, expressions: Any) -> dict[int, tuple[list[Converter], Any]]:
        found = super().get_converters(expressions).items()
        return {place: ([_as_far_as_readable(each) for each in every], of) for place, (every, of) in found}


def _as_far_as_readable(convert: Converter) -> Converter:
    """What is not of the field's type stays as it is stored."""

    @wraps(convert)
    def converted(value: Any, expression: Any, connection: Any) -> Any:
        try:
            return convert(value, expression, connection)
        except UNREADABLE:
            return value

    return converted


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
