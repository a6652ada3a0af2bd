"""Which CPU a web process runs on."""

import os
from collections.abc import Callable

import psutil
import pytest

from tests.integration.operations.conftest import Web

Start = Callable[..., Web]


def workers_of(web: Web) -> list[psutil.Process]:
    return psutil.Process(web.process.pid).children()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux lets a process choose its CPU")
def test_each_web_process_stays_on_a_cpu_of_its_own(web: Start) -> None:
    running = web(WEB_CONCURRENCY="2")

    cpus = [worker.cpu_affinity() for worker in workers_of(running)]

    assert [len(chosen) for chosen in cpus] == [1, 1]
    assert len({chosen[0] for chosen in cpus}) == min(2, len(os.sched_getaffinity(0)))


def test_it_may_run_anywhere_when_told_so(web: Start) -> None:
    (worker,) = workers_of(web(WEB_CONCURRENCY="1", WEB_PIN_CPU="false"))

    assert set(worker.cpu_affinity()) == set(psutil.Process().cpu_affinity())
