"""What a list of the admin may be narrowed by, and what of it may be chosen."""

from typing import Any

from bson import ObjectId
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.http import HttpRequest


class DeclaredFilters:
    """Mixed in before a ModelAdmin: its lists are narrowed by their own filters and by nothing else.

    Django admits a lookup on any field of the model, shown or not, so `?password__startswith=` would spell out hashes,
    and `?blood_group=` clinical data to staff who may not see them.
    """

    list_filter: Any  # as the ModelAdmin declares it

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether the query of a list may have `lookup`; another one is a 400."""
        declared = {getattr(entry, "parameter_name", entry) for entry in self.list_filter}
        return lookup.partition("__")[0] in declared

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Runs the action that was chosen; ids that are none are a 400."""
        if not all(map(ObjectId.is_valid, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest
        return super().response_action(request, queryset)  # type: ignore[misc]  # the ModelAdmin's, mixed in before it
