"""The roles of staff. Each app's migration grants what its own documents need; the groups belong to no app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CATALOG_EDITORS = "Catalog editors"
BOOKING_STAFF = "Booking staff"
READ_ONLY = "Read only"
# Besides one of those, and for as few as can be. Who books and bills need not know why somebody is cared for, and who
# watches those that do is better not one of them: no group of before sees clinical data or the audit.
CLINICAL_READERS = "Clinical readers"
AUDIT_READERS = "Audit readers"


def granting(app_label: str, grants: Mapping[str, Mapping[str, str]]) -> Any:
    """The function for a migration's RunPython that grants permissions.

    Django makes permissions after all migrations ran; here they are made when a group needs them, and found then.

    Args:
        grants: group name → model name → actions, such as `{"Read only": {"service": "view"}}`. A permission that
            the model itself declares is given by its name.
    """

    def grant(apps: Any, _schema_editor: Any) -> None:
        for group_name, models in grants.items():
            group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=group_name)
            for model, actions in models.items():
                group.permissions.add(*(permission(apps, app_label, model, action) for action in actions.split()))

    return grant


def permission(apps: Any, app_label: str, model: str, action: str) -> Any:
    """The permission as Django names it, or one of the model's own; made if it is not there yet."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app_label, model=model)
    options = apps.get_model(app_label, model)._meta
    own = dict(options.permissions)
    codename = action if action in own else f"{action}_{model}"
    found, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind,
        codename=codename,
        defaults={"name": own.get(action) or f"Can {action} {options.verbose_name}"},
    )
    return found
