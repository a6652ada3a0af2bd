"""Which kinds of caller an endpoint is for. Whose object it is, services decide."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from booking_service.api.callers import Caller, Role
from booking_service.api.errors import NotAuthenticated


class _CallerPermission(BasePermission):
    """401 for the anonymous, 403 for a caller of another kind: the same answer whatever the object."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = cast(Caller | None, request.user)
        if caller is None:
            raise NotAuthenticated
        return self.admits(caller)

    def admits(self, caller: Caller) -> bool:
        """Whether callers of this kind may use the endpoint."""
        raise NotImplementedError


class IsCaller(_CallerPermission):
    """Anybody known."""

    def admits(self, caller: Caller) -> bool:
        return True


class IsPatient(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_patient


class IsProvider(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_provider


class IsAdmin(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_admin


class IsPatientOrAdmin(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_patient or caller.is_admin


class IsPatientProviderOrAdmin(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_patient or caller.is_provider or caller.is_admin


class IsProviderOrAdmin(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.is_provider or caller.is_admin


class IsService(_CallerPermission):
    def admits(self, caller: Caller) -> bool:
        return caller.role is Role.SERVICE
