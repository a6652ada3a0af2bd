"""Cells of pages for people, of documents that need not have the shape of their model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .compiler import UNREADABLE

SIGN = "—"


def or_sign(cell: Callable[..., Any]) -> Callable[..., Any]:
    """`cell`; SIGN where the document has nothing that it can show."""

    @wraps(cell)
    def shown(*args: Any) -> Any:
        try:
            return cell(*args)
        except UNREADABLE:
            return SIGN

    return shown
