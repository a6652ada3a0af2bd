"""Lists of the admin that read what they show, however many documents there are."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

from booking_service.api.admin_filters import DeclaredFilters

MOST = 1000  # documents that one can page through; the rest is found by filters and searches


class FirstPages(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """The first MOST documents; of the others it knows that there are more."""

    object_list: Any  # a queryset
    template_name = "admin/first_pages.html"

    @cached_property
    def _found(self) -> int:
        return int(self.object_list[: MOST + 1].count())

    @property
    def count(self) -> int:
        """How many can be paged through."""
        return min(self._found, MOST)

    @property
    def more(self) -> bool:
        """Whether there are more than can be paged through."""
        return self._found > MOST


class BoundedList(ChangeList):
    """Ordered as an index is: by what the ModelAdmin declares, and nothing else."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """What a column sorts by; nothing unless the page offers it."""
        offered = self.sortable_by is None or field_name in self.sortable_by
        return super().get_ordering_field(field_name) if offered else None

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.paginator.more:
            self.full_result_count = self.result_count  # or the page's head would call them all

    def _get_deterministic_ordering(self, ordering: Any) -> list[Any]:
        """Documents of one instant are in the order in which the index has them; by their ids they would be sorted."""
        return list(ordering)


class BoundedLists(DeclaredFilters):
    """Mixed in before a ModelAdmin: a page of its list reads no more than what can be paged through.

    That needs an index on `ordering`, and for each filter, search and sortable column one that begins with it and goes
    on with `ordering`.
    """

    paginator = FirstPages
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they would count the documents of every choice
    sortable_by: ClassVar[Any] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedList
