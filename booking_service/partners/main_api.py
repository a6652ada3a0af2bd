"""The main API: who is this nurse, physiotherapist or admin?"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import structlog
from bson import ObjectId
from django.conf import settings
from django.core.cache import cache
from django.core.signing import Signer

from booking_service.api.callers import Role
from booking_service.operations import metrics
from booking_service.partners.answers import Answer, in_capitals
from booking_service.partners.client import PartnerClient
from booking_service.partners.exceptions import (
    PartnerRefused,
    PartnerUnavailable,
    ProviderDirectoryDown,
    ProviderNotFound,
)

log = structlog.get_logger(__name__)

client = PartnerClient("main_api", url_setting="MAIN_API_URL", unavailable=ProviderDirectoryDown)

_PERSON_ROLES = {"NURSE": Role.NURSE, "PHYSIOTHERAPIST": Role.PHYSIOTHERAPIST, "ADMIN": Role.ADMIN}


class SkillLevel(StrEnum):
    """How much a provider may take on, least first, in the catalog's words."""

    BASIC = "BASIC"
    INTERMEDIATE = "INTERMEDIATE"
    ADVANCED = "ADVANCED"
    SPECIALIST = "SPECIALIST"


@dataclass(frozen=True, slots=True)
class Provider:
    """A person whom the main API vouches for. `categories` are the catalog's (NURSING, PHYSIOTHERAPY)."""

    id: ObjectId
    role: Role
    name: str
    categories: frozenset[str]
    skill_level: SkillLevel | None
    is_active: bool


def provider_get(provider_id: ObjectId, *, allow_stale: bool = True) -> Provider:
    """The provider, from the cache when it was asked for a short time ago (`PROVIDER_CACHE_SECONDS`).

    While the main API is down an older answer is used where `PROVIDER_STALE_SECONDS` allows it, but never for an admin,
    who may see and do everything. `allow_stale=False`, for assignments, asks the main API itself whatever the cache
    holds.

    Raises `ProviderNotFound`, or `ProviderDirectoryDown` (503), for any other 4xx too: it says nothing of the provider.
    """
    known = _Known.recall(provider_id) if allow_stale else None
    if known is not None and known.is_fresh:
        metrics.PROVIDER_LOOKUPS.labels("hit").inc()
        return known.unwrap()
    metrics.PROVIDER_LOOKUPS.labels("miss").inc()
    asked_at = time.time()  # an answer is as old as its question: what takes a while is not fresher for it
    try:
        return _Known.learn(provider_id, _ask(provider_id), asked_at).unwrap()
    except PartnerUnavailable:
        if known is None or not known.may_be_stale:
            raise
        metrics.PROVIDER_LOOKUPS.labels("stale").inc()
        return known.unwrap()


def _ask(provider_id: ObjectId) -> Provider | None:
    path = settings.MAIN_API_PROVIDER_PATH.format(id=quote(str(provider_id)))
    try:
        provider = client.get(path, _read_provider)
    except PartnerRefused as refusal:
        if refusal.partner_status == 404:
            return None
        raise ProviderDirectoryDown from refusal
    return provider if provider is not None and provider.id == provider_id else None


def _read_provider(answer: Answer) -> Provider | None:
    """None for a person whose role has no business here, such as a doctor."""
    role = _PERSON_ROLES.get(in_capitals(answer.text("role")))
    if role is None:
        return None
    return Provider(
        id=answer.object_id("_id"),
        role=role,
        name=answer.text("name"),
        categories=frozenset(in_capitals(category) for category in answer.texts("categories")),
        skill_level=answer.choice("skillLevel", SkillLevel) if answer.optional_text("skillLevel") else None,
        is_active=answer.flag("isActive"),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the main API said of an id (None: nobody), and when."""

    provider: Provider | None
    learned_at: float

    @property
    def age_seconds(self) -> float:
        return time.time() - self.learned_at

    @property
    def is_fresh(self) -> bool:
        return 0 <= self.age_seconds < settings.PROVIDER_CACHE_SECONDS

    @property
    def may_be_stale(self) -> bool:
        return 0 <= self.age_seconds < self._stale_seconds

    @property
    def holds_seconds(self) -> float:
        """For how long it is of any use."""
        return max(settings.PROVIDER_CACHE_SECONDS, self._stale_seconds)

    @property
    def _stale_seconds(self) -> float:
        """None for who was unknown, which is not worth repeating, nor for an admin, who could do everything."""
        is_harmless = self.provider is not None and self.provider.role is not Role.ADMIN
        return float(settings.PROVIDER_STALE_SECONDS) if is_harmless else 0.0

    def unwrap(self) -> Provider:
        if self.provider is None:
            raise ProviderNotFound
        return self.provider

    @classmethod
    def recall(cls, provider_id: ObjectId) -> _Known | None:
        """From the cache; from this process's memory while that is away or holds what we did not sign; else None."""
        try:
            signed: str | None = cache.get(_cache_key(provider_id))
            if signed is None:
                return None
            stored = _signer(provider_id).unsign_object(signed)
            known = cls(_from_plain(provider_id, stored["provider"]), stored["learned_at"])
        except Exception as error:  # noqa: BLE001 - whatever ails the cache, this process may remember
            log.info("provider_cache_unreadable", error=type(error).__name__)
            return _memory.get(provider_id)
        return _memory.keep(provider_id, known)

    @classmethod
    def learn(cls, provider_id: ObjectId, provider: Provider | None, asked_at: float) -> _Known:
        """Writes it to the cache, for as long as it may be used."""
        known = _memory.keep(provider_id, cls(provider, asked_at))
        stored = {"provider": None if provider is None else _as_plain(provider), "learned_at": known.learned_at}
        try:
            cache.set(_cache_key(provider_id), _signer(provider_id).sign_object(stored), known.holds_seconds)
        except Exception as error:  # noqa: BLE001 - the answer is good without being kept
            log.info("provider_cache_unwritable", error=type(error).__name__)
        return known


class _Memory:
    """What this process last knew of the providers it met lately: for when the cache is away."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: dict[ObjectId, _Known] = {}

    def get(self, provider_id: ObjectId) -> _Known | None:
        """What is remembered, unless it is too old to be of any use."""
        known = self._known.get(provider_id)
        return known if known is not None and known.age_seconds < known.holds_seconds else None

    def keep(self, provider_id: ObjectId, known: _Known) -> _Known:
        """Remembers `known` and returns it; whoever was not met for longest is forgotten."""
        with self._lock:
            self._known.pop(provider_id, None)
            self._known[provider_id] = known
            if len(self._known) > self._size:
                del self._known[next(iter(self._known))]
        return known

    def clear(self) -> None:
        """Forgets everybody."""
        with self._lock:
            self._known.clear()


_memory = _Memory(size=1024)


def _cache_key(provider_id: ObjectId) -> str:
    return f"provider:{provider_id}"


def _signer(provider_id: ObjectId) -> Signer:
    """Signs what is kept of an id: whoever can write to Redis must not become an admin by it."""
    return Signer(salt=_cache_key(provider_id))


def _as_plain(provider: Provider) -> dict[str, Any]:
    """Plain values, so that an entry survives a release in which the class has changed."""
    return {
        "role": provider.role.value,
        "name": provider.name,
        "categories": sorted(provider.categories),
        "skill_level": provider.skill_level and provider.skill_level.value,
        "is_active": provider.is_active,
    }


def _from_plain(provider_id: ObjectId, plain: dict[str, Any] | None) -> Provider | None:
    if plain is None:
        return None
    return Provider(
        id=provider_id,
        role=Role(plain["role"]),
        name=plain["name"],
        categories=frozenset(plain["categories"]),
        skill_level=SkillLevel(plain["skill_level"]) if plain["skill_level"] else None,
        is_active=plain["is_active"],
    )
