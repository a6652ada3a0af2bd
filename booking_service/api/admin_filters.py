"""What a list of the admin may be narrowed by, and what of it may be chosen."""

from typing import Any

from bson import ObjectId
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.http import HttpRequest

# What Django's filters of fields and of related documents put behind a field's name.
LOOKUPS = {"exact", "isnull", "id__exact"}


class DeclaredFilters:
    """Mixed in before a ModelAdmin: its lists are narrowed by their own filters and by nothing else.

    Django admits a lookup on any field of the model, shown or not, so `?password__startswith=` would spell out hashes,
    and `?blood_group=` clinical data to staff who may not see them; and any lookup, so `?status__regex=(` would break.
    """

    list_filter: Any  # as the ModelAdmin declares it
    opts: Any
    list_disable_select_all = True  # of the theme: its link to choose what other pages show

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether the query of a list may have `lookup`; another one is a 400."""
        declared = {getattr(entry, "parameter_name", entry) for entry in self.list_filter}
        field, _, how = lookup.partition("__")
        return lookup in declared or (field in self.list_filter and how in LOOKUPS)

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Whether a page may be asked for by `to_field`: by the id alone."""
        return bool(to_field == self.opts.pk.name)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The document of that id, also where a page is asked for by a field without a name."""
        return super().get_object(request, object_id, from_field or None)  # type: ignore[misc]  # the ModelAdmin's

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Runs the action that was chosen, on what was ticked alone; ids that are none are a 400."""
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(map(ObjectId.is_valid, ticked)):
            raise BadRequest
        chosen = queryset.filter(pk__in=ticked)
        return super().response_action(request, chosen)  # type: ignore[misc]  # the ModelAdmin's, mixed in before it
