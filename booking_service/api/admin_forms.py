"""A page of the admin may be open while somebody else changes what it shows."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest

from booking_service.djongo import transaction

MOVED_ON = "Somebody else has changed this since the page was opened. Open it again to see to what."


class RemembersShown:
    """Mixed in before a model form: the page keeps the values it showed, and refuses what others changed since.

    What was not changed in the page may have moved on: it is not in `changed_data`, and not to be stored.
    """

    fields: dict[str, forms.Field]
    changed_data: list[str]
    data: Any
    files: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = not field.disabled  # a disabled one is the hash of a password

    def has_moved_on(self, name: str) -> bool:
        """Whether what is stored has another value now than the page showed."""
        field, bound = self.fields[name], self[name]  # type: ignore[index]  # the form's
        shown = field.hidden_widget().value_from_datadict(self.data, self.files, bound.html_initial_name)
        return shown is not None and _as_sent(shown) != _as_sent(field.prepare_value(bound.initial))

    def clean(self) -> Any:
        cleaned = super().clean()  # type: ignore[misc]  # the form's
        for name in filter(self.has_moved_on, self.changed_data):
            self.add_error(name, MOVED_ON)  # type: ignore[attr-defined]  # the form's
        return cleaned


class StoresWhatWasCompared:
    """Mixed in before a ModelAdmin whose form RemembersShown: what it was compared with is what it is written over.

    All is one transaction: of several at the same moment one is stored, and the others are compared again and told.
    """

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        view = super().changeform_view  # type: ignore[misc]  # the ModelAdmin's
        if request.method == "POST":
            return transaction.run(view, request, *args, **kwargs)
        return view(request, *args, **kwargs)


def _as_sent(value: Any) -> list[str]:
    """A value, or values in any order, as the texts that a page sends."""
    values = value if isinstance(value, list) else [value]
    return sorted("" if each is None else str(each) for each in values)
