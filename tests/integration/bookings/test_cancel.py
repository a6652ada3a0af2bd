"""DELETE /api/bookings/:id, PUT /:id/cancel, GET /:id/cancellation-preview."""

from datetime import timedelta
from functools import partial

import pytest

from bookings import changing, services, visits
from bookings.exceptions import InvalidTransition, NotCancellable
from bookings.lifecycle import Status
from tests.factories import booking_made, tomorrow, visit_input
from tests.integration.bookings.parallel import in_parallel

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("PUT", "/cancel")])
def test_it_cancels_and_frees_the_time(api, asha, outbox, claims, documents, method, suffix):
    booking = booking_made(asha)

    answer = api(asha)(method, f"/bookings/{booking['_id']}{suffix}", {"reason": "better"})

    assert answer.status_code == 200, answer.body
    data = answer.body["data"]
    assert data["booking"]["status"] == "CANCELLED"
    assert data["booking"]["cancellation"]["reason"] == "better"
    assert data["refundDetails"] == {"refundAmount": 0, "cancellationFee": 0, "refundEligible": False}
    assert answer["ETag"] == '"2"'
    assert claims() == []
    assert outbox.types() == ["booking.created", "booking.cancelled"]
    assert outbox.types("PARTNER") == ["notification.send"] * 2
    assert documents("nursebookings").find_one({"_id": booking["_id"]})["statusTimestamps"]["cancelledAt"]
    assert api(asha)("POST", "/bookings", visit_input()).status_code == 201


@pytest.mark.parametrize(
    ("notice", "refund", "fee"),
    [
        (timedelta(hours=24) + SECOND, 677.14, 0),
        (timedelta(hours=24), 338.57, 338.57),
        (timedelta(hours=4) + SECOND, 338.57, 338.57),
        (timedelta(hours=4), 0, 677.14),
        (timedelta(0), 0, 677.14),
    ],
)
def test_it_refunds_what_was_paid_by_the_notice(api, asha, outbox, paid, at, notice, refund, fee):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    paid(booking["_id"])
    at(tomorrow(days=3) - notice)

    preview = api(asha)("GET", f"/bookings/{booking['_id']}/cancellation-preview").body["data"]
    done = api(asha)("DELETE", f"/bookings/{booking['_id']}").body["data"]

    expected = {"refundAmount": refund, "cancellationFee": fee, "refundEligible": refund > 0}
    assert preview == done["refundDetails"] == expected
    assert outbox.types().count("booking.refund_requested") == (refund > 0)
    assert outbox.types("PARTNER").count("refund.request") == (refund > 0)
    assert ("refund" in done["booking"]) is (refund > 0)


def test_it_refunds_everything_when_the_office_cancels(api, asha, admin, paid, at):
    booking = booking_made(asha)
    paid(booking["_id"])
    at(tomorrow() + timedelta(minutes=10))

    done = api(admin)("DELETE", f"/bookings/{booking['_id']}", {"reason": "nurse ill"}).body["data"]

    assert done["refundDetails"]["refundAmount"] == 677.14
    assert done["booking"]["cancellation"]["cancelledBy"] == "ADMIN"


def test_a_provider_cancels_what_is_assigned_to_them(api, asha, nurse, admin, paid):
    booking = booking_made(asha)
    path = f"/bookings/{booking['_id']}"
    assert api(nurse)("DELETE", path).status_code == 404
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    paid(booking["_id"])

    done = api(nurse)("DELETE", path)

    assert done.status_code == 200
    assert done.body["data"]["refundDetails"]["refundAmount"] == 677.14
    assert done.body["data"]["booking"]["cancellation"]["cancelledBy"] == "PROVIDER"


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELLED", "NO_SHOW", "FAILED", "IN_PROGRESS"])
def test_it_refuses_when_it_is_too_late(api, asha, outbox, documents, status):
    booking = booking_made(asha)
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"status": status}})
    before = documents("nursebookings").find_one({"_id": booking["_id"]})

    answer = api(asha)("DELETE", f"/bookings/{booking['_id']}")

    assert (answer.status_code, answer.body["code"]) == (409, "NOT_CANCELLABLE")
    assert (answer.body["from"], answer.body["to"], answer.body["allowed"]) == (status, "CANCELLED", [])
    assert api(asha)("GET", f"/bookings/{booking['_id']}/cancellation-preview").body["code"] == "NOT_CANCELLABLE"
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before
    assert outbox.types() == ["booking.created"]


def test_a_repeated_cancellation_with_its_key_gets_the_first_answer(api, asha, outbox):
    booking = booking_made(asha)

    answers = [api(asha)("DELETE", f"/bookings/{booking['_id']}", Idempotency_Key="k-1") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert outbox.types() == ["booking.created", "booking.cancelled"]


def test_twenty_parallel_cancellations_refund_once(asha, outbox, paid):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    paid(booking["_id"])

    results = in_parallel([lambda: services.booking_cancel(actor=asha, booking_id=booking["_id"])] * 20)

    lost = [result for result in results if isinstance(result, Exception)]
    assert len(lost) == 19
    assert all(isinstance(error, InvalidTransition) for error in lost)
    assert outbox.types().count("booking.cancelled") == 1
    assert outbox.types("PARTNER").count("refund.request") == 1


def test_cancel_against_complete_has_one_winner(asha, nurse, admin, outbox, documents):
    for round_number in range(10):
        booking = booking_made(asha, startsAt=tomorrow(days=round_number + 1))
        visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
        for step in (visits.booking_confirm, visits.booking_en_route, visits.booking_start):
            step(actor=admin, booking_id=booking["_id"])

        results = in_parallel(
            [
                partial(services.booking_cancel, actor=admin, booking_id=booking["_id"]),
                partial(visits.booking_complete, actor=admin, booking_id=booking["_id"], report={}),
            ]
        )

        status = documents("nursebookings").find_one({"_id": booking["_id"]})["status"]
        [loser] = [result for result in results if isinstance(result, Exception)]
        assert isinstance(loser, InvalidTransition)
        assert loser.details["from"] == status
        assert loser.details["to"] == ({"CANCELLED", "COMPLETED"} - {status}).pop()
    ends = [name for name in outbox.types() if name in ("booking.cancelled", "booking.completed")]
    assert len(ends) == 10


def test_the_loser_of_a_race_is_told_so(asha, admin, monkeypatch, documents):
    """Somebody completes the visit between our reading and our writing."""
    booking = booking_made(asha)
    seen = changing.booking_of

    def read_then_overtaken(actor, booking_id):
        found = seen(actor, booking_id)
        documents("nursebookings").update_one({"_id": booking_id}, {"$set": {"status": "COMPLETED"}})
        return found

    monkeypatch.setattr(services, "booking_of", read_then_overtaken)
    with pytest.raises(InvalidTransition) as lost:
        services.booking_cancel(actor=admin, booking_id=booking["_id"])

    assert not isinstance(lost.value, NotCancellable)
    assert lost.value.details == {"from": "COMPLETED", "to": Status.CANCELLED, "allowed": []}


def test_a_payment_between_reading_and_cancelling_is_refunded(asha, monkeypatch, paid):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    seen = changing.booking_of
    reads: list[dict] = []

    def read_then_paid(actor, booking_id):
        found = seen(actor, booking_id)
        if not reads:
            paid(booking_id)
        reads.append(found)
        return found

    monkeypatch.setattr(services, "booking_of", read_then_paid)
    with pytest.raises(InvalidTransition):
        services.booking_cancel(actor=asha, booking_id=booking["_id"])
    _, refund = services.booking_cancel(actor=asha, booking_id=booking["_id"])

    assert str(refund.refund_amount) == "677.14"
