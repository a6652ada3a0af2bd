"""What a patient would pay for a service as it stands in the admin's form, before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import ObjectId
from django import forms

from catalog.pricing import Quote, quote
from catalog.rules import HIGHEST_SURGE, Category
from catalog.terms import CatalogService, Package, Surge, SurgeWindow, clock_time

MOST_WINDOWS = 100


class PricePreviewForm(forms.Form):
    """The part of the service's form that a price depends on; the names are the same."""

    category = forms.ChoiceField(choices=[(kind.value, kind.label) for kind in Category])
    base_price = forms.DecimalField(min_value=Decimal("0.01"), max_digits=12, decimal_places=2)
    package_price = forms.DecimalField(required=False, min_value=Decimal("0.01"), max_digits=12, decimal_places=2)
    package_sessions = forms.IntegerField(required=False, min_value=1, max_value=10_000)
    surge_enabled = forms.BooleanField(required=False)
    surge_multiplier = forms.DecimalField(required=False, min_value=1, max_value=HIGHEST_SURGE, max_digits=4)

    def prices(self, now_local: datetime) -> list[dict[str, Any]]:
        """The price now, and in each surge window, as rows for people."""
        service = self._service()
        rows = [_row("Now", quote(service, now_local))]
        for window in service.surge.windows if service.surge.enabled else ():
            inside = quote(service, datetime.combine(now_local.date(), window.start))
            rows.append(_row(f"{window.start:%H:%M} to {window.end:%H:%M}", inside))
        return rows

    def _service(self) -> CatalogService:
        given = self.cleaned_data
        return CatalogService(
            id=ObjectId(),
            name="PREVIEW",
            slug="preview",
            category=given["category"],
            display_name="Preview",
            base_price=given["base_price"],
            package=self._package(),
            surge=Surge(given["surge_enabled"], given["surge_multiplier"] or Decimal(1), windows_posted(self.data)),
        )

    def _package(self) -> Package | None:
        price, sessions = self.cleaned_data["package_price"], self.cleaned_data["package_sessions"]
        if self.cleaned_data["category"] != Category.PACKAGE or not (price and sessions):
            return None
        return Package(price=price, total_sessions=sessions, valid_days=0, price_per_session=price / sessions)


def windows_posted(posted: Mapping[str, Any]) -> tuple[SurgeWindow, ...]:
    """The complete ones among the form's rows of surge windows."""
    found: list[SurgeWindow] = []
    for index in range(MOST_WINDOWS):
        start, end = (clock_time(posted.get(f"surge-{index}-{name}")) for name in ("start", "end"))
        if start is not None and end is not None and start != end and not posted.get(f"surge-{index}-DELETE"):
            found.append(SurgeWindow(start, end))
    return tuple(found)


def _row(when: str, price: Quote) -> dict[str, Any]:
    return {
        "when": when,
        "surge": price.surge_applied,
        "base": f"{price.base_price:,.2f}",
        "fee": f"{price.platform_fee:,.2f}",
        "gst": f"{price.gst:,.2f}",
        "total": f"{price.total_amount:,.2f}",
    }
