"""Staff and their groups, in the admin's theme. Django's own pages for them are not made for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bson import ObjectId
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import UserChangeForm, UserCreationForm

from booking_service.api.admin_forms import RemembersShown, StoresWhatWasCompared
from booking_service.api.admin_lists import BoundedLists
from booking_service.djongo import transaction
from booking_service.operations.passwords import StaffPasswordForm

admin.site.unregister(User)
admin.site.unregister(Group)


class ChangesAlone(RemembersShown):
    """Mixed in before a model form: what was changed since the form was shown, and nothing else of it, is stored."""

    cleaned_data: dict[str, Any]

    def _post_clean(self) -> None:
        self.cleaned_data = {name: value for name, value in self.cleaned_data.items() if name in self.changed_data}
        super()._post_clean()  # type: ignore[misc]  # the form's


class UserForm(ChangesAlone, UserChangeForm):
    """A member of staff."""


class GroupForm(ChangesAlone, forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A role."""


class SavesChanges(BoundedLists, StoresWhatWasCompared):
    """Mixed in before a ModelAdmin whose form is a ChangesAlone: an update writes those fields, and never inserts."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Raises DatabaseError if what is changed is no longer there.

        Groups and permissions are rows of their own, and two new rows are no conflict to MongoDB: two new revisions of
        one document are. So the groups that somebody is given get one as well: no group is deleted meanwhile.
        """
        columns = {field.name for field in obj._meta.concrete_fields}
        if change:
            for revised in (obj, *form.cleaned_data.get("groups", ())):
                documents = connection.documents[revised._meta.db_table]  # type: ignore[attr-defined]  # the engine's
                documents.update_one({"_id": revised.pk}, {"$set": {"_revision": ObjectId()}})
        obj.save(update_fields=columns & form.cleaned_data.keys() if change else None)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """With the rows that name it: what another transaction adds of them is in conflict with that."""
        transaction.run(super().delete_model, request, obj)  # type: ignore[misc]  # the ModelAdmin's

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """As `delete_model`, all of them."""
        transaction.run(super().delete_queryset, request, queryset)  # type: ignore[misc]  # the ModelAdmin's


@admin.register(User)
class UserAdmin(SavesChanges, StockUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # not generic at run time
    """Members of staff. Patients are none: they never sign in here."""

    form = UserForm
    add_form = UserCreationForm
    change_password_form = StaffPasswordForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    sortable_by = list_display
    readonly_fields = ("last_login", "date_joined")

    def get_deleted_objects(self, objs: Iterable[User], request: HttpRequest) -> Any:
        """Whoever has ever signed in stays: the audit and the histories of bookings and services may name them."""
        objs = list(objs)
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        kept = [f"the history of what {user} did: deactivate instead" for user in objs if user.last_login]
        return deleted, counts, missing, [*protected, *kept]


@admin.register(Group)
class GroupAdmin(SavesChanges, StockGroupAdmin, ModelAdmin):  # type: ignore[misc]  # of the stubs
    """Roles of staff; the migrations make the usual ones."""

    form = GroupForm
