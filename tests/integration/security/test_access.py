"""Every route, every kind of caller. What is refused changes nothing; what is not theirs is absent to strangers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client

from booking_service.partners import payments as payment_service
from patients.models import Patient
from tests.factories import service_made
from tests.integration.security.matrix import MATRIX, absent, path_of
from tests.integration.security.routes import admin_paths, all_routes, versioned_routes
from tests.integration.security.world import CALLERS, everything, world_made


@pytest.fixture
def world(registered, monkeypatch):
    service_made()
    monkeypatch.setattr(payment_service, "order_open", order_open)
    return world_made(registered, monkeypatch)


def order_open(*, booking_id, amount: Decimal, currency: str, **_rest):
    return payment_service.PaymentOrder(
        id=f"order-{booking_id}",
        booking_id=booking_id,
        amount=amount,
        currency=currency,
        status=payment_service.OrderStatus.OPEN,
        checkout_url="https://pay.example.com/1",
        expires_at=None,
    )


def test_every_route_has_a_row_and_every_row_a_route():
    routes = all_routes()
    assert routes - MATRIX.keys() == set(), "routes without a row: say in matrix.py who gets what"
    assert MATRIX.keys() - routes == set(), "rows without a route"


def test_the_versioned_alias_is_the_same_api():
    api = {route for route in all_routes() if " /api/" in route and not route.endswith(("/schema", "/docs"))}
    assert versioned_routes() == api


@pytest.mark.parametrize("route", MATRIX)
def test_each_caller_gets_what_the_matrix_says(world, route):
    row, method, got = MATRIX[route], route.split()[0], []
    for who in CALLERS:
        path = path_of(route, row, world)
        body = row.body(world, who) if callable(row.body) else row.body
        before = everything()
        answer = world.apis[who](method, path, body)
        got.append(answer.status_code)
        if answer.status_code >= 400:
            assert everything() == before, f"refused to {who}, and something changed"
            assert answer.body["success"] is False
    assert dict(zip(CALLERS, got, strict=True)) == dict(zip(CALLERS, row.expected, strict=True))


@pytest.mark.parametrize("route", [route for route, row in MATRIX.items() if 404 in row.expected])
def test_a_stranger_cannot_tell_what_is_absent_from_what_is_not_theirs(world, route):
    row, method = MATRIX[route], route.split()[0]
    for who, status in zip(CALLERS, row.expected, strict=True):
        if status != 404:
            continue
        body = row.body(world, who) if callable(row.body) else row.body
        theirs = world.apis[who](method, path_of(route, row, world), body)
        nobodys = world.apis[who](method, absent(route), body)
        for answer in (theirs, nobodys):
            answer.body.pop("requestId")
        assert (theirs.status_code, theirs.body) == (nobodys.status_code, nobodys.body)


@pytest.mark.parametrize("who", [who for who in CALLERS if who != "anonymous"])
def test_no_token_opens_the_admin(world, who):
    User.objects.create_superuser("root", password="Admin-Password-9")
    booking_id = world.booking()
    paths = sorted(admin_paths() - {"/admin/login/"})
    assert f"/admin/bookings/booking/{booking_id}/cancel/" in paths
    assert f"/admin/patients/patient/{Patient.objects.first().pk}/change/" in paths
    assert len(paths) > 60
    before = everything()
    for path in paths:
        for method in ("GET", "POST"):
            answer = Client().generic(method, path, headers=world.apis[who].headers)
            assert answer.status_code in {302, 403}, path
            if answer.status_code == 302:
                assert answer.headers["Location"].startswith(("/admin/login/?next=", "/admin/")), path
            assert not answer.wsgi_request.user.is_authenticated
    assert everything() == before


def test_providers_see_a_booking_only_while_it_is_theirs(world):
    from bookings.models import Booking

    booking_id = world.booking("ASSIGNED")
    assert world.apis["provider"]("GET", f"/api/bookings/{booking_id}").status_code == 200
    Booking.objects.mongo_update_one({"_id": booking_id}, {"$set": {"serviceProvider": None, "status": "SEARCHING"}})
    assert world.apis["provider"]("GET", f"/api/bookings/{booking_id}").status_code == 404
    assert world.apis["provider"]("GET", f"/api/bookings/{booking_id}/timeline").status_code == 404
