"""Sample endpoints that do what endpoints of this API may do; each is a line or two."""

import threading
from typing import Any

from bson import ObjectId
from django.db import connection
from django.urls import path
from rest_framework.authentication import BaseAuthentication

from booking_service.api import serializers
from booking_service.api.callers import Caller, Role
from booking_service.api.envelope import Response, success
from booking_service.api.errors import Conflict, ServiceUnavailable, TooManyRequests
from booking_service.api.idempotency import idempotent
from booking_service.api.views import ServiceViewSet

EFFECTS = "django_session"  # a migrated collection that the tests may fill
started = threading.Semaphore(0)
go_on = threading.Event()


class SampleAuthentication(BaseAuthentication):
    """``X-Patient`` names the caller."""

    def authenticate(self, request: Any) -> tuple[Caller, None]:
        return Caller(Role.PATIENT, ObjectId(request.headers.get("X-Patient", "0" * 24))), None


class AddressInput(serializers.StrictSerializer):
    city = serializers.CharField(max_length=10)


class SampleInput(serializers.StrictSerializer):
    name = serializers.CharField(max_length=20)
    visits = serializers.IntegerField(required=False, min_value=1)
    ratio = serializers.FloatField(required=False)
    urgent = serializers.BooleanField(required=False)
    price = serializers.MoneyField(required=False)
    at = serializers.InstantField(required=False)
    provider = serializers.ObjectIdField(required=False)
    address = AddressInput(required=False)


def effects() -> int:
    return int(connection.database[EFFECTS].count_documents({}))  # type: ignore[attr-defined]


def leave_effect() -> None:
    connection.documents[EFFECTS].insert_one({"_id": str(ObjectId())})  # type: ignore[attr-defined]


class Samples(ServiceViewSet):
    authentication_classes = (SampleAuthentication,)
    permission_classes = ()

    def show(self, request: Any) -> Response:
        return success({"id": ObjectId("5" * 24)})

    def echo(self, request: Any) -> Response:
        return success(SampleInput.parse(request.data), status=201)

    def fail(self, request: Any) -> Response:
        raise RuntimeError("secret of the patient Asha")

    @idempotent
    def once(self, request: Any) -> Response:
        leave_effect()
        return success({"number": str(ObjectId())}, status=201, headers={"ETag": '"1"'})

    @idempotent
    def slow(self, request: Any) -> Response:
        leave_effect()
        started.release()
        assert go_on.wait(10)
        return success({"number": str(ObjectId())}, status=201)

    @idempotent
    def refuse(self, request: Any) -> Response:
        leave_effect()
        raise Conflict(reason="taken")

    @idempotent
    def later(self, request: Any) -> Response:
        raise TooManyRequests

    @idempotent
    def down(self, request: Any) -> Response:
        leave_effect()
        raise ServiceUnavailable

    @idempotent
    def crash(self, request: Any) -> Response:
        leave_effect()
        raise RuntimeError("secret of the patient Asha")

    @idempotent(transactional=False)
    def call_partner(self, request: Any) -> Response:
        leave_effect()
        return success({"number": str(ObjectId())})


urlpatterns = [
    path("sample", Samples.as_view({"get": "show", "post": "echo"})),
    path("fail", Samples.as_view({"get": "fail"})),
    *(
        path(name.replace("_", "-"), Samples.as_view({"post": name}))
        for name in ("once", "slow", "refuse", "later", "down", "crash", "call_partner")
    ),
]
handler400 = "booking_service.api.exception_handler.bad_request"
handler404 = "booking_service.api.exception_handler.not_found"
handler500 = "booking_service.api.exception_handler.server_error"
