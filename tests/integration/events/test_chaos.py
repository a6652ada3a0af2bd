"""The short form of `make chaos`: every fault once while bookings are made, then everything is counted."""

import json
import os
import subprocess
import sys

import pytest

from tests.chaos.stack import ROOT

pytestmark = pytest.mark.broker


def test_nothing_is_lost_invented_or_done_twice_while_everything_is_killed():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "COV_"))}
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "60", "--rate", "5", "--json"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.stdout, run.stderr[-3000:]
    figures = json.loads(run.stdout)
    assert run.returncode == 0, figures
    assert figures["committed"] > 50
    assert len(figures["faults"]) == 11, "each kind strikes once, however slow the machine"
    assert figures["bites"].keys() == {
        "connections closed",
        "connections blocked",
        "events refused",
        "queues made again",
    }
    assert figures["effects"] == figures["committed"]
