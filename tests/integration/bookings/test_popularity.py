"""How often services are booked, as the catalog hears of it."""

from django.db import OperationalError

from bookings import popularity
from bookings.popularity import Tally
from catalog import services as catalog
from tests.factories import booking_made


def counted(documents):
    return documents("servicecatalogs").find_one({"name": "WOUND_DRESSING"})["stats"]["totalBookings"]


def test_it_tells_at_once_and_then_collects(documents):
    tally = Tally()

    for _ in range(5):
        tally.add("WOUND_DRESSING")

    assert counted(documents) == 1
    tally.flush()
    assert counted(documents) == 5
    tally.flush()
    assert counted(documents) == 5


def test_a_booking_is_counted_after_its_commit(asha, documents):
    popularity.booked.flush()  # what other tests left
    before = counted(documents)

    booking_made(asha)
    popularity.booked.flush()

    assert counted(documents) == before + 1


def test_a_count_that_cannot_be_told_harms_nobody(documents, monkeypatch, caplog):
    def refuse(_counts):
        raise OperationalError("away")

    tally = Tally()
    with monkeypatch.context() as broken:
        broken.setattr(catalog, "services_booked", refuse)
        tally.add("WOUND_DRESSING")
    tally.flush()

    assert counted(documents) == 0
    assert "bookings_not_counted" in caplog.text
