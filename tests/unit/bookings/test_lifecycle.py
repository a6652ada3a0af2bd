"""Every (from, to, part) triple, against a table written out by hand from the contract."""

import itertools

import pytest
from bson import ObjectId

from booking_service.api.callers import SYSTEM, Caller, Role
from bookings import lifecycle
from bookings.lifecycle import FINAL, Part, Status

EXPECTED = """
REQUESTED    SEARCHING    admin system
REQUESTED    ASSIGNED     admin
REQUESTED    CANCELLED    patient admin system
SEARCHING    ASSIGNED     admin
SEARCHING    FAILED       admin system
SEARCHING    CANCELLED    patient admin system
ASSIGNED     CONFIRMED    provider admin
ASSIGNED     SEARCHING    provider admin
ASSIGNED     CANCELLED    patient provider admin system
CONFIRMED    EN_ROUTE     provider admin
CONFIRMED    NO_SHOW      provider admin
CONFIRMED    CANCELLED    patient provider admin system
EN_ROUTE     IN_PROGRESS  provider admin
EN_ROUTE     NO_SHOW      provider admin
EN_ROUTE     CANCELLED    patient provider admin system
IN_PROGRESS  COMPLETED    provider admin
IN_PROGRESS  CANCELLED    admin
"""
WHO = {(line.split()[0], line.split()[1]): set(line.upper().split()[2:]) for line in EXPECTED.strip().splitlines()}


@pytest.mark.parametrize(("source", "to", "part"), list(itertools.product(Status, Status, Part)))
def test_it_allows_a_triple_exactly_when_the_contract_does(source: Status, to: Status, part: Part) -> None:
    expected = part.value in WHO.get((source.value, to.value), set())

    assert lifecycle.is_allowed(source, to, part) is expected
    assert (to in lifecycle.allowed_from(source, part)) is expected
    assert (source in lifecycle.sources_of(to, part)) is expected


@pytest.mark.parametrize("status", sorted(FINAL))
def test_it_lets_nothing_follow_a_final_status(status: Status) -> None:
    assert lifecycle.is_final(status)
    assert all(lifecycle.allowed_from(status, part) == () for part in Part)


def test_it_reaches_every_status_from_the_first() -> None:
    reached, frontier = {Status.REQUESTED}, {Status.REQUESTED}
    while frontier:
        frontier = {to for (source, to) in lifecycle.TRANSITIONS if source in frontier} - reached
        reached |= frontier

    assert reached == set(Status)


def test_it_can_leave_every_status_that_is_not_final() -> None:
    assert {source for (source, _to) in lifecycle.TRANSITIONS} == set(Status) - FINAL


def test_it_treats_an_unknown_status_of_an_old_document_as_final() -> None:
    assert lifecycle.is_final("DONE")
    assert lifecycle.allowed_from("DONE", Part.ADMIN) == ()
    assert not lifecycle.is_allowed("DONE", Status.CANCELLED, Part.ADMIN)


@pytest.mark.parametrize(
    ("role", "part"),
    [
        (Role.PATIENT, Part.PATIENT),
        (Role.NURSE, Part.PROVIDER),
        (Role.PHYSIOTHERAPIST, Part.PROVIDER),
        (Role.ADMIN, Part.ADMIN),
        (Role.STAFF, Part.ADMIN),
        (Role.SERVICE, Part.SYSTEM),
    ],
)
def test_it_gives_every_role_its_part(role: Role, part: Part) -> None:
    assert lifecycle.part_of(Caller(role, ObjectId())) is part
    assert lifecycle.part_of(SYSTEM) is Part.SYSTEM
