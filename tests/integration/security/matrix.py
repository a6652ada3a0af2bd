"""Who gets what from every route: the answer's status for each kind of caller.

Columns: anonymous, patient A (whose object it is), patient B, provider (assigned), other provider, admin, service,
monolith token (of patient A). A new route without a row fails `test_access.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from bson import ObjectId

from patients import services as patients
from tests.factories import VisitInput, tomorrow
from tests.integration.security.world import World

_numbers = count(1)
Body = Callable[[World, str], Any]


@dataclass(frozen=True)
class Row:
    """What each caller gets; `body` makes a fresh body, `status` is the state of the fresh booking that it is about."""

    statuses: str
    body: Any = None
    status: str = "REQUESTED"
    query: str = ""

    @property
    def expected(self) -> list[int]:
        return [int(status) for status in self.statuses.split()]


EVERYBODY = "200 200 200 200 200 200 200 200"
OWNER = "401 200 404 403 403 403 403 200"
OWN = "401 200 200 403 403 403 403 200"
CONCERNED = "401 200 404 200 404 200 403 200"
CARE = "401 403 403 200 404 200 403 403"


def registration(_world: World, _who: str) -> Any:
    number = next(_numbers)
    return {
        "name": "New Patient",
        "email": f"new{number}@example.com",
        "phone": f"8{number:09}",
        "password": "Secret414002x",
    }


def login(world: World, who: str) -> Any:
    account = world.account(who)
    return {"email": account.email, "password": account.password}


def refresh(world: World, who: str) -> Any:
    account = world.account(who)
    _, signed_in = patients.patient_login(email=account.email, password=account.password, address="elsewhere")
    return {"refreshToken": signed_in.refresh_token}


def password(world: World, who: str) -> Any:
    return {"currentPassword": world.account(who).password, "newPassword": world.account(who).password}


def visit(world: World, _who: str) -> Any:
    number = next(world.days)
    return VisitInput(startsAt=tomorrow(8 + number // 60, days=number % 60 + 2).isoformat())


def another_time(world: World, who: str) -> Any:
    return {"startsAt": visit(world, who)["startsAt"], "reason": "Travelling"}


def provider(world: World, _who: str) -> Any:
    return {"providerId": str(world.provider_id)}


ADDRESS = {"street": "1 MG Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}

MATRIX: dict[str, Row] = {
    # patients
    "POST /api/patients/register": Row("201 201 201 201 201 201 201 201", registration),
    "POST /api/patients/login": Row(EVERYBODY, login),
    "POST /api/patients/token/refresh": Row(EVERYBODY, refresh),
    "POST /api/patients/logout": Row(EVERYBODY, refresh),
    # The password that patient A has just set ended the monolith's token.
    "PUT /api/patients/password": Row(OWN.removesuffix("200") + "401", password),
    "GET /api/patients/stats": Row(OWN),
    "GET /api/patients/addresses": Row(OWN),
    "POST /api/patients/addresses": Row("401 201 201 403 403 403 403 201", ADDRESS),
    "PUT /api/patients/addresses/<str:address_id>": Row(OWNER, {"city": "Mumbai"}),
    "DELETE /api/patients/addresses/<str:address_id>": Row(OWNER),
    "GET /api/patients/<str:patient_id>": Row("401 200 404 403 403 200 403 200"),
    "PUT /api/patients/<str:patient_id>": Row("401 200 404 403 403 200 403 200", {"gender": "female"}),
    # bookings
    "POST /api/bookings": Row("401 201 201 403 403 403 403 201", visit),
    "GET /api/bookings": Row(OWN),
    "GET /api/bookings/upcoming": Row(OWN),
    "GET /api/bookings/history": Row(OWN),
    "GET /api/bookings/patient/me": Row(OWN),
    "GET /api/bookings/provider/me": Row("401 403 403 200 200 403 403 403"),
    "GET /api/bookings/<str:booking_id>": Row(CONCERNED, status="ASSIGNED"),
    "PUT /api/bookings/<str:booking_id>": Row(OWNER, {"specialRequirements": "Ring twice"}),
    "DELETE /api/bookings/<str:booking_id>": Row(CONCERNED, {"reason": "Travelling"}, status="ASSIGNED"),
    "PUT /api/bookings/<str:booking_id>/cancel": Row(CONCERNED, {"reason": "Travelling"}, status="ASSIGNED"),
    "GET /api/bookings/<str:booking_id>/cancellation-preview": Row(CONCERNED, status="ASSIGNED"),
    "POST /api/bookings/<str:booking_id>/reschedule": Row("401 200 404 403 403 200 403 200", another_time),
    "GET /api/bookings/<str:booking_id>/timeline": Row(CONCERNED, status="ASSIGNED"),
    "PUT /api/bookings/<str:booking_id>/assign": Row("401 403 403 403 403 200 403 403", provider, status="SEARCHING"),
    "PUT /api/bookings/<str:booking_id>/confirm": Row(CARE, status="ASSIGNED"),
    "PUT /api/bookings/<str:booking_id>/decline": Row(CARE, {"reason": "Ill"}, status="ASSIGNED"),
    "PUT /api/bookings/<str:booking_id>/en-route": Row(CARE, status="CONFIRMED"),
    "PUT /api/bookings/<str:booking_id>/start": Row(CARE, status="EN_ROUTE"),
    "PUT /api/bookings/<str:booking_id>/complete": Row(CARE, {"observations": "Well"}, status="IN_PROGRESS"),
    "PUT /api/bookings/<str:booking_id>/no-show": Row(CARE, status="CONFIRMED"),
    "POST /api/bookings/<str:booking_id>/review": Row(
        "401 201 404 403 403 403 403 201", {"stars": 5}, status="COMPLETED"
    ),
    "POST /api/bookings/<str:booking_id>/payment": Row("401 201 404 403 403 403 403 201"),
    "GET /api/bookings/<str:booking_id>/payment": Row(OWNER),
    # the catalog, and what is around it
    "GET /api/services": Row(EVERYBODY),
    "GET /api/services/featured": Row(EVERYBODY),
    "GET /api/services/popular": Row(EVERYBODY),
    "GET /api/services/search": Row(EVERYBODY, query="?q=wound"),
    "GET /api/services/category/<str:category>": Row(EVERYBODY),
    "GET /api/services/<str:key>": Row(EVERYBODY),
    "GET /api/services/<str:key>/pricing": Row(EVERYBODY),
    "GET /api/services/<str:id_or_slug>/slots": Row(EVERYBODY),
    "GET /": Row(EVERYBODY),
    "GET /health": Row(EVERYBODY),
    "GET /health/live": Row(EVERYBODY),
    "GET /health/ready": Row(EVERYBODY),
    "GET /metrics": Row(EVERYBODY),
    "GET /api/events": Row(EVERYBODY),
    "GET /api/schema": Row(EVERYBODY),
    "GET /api/docs": Row(EVERYBODY),
}


def path_of(route: str, row: Row, world: World) -> str:
    """The path of a route, about fresh objects of patient A."""
    path = route.split(" ", 1)[1]
    if "<str:booking_id>" in path:
        path = path.replace("<str:booking_id>", str(world.booking(row.status, **_needed(route))))
    if "<str:address_id>" in path:
        path = path.replace("<str:address_id>", str(world.address()))
    path = path.replace("<str:patient_id>", str(world.asha.id)).replace("<str:category>", "NURSING")
    return path.replace("<str:key>", "WOUND_DRESSING").replace("<str:id_or_slug>", "WOUND_DRESSING") + row.query


def _needed(route: str) -> dict[str, Any]:
    """How a visit goes is told when its time has come."""
    if not route.endswith(("/en-route", "/start", "/complete", "/no-show")):
        return {}
    now = datetime.now(UTC)
    return {"startsAt": now, "endsAt": now}


def absent(route: str) -> str:
    """The path of a route about objects that do not exist."""
    path = route.split(" ", 1)[1]
    for name in ("<str:booking_id>", "<str:address_id>", "<str:patient_id>"):
        path = path.replace(name, str(ObjectId()))
    return path
