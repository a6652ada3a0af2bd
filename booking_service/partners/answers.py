"""Reading a partner's answer: what the contract promises, of the type it promises, or `ValueError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from bson import ObjectId

from booking_service.api.unseen import UNSEEN

LONGEST_TEXT = 500
PLAUSIBLE_YEARS = range(2000, 2101)
Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Answer:
    """The `data` of an answer in the platform's envelope `{"success": true, "data": {...}}`."""

    data: Mapping[str, Any]

    @classmethod
    def of(cls, body: object) -> Answer:
        """Opens the envelope; `ValueError` when there is none or it does not hold an object."""
        if not isinstance(body, dict) or body.get("success") is not True or not isinstance(body.get("data"), dict):
            raise ValueError("not the platform's envelope")
        return cls(body["data"])

    def text(self, name: str) -> str:
        """A text that is not empty and not absurdly long, of characters that are some."""
        value = self.data.get(name)
        if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or UNSEEN.search(value):
            raise ValueError(name)
        value.encode()  # half a character is none
        return value

    def optional_text(self, name: str) -> str:
        """A text, or "" where the field is absent or null."""
        return "" if self.data.get(name) in (None, "") else self.text(name)

    def texts(self, name: str) -> frozenset[str]:
        """A list of texts; absent is empty."""
        values = self.data.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError(name)
        return frozenset(values)

    def object_id(self, name: str) -> ObjectId:
        """An ObjectId in its 24 hexadecimal digits."""
        value = self.text(name)
        if not ObjectId.is_valid(value):
            raise ValueError(name)
        return ObjectId(value)

    def flag(self, name: str) -> bool:
        """A boolean; nothing else passes for one."""
        value = self.data.get(name)
        if not isinstance(value, bool):
            raise ValueError(name)
        return value

    def money(self, name: str) -> Decimal:
        """An amount that is not negative and has two decimals at most."""
        value = self.data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError(name)
        try:
            amount = Decimal(value).quantize(Decimal("0.01"))
        except InvalidOperation:
            raise ValueError(name) from None
        if amount < 0 or amount != value:
            raise ValueError(name)
        return amount

    def choice(self, name: str, choices: type[Choice]) -> Choice:
        """One of `choices`, in any case."""
        return choices(self.text(name).upper())

    def optional_instant(self, name: str) -> datetime | None:
        """An ISO 8601 time with an offset, or None where the field is absent or null."""
        if self.data.get(name) is None:
            return None
        instant = datetime.fromisoformat(self.text(name))
        if instant.tzinfo is None or instant.year not in PLAUSIBLE_YEARS:
            raise ValueError(name)
        return instant
