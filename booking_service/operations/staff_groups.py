"""The roles of staff. Each app's migration grants what its own documents need; the groups belong to no app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CATALOG_EDITORS = "Catalog editors"
BOOKING_STAFF = "Booking staff"
READ_ONLY = "Read only"


def granting(app_label: str, grants: Mapping[str, Mapping[str, str]]) -> Any:
    """The function for a migration's RunPython that grants permissions.

    Django makes permissions after all migrations ran; here they are made when a group needs them, and found then.

    Args:
        grants: group name → model name → actions, such as `{"Read only": {"service": "view"}}`.
    """

    def grant(apps: Any, _schema_editor: Any) -> None:
        for group_name, models in grants.items():
            group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=group_name)
            for model, actions in models.items():
                group.permissions.add(*(permission(apps, app_label, model, action) for action in actions.split()))

    return grant


def permission(apps: Any, app_label: str, model: str, action: str) -> Any:
    """The permission as Django names it, made if it is not there yet."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app_label, model=model)
    name = apps.get_model(app_label, model)._meta.verbose_name
    found, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=f"{action}_{model}", defaults={"name": f"Can {action} {name}"}
    )
    return found
