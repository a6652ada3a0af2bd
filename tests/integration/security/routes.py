"""Every route that the service has, as its URL table says."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver

ANY = ("GET",)
VERSIONED = "/api/v1/"
PAGES = "/admin/"


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
    """The admin's pages that need no id."""
    paths = {_path(route) for route in _routes(get_resolver().url_patterns, "/")}
    return {path for path in paths if path.startswith(PAGES) and "<" not in path and "(?P" not in path}


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
