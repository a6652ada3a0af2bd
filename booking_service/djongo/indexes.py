"""Indexes on document paths."""

from __future__ import annotations

from typing import Any

from django.db import models
from pymongo import ASCENDING, DESCENDING
from pymongo.operations import IndexModel


class DocumentIndex(models.Index):
    """A MongoDB index on dotted document paths, for `Meta.indexes`.

    Django's own unique constraints become partial indexes here, which equality queries cannot use, and its indexes
    cannot reach into embedded documents.

    Args:
        keys: document paths in order, `"pricing.basePrice"`; a leading `-` sorts it descending.
        name: at most 30 characters.
        unique: whether two documents may not share the keys' values.
        where: a partial filter expression; only documents that match are indexed.
        expire_after_seconds: a TTL: documents go this long after the (single, date) key.
        collation: how texts compare in it; queries that name the same one can use it.
    """

    def __init__(
        self,
        *keys: str,
        name: str,
        unique: bool = False,
        where: dict[str, Any] | None = None,
        expire_after_seconds: int | None = None,
        collation: dict[str, Any] | None = None,
    ) -> None:
        self.keys, self.unique, self.where, self.expire_after_seconds = keys, unique, where, expire_after_seconds
        self.collation = collation
        super().__init__(fields=["_id"], name=name)  # Django wants a model field; `keys` is what is indexed

    def document_index(self) -> IndexModel:
        """What MongoDB is asked to build."""
        options: dict[str, Any] = {"name": self.name}
        if self.unique:
            options["unique"] = True
        if self.where is not None:
            options["partialFilterExpression"] = self.where
        if self.expire_after_seconds is not None:
            options["expireAfterSeconds"] = self.expire_after_seconds
        if self.collation is not None:
            options["collation"] = self.collation
        return IndexModel(
            [(k.removeprefix("-"), DESCENDING if k.startswith("-") else ASCENDING) for k in self.keys], **options
        )

    def get_pymongo_index_model(self, *_args: Any, **_kwargs: Any) -> IndexModel:
        return self.document_index()

    def deconstruct(self) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        kwargs: dict[str, Any] = {"name": self.name}
        for option in ("unique", "where", "expire_after_seconds", "collation"):
            value = getattr(self, option)
            if value is not False and value is not None:  # 0 seconds is an answer
                kwargs[option] = value
        return f"{type(self).__module__}.{type(self).__qualname__}", self.keys, kwargs

    def clone(self) -> DocumentIndex:
        _path, keys, kwargs = self.deconstruct()
        return type(self)(*keys, **kwargs)
