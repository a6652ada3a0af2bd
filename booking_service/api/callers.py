"""Who is asking. No Django here: services take a ``Caller`` as their ``actor``."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from bson import ObjectId


class Role(StrEnum):
    """What a caller is to this service."""

    PATIENT = "PATIENT"
    NURSE = "NURSE"
    PHYSIOTHERAPIST = "PHYSIOTHERAPIST"
    ADMIN = "ADMIN"
    SERVICE = "SERVICE"
    STAFF = "STAFF"
    SYSTEM = "SYSTEM"


PROVIDER_ROLES = frozenset({Role.NURSE, Role.PHYSIOTHERAPIST})
ADMIN_ROLES = frozenset({Role.ADMIN, Role.STAFF})


@dataclass(frozen=True, slots=True)
class Caller:
    """The one on whose behalf something happens: ``request.user`` in views, ``actor`` in services.

    ``id`` is None where there is none to name (SYSTEM, services). ``name`` is a service's name or a staff user's login,
    never a patient's.
    """

    role: Role
    id: ObjectId | None = None
    name: str = ""

    is_authenticated: ClassVar[bool] = True

    @property
    def is_patient(self) -> bool:
        return self.role is Role.PATIENT

    @property
    def is_provider(self) -> bool:
        """A nurse or a physiotherapist; says nothing about which bookings are theirs."""
        return self.role in PROVIDER_ROLES

    @property
    def is_admin(self) -> bool:
        """The platform's admin, or our own staff in the admin pages."""
        return self.role in ADMIN_ROLES

    @property
    def label(self) -> str:
        """A short text for logs and audit: role and id or name, nothing personal."""
        return f"{self.role}:{self.id or self.name or '-'}"


SYSTEM = Caller(Role.SYSTEM)
