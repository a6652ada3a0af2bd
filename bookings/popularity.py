"""How often services are booked, told to the catalog about once a second instead of with every booking.

The count orders the catalog's lists. It is not worth a write to one document, the same for everybody, in every booking;
so each process collects for FLUSH_SECONDS and tells then, with the next booking or at its end. A crash loses a second.
"""

import atexit
import threading
import time
from collections import Counter

import structlog
from django.db import DatabaseError

from catalog import services as catalog

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0


class Tally:
    """Bookings of services that the catalog has not heard of yet. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told_at = float("-inf")

    def add(self, service: str) -> None:
        """Count one booking; after the commit, as nobody takes it back."""
        with self._lock:
            self._counts[service] += 1
            is_due = time.monotonic() - self._told_at >= FLUSH_SECONDS
            if is_due:
                self._told_at = time.monotonic()
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Tell the catalog. A count that cannot be told is dropped: the booking stands without it."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            catalog.services_booked(counts)
        except DatabaseError as error:
            log.warning("bookings_not_counted", counts=dict(counts), error=type(error).__name__)


booked = Tally()
atexit.register(booked.flush)
