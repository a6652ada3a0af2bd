"""The admin's first page. The kernel knows no app: each app's `dashboard.py` registers the panel with its own numbers.

dashboard.register(dashboard.Panel("Bookings", order=1, permission="bookings.view_booking", build=numbers))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import orjson
from django.http import HttpRequest
from django.utils.module_loading import autodiscover_modules

KEEP_SECONDS = 30  # a page that everybody opens counts everything once in a while, not once a look
NORMAL, WARNING, DANGER = "normal", "warning", "danger"

CHART_OPTIONS = {
    "responsive": True,
    "maintainAspectRatio": False,
    "animation": False,
    "plugins": {"legend": {"display": False}},
}
NAMES_SCALE = {"grid": {"display": False}}
VALUES_SCALE = {"beginAtZero": True, "ticks": {"precision": 0, "maxTicksLimit": 5}}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with what it means; `tone` says whether somebody should look after it."""

    title: str
    value: str
    hint: str = ""
    tone: str = NORMAL


@dataclass(frozen=True, slots=True)
class Chart:
    """A small chart of one series: `kind` is bar or line, `lying` bars run from left to right."""

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    kind: str = "bar"
    lying: bool = False

    @property
    def data(self) -> str:
        """What the theme's chart draws."""
        series = {
            "label": self.title,
            "data": list(self.values),
            "backgroundColor": "var(--color-primary-500)",
            "borderColor": "var(--color-primary-500)",
            "maxBarThickness": 28,
            "borderRadius": 3,
        }
        return orjson.dumps({"labels": list(self.labels), "datasets": [series]}).decode()

    @property
    def options(self) -> str:
        names, values = ("y", "x") if self.lying else ("x", "y")
        scales = {names: NAMES_SCALE | {"ticks": {"autoSkip": not self.lying, "maxRotation": 0}}, values: VALUES_SCALE}
        return orjson.dumps({**CHART_OPTIONS, "indexAxis": names, "scales": scales}).decode()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a panel shows."""

    figures: Sequence[Figure] = ()
    charts: Sequence[Chart] = ()


@dataclass(slots=True)
class Panel:
    """An app's part of the page, for staff with `permission`; `build` counts, at most every KEEP_SECONDS a process."""

    title: str
    order: int
    permission: str
    build: Callable[[], Numbers]
    _counted: Numbers = field(default_factory=Numbers)
    _stale_at: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def numbers(self) -> Numbers:
        with self._lock:
            if time.monotonic() >= self._stale_at:
                self._counted, self._stale_at = self.build(), time.monotonic() + KEEP_SECONDS
            return self._counted


_panels: dict[str, Panel] = {}


def register(panel: Panel) -> None:
    """Add an app's panel."""
    _panels[panel.title] = panel


def page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's DASHBOARD_CALLBACK: the panels that this member of staff may see."""
    autodiscover_modules("dashboard")
    may_see = request.user.has_perm  # type: ignore[union-attr]  # the admin lets nobody in who has no such method
    context["title"] = "Overview"
    context["panels"] = [panel for panel in sorted(_panels.values(), key=_order) if may_see(panel.permission)]
    return context


def _order(panel: Panel) -> int:
    return panel.order
