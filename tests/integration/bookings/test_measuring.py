"""What `/metrics` says of bookings, refusals and the catalog's cache."""

import pytest
from prometheus_client import REGISTRY

from booking_service.djongo.transaction import atomic
from bookings import services
from tests.factories import booking_made, visit_input


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def bookings(event: str, status: str) -> float:
    return value("booking_bookings_total", event=event, status=status)


def test_it_counts_bookings_by_event_and_status(asha):
    made, cancelled = bookings("created", "REQUESTED"), bookings("cancelled", "CANCELLED")

    booking = booking_made(asha)
    services.booking_cancel(actor=asha, booking_id=booking["_id"], reason="better")

    assert bookings("created", "REQUESTED") == made + 1
    assert bookings("cancelled", "CANCELLED") == cancelled + 1


def test_it_does_not_count_what_is_rolled_back(asha):
    made = bookings("created", "REQUESTED")

    with pytest.raises(RuntimeError), atomic():
        booking_made(asha)
        raise RuntimeError

    assert bookings("created", "REQUESTED") == made


def test_it_counts_refusals_by_code(api, asha):
    booking_made(asha)
    refused = value("booking_refusals_total", code="PATIENT_OVERLAP")

    answer = api(asha)("POST", "/bookings", visit_input())

    assert answer.status_code == 409
    assert value("booking_refusals_total", code="PATIENT_OVERLAP") == refused + 1


def test_it_counts_lookups_in_the_catalogs_cache(api, asha):
    booking_made(asha)
    api(asha)("GET", "/services")
    hits = value("booking_cache_lookups_total", cache="catalog", result="hit")

    api(asha)("GET", "/services")

    assert value("booking_cache_lookups_total", cache="catalog", result="hit") > hits
