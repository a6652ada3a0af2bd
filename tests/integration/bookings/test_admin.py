"""The admin of bookings: read, searched, filtered, assigned and cancelled through the services, never edited."""

from decimal import Decimal

import pytest
from bson import ObjectId
from django.contrib.auth.models import Permission, User
from django.test import Client

from booking_service.api.callers import Caller, Role
from bookings import payments, services, visits
from tests.factories import booking_made, tomorrow

LIST = "/admin/bookings/booking/"


@pytest.fixture
def staff(_database):
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("boss", "boss@example.com", "Secret414002x"))
    return client


@pytest.fixture
def reader(_database):
    """Staff who may look, and nothing else."""
    user = User.objects.create_user("reader", password="Secret414002x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_booking"))
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


@pytest.fixture
def booking(asha):
    return booking_made(asha, startsAt=tomorrow(days=3), serviceDetails={"description": "Knee wound"})


def page(booking, step=""):
    return f"{LIST}{booking['_id']}/{step}/"


def test_staff_read_a_booking_and_that_is_audited(staff, booking, documents):
    listed = staff.get(LIST)
    assert listed.status_code == 200
    assert "WOUND_DRESSING" in listed.content.decode()

    shown = staff.get(f"{LIST}{booking['_id']}/change/")

    assert shown.status_code == 200
    text = shown.content.decode()
    assert "Knee wound" in text
    assert "REQUESTED" in text
    assert 'name="_save"' not in text
    lines = [
        row
        for name in documents("x").database.list_collection_names()
        for row in documents(name).find({"objectType": "booking", "objectId": str(booking["_id"])})
    ]
    assert {(line["actorName"], line["action"]) for line in lines} == {("", "WRITE"), ("boss", "READ")}


def test_staff_read_what_nobody_foresaw_among_the_care_and_that_is_audited(staff, reader, booking, documents):
    documents("nursebookings").update_one({"_id": booking["_id"]}, {"$set": {"nurseNotes": "Afraid of needles"}})

    assert "needles" not in reader.get(f"{LIST}{booking['_id']}/change/").content.decode()
    assert "needles" in staff.get(f"{LIST}{booking['_id']}/change/").content.decode()

    (line,) = documents("clinicalaccess").find({"objectId": str(booking["_id"]), "action": "READ"})
    assert (line["actorName"], line["fields"]) == ("boss", ["nurseNotes", "serviceDetails"])


def test_staff_without_the_right_see_nothing_clinical_and_leave_no_line(reader, booking, asha, nurse, admin, documents):
    visits.booking_assign(actor=admin, booking_id=booking["_id"], provider_id=nurse.id)
    visits.booking_decline(actor=nurse, booking_id=booking["_id"], reason="Allergic to cats")
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="Knee is healed")
    lines = documents("clinicalaccess").count_documents({})

    shown = reader.get(f"{LIST}{booking['_id']}/change/").content.decode()

    assert "CANCELLED" in shown
    assert [words for words in ("Knee", "Allergic", "healed", "Care") if words in shown] == []
    assert documents("clinicalaccess").count_documents({}) == lines


def test_staff_with_the_right_see_the_reasons_too(staff, booking, asha):
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="Knee is healed")
    assert staff.get(f"{LIST}{booking['_id']}/change/").content.decode().count("Knee is healed") == 2


def test_reasons_that_staff_read_are_on_record_where_nothing_else_is_clinical(staff, asha, documents):
    booking = booking_made(asha, startsAt=tomorrow(days=3))
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="Knee is healed")

    assert "Knee is healed" in staff.get(f"{LIST}{booking['_id']}/change/").content.decode()

    (line,) = documents("clinicalaccess").find({"objectId": str(booking["_id"]), "action": "READ"})
    assert (line["actorName"], line["fields"]) == ("boss", ["cancellation.reason", "timeline.reason"])


@pytest.mark.parametrize("reason", ["\u202egnihton", "a\x1b[2Jb"])
def test_a_reason_has_no_characters_that_nobody_sees(staff, booking, asha, reason):
    answer = staff.post(page(booking, "cancel"), {"reason": reason})
    assert "Leave out control characters" in answer.content.decode()
    assert services.booking_get(actor=asha, booking_id=booking["_id"])["status"] == "REQUESTED"
    assert staff.post(page(booking, "cancel"), {"reason": "Nobody\r\nis free"}).status_code == 302


def test_what_staff_do_shows_them_nothing_clinical(booking, asha, nurse, directory, documents):
    boss = Caller(Role.STAFF, ObjectId(), name="boss")
    lines = documents("clinicalaccess").count_documents({})
    assigned = visits.booking_assign(actor=boss, booking_id=booking["_id"], provider_id=nurse.id)
    cancelled, _refund = services.booking_cancel(actor=boss, booking_id=booking["_id"], reason="Nurse is ill")
    assert "serviceDetails" not in assigned | cancelled
    assert documents("clinicalaccess").count_documents({}) == lines


@pytest.mark.parametrize("by", ["booking", "patient", "service"])
def test_staff_find_a_booking(staff, asha, ravi, booking, by):
    booking_made(ravi)
    term = {"booking": booking["_id"], "patient": asha.id, "service": "wound dressing"}[by]

    found = staff.get(f"{LIST}?q={term}").content.decode()

    assert str(asha.id) in found
    assert (str(ravi.id) in found) is (by == "service")
    assert str(asha.id) not in staff.get(f"{LIST}?q=.*").content.decode()


def test_staff_filter_what_needs_them(staff, asha, ravi, booking):
    booking_made(ravi)
    payments.payment_completed(booking_id=booking["_id"], transaction_id="t", amount=Decimal("677.14"))
    services.booking_cancel(actor=asha, booking_id=booking["_id"])
    payments.refund_needs_staff(booking_id=booking["_id"], reason="PARTNER_REFUSED")

    found = staff.get(f"{LIST}?money=refund").content.decode()

    assert "Refund: NEEDS_STAFF" in found
    assert str(ravi.id) not in found
    assert str(ravi.id) in staff.get(f"{LIST}?status__exact=REQUESTED").content.decode()
    for choice in ("mismatch", "refunding", "unpaid", "paid", "nonsense"):
        assert staff.get(f"{LIST}?money={choice}").status_code == 200


def test_staff_cancel_through_the_service(staff, asha, booking, documents, outbox, claims):
    booking_id = booking["_id"]
    asked = staff.get(page(booking, "cancel"), follow=True)
    assert asked.status_code == 200

    done = staff.post(page(booking, "cancel"), {"reason": "nurse ill"}, follow=True)

    assert done.status_code == 200
    kept = documents("nursebookings").find_one({"_id": booking_id})
    assert kept["status"] == "CANCELLED"
    assert (kept["cancellation"]["cancelledBy"], kept["cancellation"]["reason"]) == ("ADMIN", "nurse ill")
    assert (kept["timeline"][-1]["role"], kept["timeline"][-1]["actorName"]) == ("STAFF", "boss")
    told = services.booking_timeline(actor=asha, booking_id=booking_id)[-1]
    assert (told["role"], "actorName" in told) == ("STAFF", False)
    assert claims() == []
    assert outbox.types()[-1] == "booking.cancelled"
    refused = staff.post(page(booking, "cancel"), {"reason": "again"}, follow=True)
    assert "can no longer be cancelled" in refused.content.decode()


def test_staff_assign_through_the_service(staff, booking, nurse, directory, documents):
    nobody = staff.post(page(booking, "assign"), {"provider_id": "x"})
    assert "This is no id." in nobody.content.decode()
    unknown = staff.post(page(booking, "assign"), {"provider_id": "6" * 24})
    assert "There is no such provider." in unknown.content.decode()

    staff.post(page(booking, "assign"), {"provider_id": str(nurse.id)})

    kept = documents("nursebookings").find_one({"_id": booking["_id"]})
    assert (kept["status"], kept["serviceProvider"]) == ("ASSIGNED", nurse.id)


@pytest.mark.parametrize("step", ["assign", "cancel"])
def test_who_may_only_look_changes_nothing(reader, booking, documents, nurse, step):
    before = documents("nursebookings").find_one({"_id": booking["_id"]})
    assert reader.get(f"{LIST}{booking['_id']}/change/").status_code == 200

    answer = reader.post(page(booking, step), {"reason": "x", "provider_id": str(nurse.id)})

    assert answer.status_code in (302, 403)
    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before


@pytest.mark.parametrize("path", ["add/", "{id}/delete/"])
def test_nobody_adds_or_deletes(staff, booking, path):
    assert staff.get(LIST + path.format(id=booking["_id"])).status_code == 403


def test_nobody_edits_by_hand(staff, booking, documents):
    before = documents("nursebookings").find_one({"_id": booking["_id"]})

    staff.post(f"{LIST}{booking['_id']}/change/", {"status": "COMPLETED"})

    assert documents("nursebookings").find_one({"_id": booking["_id"]}) == before


def test_an_odd_id_is_no_error(staff):
    assert staff.get(f"{LIST}banana/change/", follow=True).status_code == 200
    assert staff.get(f"{LIST}{'6' * 24}/change/", follow=True).status_code == 200
