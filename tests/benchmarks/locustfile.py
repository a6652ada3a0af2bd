"""What patients do all day, for locust: browse, look up slots and prices, book, read, list, cancel.

`tests.benchmarks.mixed_day` runs it; `LOAD_TOKENS` names a file with a patient's token a line, `LOAD_RATE_PER_USER` the
tasks a user does each second (0: as many as it can).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant_throughput, task

TOKENS = itertools.cycle(Path(os.environ["LOAD_TOKENS"]).read_text().split())
RATE = float(os.environ.get("LOAD_RATE_PER_USER", "1"))
SERVICES = [f"SERVICE_{number:03d}" for number in range(20)]
HOURS, DAYS = range(7, 21), 85
BOOKINGS, CATALOG = "/api/bookings", "/api/services"


class Patient(FastHttpUser):
    """One patient; visits are an hour apart, so only a bug can make two of them collide."""

    wait_time = constant_throughput(RATE) if RATE else (lambda _self: 0)

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {next(TOKENS)}"}
        self.open: list[str] = []
        hours = [(day, hour) for day in range(2, DAYS) for hour in HOURS]
        random.shuffle(hours)
        self.free = iter(hours)
        if RATE:
            time.sleep(random.random() / RATE)  # or all of them would ask in the same moment of every second

    @task(6)
    def browse(self) -> None:
        self.client.get(CATALOG)

    @task(3)
    def look_at_a_service(self) -> None:
        self.client.get(f"{CATALOG}/{random.choice(SERVICES)}", name=f"{CATALOG}/:id")

    @task(2)
    def look_for_slots(self) -> None:
        first = datetime.now(UTC).date() + timedelta(days=random.randrange(60))
        query = f"from={first}&to={first + timedelta(days=6)}&city=Pune"
        self.client.get(f"{CATALOG}/{random.choice(SERVICES)}/slots?{query}", name=f"{CATALOG}/:id/slots")

    @task(4)
    def list_visits(self) -> None:
        self.client.get(f"{BOOKINGS}?limit=20", headers=self.headers)

    @task(2)
    def list_upcoming(self) -> None:
        self.client.get(f"{BOOKINGS}/upcoming", headers=self.headers)

    @task(1)
    def see_own_profile(self) -> None:
        self.client.get("/api/patients/profile", headers=self.headers)

    @task(4)
    def read_a_visit(self) -> None:
        if self.open:
            self.client.get(f"{BOOKINGS}/{self.open[-1]}", headers=self.headers, name=f"{BOOKINGS}/:id")
        else:  # a turn without a request would lower the rate
            self.list_visits()

    @task(3)
    def book(self) -> None:
        day, hour = next(self.free)
        with self.client.post(BOOKINGS, json=wanted(day, hour), headers=self.headers, catch_response=True) as answer:
            if answer.status_code == 201:
                self.open.append(answer.json()["data"]["_id"])
            else:
                answer.failure(f"{answer.status_code} {answer.text}")

    @task(1)
    def cancel(self) -> None:
        if self.open:
            self._cancel(self.open.pop(0))
        else:
            self.book()

    def _cancel(self, visit: str) -> None:
        """A payment may come in between, and the refusal then says that the visit may be cancelled still: once more."""
        url, name = f"{BOOKINGS}/{visit}/cancel", f"{BOOKINGS}/:id/cancel"
        for is_last in (False, True):
            with self._asked_to_cancel(url, name) as answer:
                if answer.status_code == 409 and not is_last and "CANCELLED" in answer.json().get("allowed", ()):
                    answer.success()
                    continue
                if answer.status_code != 200:
                    answer.failure(f"{answer.status_code} {answer.text}")
                return

    def _asked_to_cancel(self, url: str, name: str) -> Any:
        return self.client.put(url, json={"reason": "Away"}, headers=self.headers, name=name, catch_response=True)


def wanted(day: int, hour: int) -> dict[str, Any]:
    """A visit `day` days from now at `hour`."""
    place = {"street": "1 Lake Road", "city": "Pune", "state": "Maharashtra", "pincode": "411001"}
    return {
        "serviceType": random.choice(SERVICES),
        "scheduledDate": str(datetime.now(UTC).date() + timedelta(days=day)),
        "scheduledTime": f"{hour:02d}:00",
        "serviceLocation": {"type": "HOME", "address": place, "contactPerson": "Family", "contactPhone": "9876543210"},
    }
