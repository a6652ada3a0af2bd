"""Catalog documents for tests, as staff would fill them in."""

from typing import Any

from bson import ObjectId

from booking_service.api.callers import Caller, Role
from catalog import services
from tests.factories import service_document

EDITOR = Caller(Role.STAFF, name="editor")


def wound_dressing(**changes: Any) -> dict[str, Any]:
    """A sound document; `changes` replace its top-level fields."""
    return service_document(**{"displayName": "Wound dressing", "seo": {"keywords": ["bandage"]}, **changes})


def service_made(name: str = "WOUND_DRESSING", **changes: Any) -> ObjectId:
    """A service in the catalog, made by EDITOR; its slug follows its name."""
    return services.service_create(actor=EDITOR, document=wound_dressing(name=name, **changes))


def surge(*windows: tuple[str, str], multiplier: float = 1.5) -> dict[str, Any]:
    """`surgePricing` with the windows given as (start, end)."""
    hours = [{"start": start, "end": end} for start, end in windows]
    return {"enabled": True, "surgeMultiplier": multiplier, "surgeHours": hours}
