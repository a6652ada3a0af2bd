"""Kill everything at random while bookings are made, then count. `python -m tests.chaos --seconds 600`"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from itertools import chain, repeat
from pathlib import Path
from queue import SimpleQueue
from random import Random
from time import monotonic, sleep
from typing import Any

from tests.chaos.count import Figures, count_everything, settled
from tests.chaos.faults import LEASE_SECONDS, Faults
from tests.chaos.partners import Partners
from tests.chaos.people import PATIENTS, SERVICE, Booker, Listener, Payer
from tests.chaos.proxy import Proxy
from tests.chaos.stack import Stack

RATE = 10.0
SETTLE_SECONDS = 420
PUBLISHERS, CONSUMERS = 5, 2


def run(folder: Path, *, seconds: float, seed: int, rate: float, kinds: list[str] | None = None) -> Figures:
    """Make bookings for `seconds` while faults strike, let everything settle, count."""
    partners = Partners()
    settings = {
        "PAYMENT_SERVICE_URL": partners.url,
        "NOTIFICATION_SERVICE_URL": partners.url,
        "EVENTS_LEASE_SECONDS": str(LEASE_SECONDS),
        "EVENTS_CONFIRM_SECONDS": "3",
        "EVENTS_SWEEP_SECONDS": "2",
        "EVENTS_RETRY_SECONDS": "1,5,15,30",
    }
    with Stack(folder, **settings) as stack, Proxy(stack.rabbit.uri) as network:
        stack.lies_behind(network.uri)
        stack.use()
        publishers = [stack.spawn("publish_events") for _ in range(PUBLISHERS)]
        consumers = [stack.spawn("consume_events") for _ in range(CONSUMERS)]
        stop = threading.Event()
        to_pay: SimpleQueue[dict[str, Any]] = SimpleQueue()
        listener, payer = Listener(network.uri), Payer(network.uri, to_pay)
        booker = Booker(callers(), rate, stop, to_pay)
        for thread in (listener, payer, booker):
            thread.start()
        faults = Faults(stack, network, publishers, consumers, Random(seed))
        strike(faults, until=monotonic() + seconds, kinds=kinds or list(faults.kinds))
        stop.set()
        booker.join()
        return finish(faults, booker, payer, listener, to_pay, partners)


def callers() -> list[Any]:
    from tests.factories import patient_made, service_made

    service_made(SERVICE)
    return [patient_made() for _ in range(PATIENTS)]


def strike(faults: Faults, *, until: float, kinds: list[str]) -> None:
    """One fault after the other, each kind in turn in an order of chance, with a breath between them.

    The first round is finished whatever the clock says: on a slow machine, too, each kind strikes once.
    """
    for is_first in chain([True], repeat(False)):
        for kind in faults.random.sample(kinds, len(kinds)):
            sleep(faults.random.uniform(0.5, 3))
            if monotonic() > until and not is_first:
                return
            say(f"{int(until - monotonic()):4} s left: {kind}")
            faults.strike(kind)
        if monotonic() > until:
            return


def finish(
    faults: Faults,
    booker: Booker,
    payer: Payer,
    listener: Listener,
    to_pay: SimpleQueue[dict[str, Any]],
    partners: Partners,
) -> Figures:
    say("settling")
    again = settled(faults.stack, payer, to_pay, seconds=SETTLE_SECONDS)
    sleep(2)  # what is still on its way to the listener
    codes = [process.stop() for process in (*faults.publishers, *faults.consumers)]
    return count_everything(faults, booker.attempts, payer.published, again, listener.heard, partners, codes)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE, help="bookings a second")
    parser.add_argument("--fault", action="append", help="only this kind of fault; may be repeated")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        figures = run(Path(folder), seconds=chosen.seconds, seed=chosen.seed, rate=chosen.rate, kinds=chosen.fault)
    sys.stdout.write(json.dumps(figures.as_dict()) + "\n" if chosen.json else figures.table())
    return 0 if figures.hold else 1


if __name__ == "__main__":
    sys.exit(main())
