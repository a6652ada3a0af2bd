"""The slot guard between processes: what threads of one process share, pods do not."""

import subprocess
import sys
from collections import Counter

from tests.factories import patient_made, service_made, tomorrow

PROCESSES, CALLERS = 4, 13

# One pod: its callers book, all at once, as soon as every pod is ready.
POD = """
import sys, django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from bson import ObjectId
from booking_service.api.callers import Caller, Role
from booking_service.api.errors import ServiceError
from bookings import services
from django.db import connection
from tests.factories import visit_input

at, *patients = sys.argv[1:]

def book(patient):
    wanted = {**visit_input(serviceType="IV_DRIP"), "startsAt": datetime.fromisoformat(at)}
    try:
        services.booking_create(actor=Caller(Role.PATIENT, ObjectId(patient)), wanted=wanted)
        return "BOOKED"
    except ServiceError as refusal:
        return refusal.code
    finally:
        connection.close()

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(len(patients)) as pool:
    print(*pool.map(book, patients), flush=True)
"""


def pod(environment, patients):
    return subprocess.Popen(
        [sys.executable, "-c", POD, tomorrow().isoformat(), *patients],
        env={**environment, "DJANGO_SETTINGS_MODULE": "booking_service.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_fifty_callers_in_four_processes_get_the_one_place_once(process_environment, documents, claims):
    service_made("IV_DRIP", availability__capacityPerSlot=1)
    patients = [str(patient_made().id) for _ in range(PROCESSES * CALLERS)]
    documents("outbox").delete_many({})
    pods = [pod(process_environment, patients[n::PROCESSES]) for n in range(PROCESSES)]
    try:
        for each in pods:
            assert each.stdout.readline() == "ready\n"
        for each in pods:
            each.stdin.write("go\n")
            each.stdin.flush()
        outcomes = Counter(word for each in pods for word in each.communicate(timeout=120)[0].split())
    finally:
        for each in pods:
            each.kill()

    assert outcomes == {"BOOKED": 1, "SLOT_TAKEN": PROCESSES * CALLERS - 1}
    assert documents("outbox").count_documents({"type": "booking.created"}) == 1
    assert documents("nursebookings").count_documents({}) == 1
    assert len(claims()) == 12
