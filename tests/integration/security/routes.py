"""Every route that the service has, as its URL table says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bson import ObjectId
from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver

ANY = ("GET",)
VERSIONED = "/api/v1/"
PAGES = "/admin/"
ON_SITE, ANYTHING_ELSE = "/admin/r/", "/admin/(?P<url>.*)$"
OBJECT_ID = re.compile(r"<(?:\w+:)?(?:object_id|id)>")


def all_routes() -> set[str]:
    """`METHOD /path/<str:id>` of each endpoint, the admin's pages and the versioned alias left out."""
    return {
        route for route in _routes(get_resolver().url_patterns, "/") if not _path(route).startswith((PAGES, VERSIONED))
    }


def versioned_routes() -> set[str]:
    """The routes of the alias `/api/v1/`, spelled without it."""
    found = {route for route in _routes(get_resolver().url_patterns, "/") if _path(route).startswith(VERSIONED)}
    return {route.replace(VERSIONED, "/api/", 1) for route in found}


def admin_paths() -> set[str]:
    """The admin's pages, those about one object with the id of one that there is (or could be)."""
    paths = {_path(route) for route in _routes(get_resolver().url_patterns, "/")}
    pages = {path for path in paths if path.startswith(PAGES) and not path.startswith(ON_SITE)} - {ANYTHING_ELSE}
    of_apps = {f"{PAGES}{model._meta.app_label}/" for model in admin.site._registry}
    return {with_id(path) for path in pages if "(?P<app_label>" not in path} | of_apps


def with_id(path: str) -> str:
    """A page's path with the id of a document of its model."""
    if "<" not in path:
        return path
    model = apps.get_model(".".join(path.split("/")[2:4]))
    found = model._default_manager.first()
    return OBJECT_ID.sub(str(found.pk if found else ObjectId()), path)


def _path(route: str) -> str:
    return route.split(" ", 1)[1]


def _routes(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, path)
            continue
        actions = getattr(pattern.callback, "actions", None)
        for method in actions or ANY:
            if method != "head":  # DRF adds it where it meets a GET, at the first request
                yield f"{method.upper()} {path}"
