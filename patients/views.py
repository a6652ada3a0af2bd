"""The endpoints under `/api/patients`."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from rest_framework.request import Request

from booking_service.api.addresses import client_site
from booking_service.api.bulkhead import Busy
from booking_service.api.callers import Caller
from booking_service.api.envelope import Response, success
from booking_service.api.schema import documents
from booking_service.api.views import ServiceViewSet
from patients import openapi, serializers, services, sessions
from patients.authentication import PatientAuthentication, caller, credentials
from patients.exceptions import (
    AccountDeactivated,
    AddressNotFound,
    DefaultAddressRequired,
    EmailTaken,
    InvalidCredentials,
    InvalidRefreshToken,
    PatientNotFound,
    PhoneTaken,
    TooManyAddresses,
)
from patients.permissions import IsPatient, IsPatientOrAdmin

ALIASES = frozenset({"me", "profile"})

REGISTERED = "Welcome."
SIGNED_IN = "Signed in."
SIGNED_OUT = "Signed out."
UPDATED = "Profile updated."
PASSWORD_CHANGED = "Password changed. Every other session has ended."  # noqa: S105 - a sentence
ADDRESS_ADDED = "Address saved."
ADDRESS_UPDATED = "Address updated."
ADDRESS_DELETED = "Address deleted."


def session_tokens(signed_in: sessions.SignedIn) -> dict[str, str]:
    return {"token": signed_in.token, "refreshToken": signed_in.refresh_token}


class AccountViewSet(ServiceViewSet):
    """Making an account and signing in and out: no caller yet, so an old token in the request does no harm."""

    authentication_classes = ()

    @documents(
        openapi.SIGNED_IN,
        body=serializers.RegisterInput,
        status=201,
        refusals=(EmailTaken, PhoneTaken, Busy),
        example=openapi.REGISTER_EXAMPLE,
    )
    def register(self, request: Request) -> Response:
        """Make an account and sign in."""
        given = serializers.RegisterInput.parse(request.data)
        patient, signed_in = services.patient_register(**given)
        return success({"patient": patient, **session_tokens(signed_in)}, message=REGISTERED, status=201)

    @documents(
        openapi.SIGNED_IN,
        body=serializers.LoginInput,
        refusals=(InvalidCredentials, AccountDeactivated, Busy),
        example=openapi.LOGIN_EXAMPLE,
    )
    def login(self, request: Request) -> Response:
        """Sign in."""
        given = serializers.LoginInput.parse(request.data)
        patient, signed_in = services.patient_login(**given, address=client_site(request._request))
        return success({"patient": patient, **session_tokens(signed_in)}, message=SIGNED_IN)

    @documents(openapi.TOKENS, body=serializers.RefreshInput, refusals=(InvalidRefreshToken,))
    def refresh(self, request: Request) -> Response:
        """A new pair of tokens for a refresh token, which ends."""
        given = serializers.RefreshInput.parse(request.data)
        return success(session_tokens(sessions.session_refresh(refresh_token=given["refreshToken"])))

    @documents(openapi.NOTHING, body=serializers.LogoutInput, refusals=(InvalidRefreshToken,))
    def logout(self, request: Request) -> Response:
        """End this session, or every one."""
        given = serializers.LogoutInput.parse(request.data)
        sessions.session_close(refresh_token=given["refreshToken"], everywhere=given.get("everywhere", False))
        return success(message=SIGNED_OUT)


class PatientViewSet(ServiceViewSet):
    """A patient's record: their own, or any for an admin."""

    authentication_classes = (PatientAuthentication,)

    def get_permissions(self) -> list[Any]:
        return [IsPatientOrAdmin() if self.action in {"retrieve", "update"} else IsPatient()]

    @documents(openapi.PATIENT)
    def retrieve(self, request: Request, patient_id: str) -> Response:
        """Your record; `me` and `profile` mean yourself."""
        return success(
            services.patient_get(actor=caller(request), patient_id=named_patient(caller(request), patient_id))
        )

    @documents(openapi.PATIENT, body=serializers.ProfileInput, refusals=(PhoneTaken,), example=openapi.PROFILE_EXAMPLE)
    def update(self, request: Request, patient_id: str) -> Response:
        """Change any subset of your record."""
        changes = serializers.ProfileInput.parse(request.data)
        named = named_patient(caller(request), patient_id)
        patient = services.patient_update(actor=caller(request), patient_id=named, changes=changes)
        return success(patient, message=UPDATED)

    @documents(
        openapi.TOKENS | {"nullable": True}, body=serializers.PasswordChangeInput, refusals=(InvalidCredentials, Busy)
    )
    def password(self, request: Request) -> Response:
        """Change the password; every other session ends."""
        given = serializers.PasswordChangeInput.parse(request.data)
        signed_in = services.password_change(
            actor=caller(request),
            session_id=credentials(request).session_id,
            current_password=given["currentPassword"],
            new_password=given["newPassword"],
            address=client_site(request._request),
        )
        return success(signed_in and session_tokens(signed_in), message=PASSWORD_CHANGED)

    @documents(openapi.STATS)
    def stats(self, request: Request) -> Response:
        """What you have booked and spent."""
        return success(services.patient_stats(actor=caller(request)))


class AddressViewSet(ServiceViewSet):
    """The caller's saved addresses."""

    authentication_classes = (PatientAuthentication,)
    permission_classes = (IsPatient,)

    @documents(openapi.ADDRESSES)
    def list(self, request: Request) -> Response:
        """Your saved addresses, oldest first."""
        return success(services.address_list(actor=caller(request)))

    @documents(
        openapi.ADDRESS,
        body=serializers.SavedAddressInput,
        status=201,
        refusals=(TooManyAddresses,),
        example=openapi.ADDRESS_EXAMPLE,
    )
    def create(self, request: Request) -> Response:
        """Save an address; the first becomes the default."""
        given = serializers.SavedAddressInput.parse(request.data)
        return success(services.address_add(actor=caller(request), address=given), message=ADDRESS_ADDED, status=201)

    @documents(
        openapi.ADDRESS,
        body=serializers.SavedAddressChange,
        refusals=(DefaultAddressRequired,),
        example={"label": "Parents"},
    )
    def update(self, request: Request, address_id: str) -> Response:
        """Change any subset of a saved address."""
        changes = serializers.SavedAddressChange.parse(request.data)
        address = services.address_update(actor=caller(request), address_id=named_address(address_id), changes=changes)
        return success(address, message=ADDRESS_UPDATED)

    @documents(openapi.NOTHING)
    def destroy(self, request: Request, address_id: str) -> Response:
        """Delete a saved address."""
        services.address_delete(actor=caller(request), address_id=named_address(address_id))
        return success(message=ADDRESS_DELETED)


def named_patient(caller: Caller, given: str) -> ObjectId:
    """The id in the path, or the caller's own behind its aliases; whatever cannot be an id is a 404."""
    if given in ALIASES and caller.id is not None:
        return caller.id
    if not ObjectId.is_valid(given):
        raise PatientNotFound
    return ObjectId(given)


def named_address(given: str) -> ObjectId:
    """The address's id in the path; whatever cannot be one is a 404."""
    if not ObjectId.is_valid(given):
        raise AddressNotFound
    return ObjectId(given)
