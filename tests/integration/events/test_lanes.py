"""events.lanes and events.backlog: loops that stop, back off and wake; figures that are right."""

import threading
from time import monotonic, sleep

import pytest
from django.db import OperationalError
from prometheus_client import CollectorRegistry, generate_latest

from events import backlog, lanes
from events.broker import BrokerUnavailableError
from events.lanes import Wakeups, drain
from events.models import Lane
from tests.integration.events.rabbit import eventually


class Scripted:
    """A lane whose steps answer as told; the last answer stops it."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.woken, self.stopping = threading.Event(), threading.Event()

    def step(self):
        answer = self.answers.pop(0)
        if not self.answers:
            self.stopping.set()
            self.woken.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self):
        began = monotonic()
        drain(self.step, self.woken, self.stopping, name="tested")
        return monotonic() - began


def test_it_goes_on_at_once_while_there_is_work():
    assert Scripted(5, 3, 1, 0).run() < 0.5


def test_without_work_it_sleeps_until_the_sweep(settings):
    settings.EVENTS_SWEEP_SECONDS = 0.3
    assert 0.3 <= Scripted(0, 0).run() < 3


def test_a_wake_up_ends_the_sleep(settings):
    settings.EVENTS_SWEEP_SECONDS = 60
    lane = Scripted(0, 0)
    threading.Timer(0.2, lane.woken.set).start()
    assert lane.run() < 5


def test_a_wake_up_while_it_works_is_not_missed(settings):
    settings.EVENTS_SWEEP_SECONDS = 60
    lane = Scripted(0, 0)

    def woken_meanwhile():
        found = lane.step()
        lane.woken.set()
        return found

    began = monotonic()
    drain(woken_meanwhile, lane.woken, lane.stopping, name="tested")
    assert monotonic() - began < 5


@pytest.mark.parametrize("error", [BrokerUnavailableError("gone"), OperationalError("gone")])
def test_it_backs_off_while_a_server_is_away_and_comes_back(error, monkeypatch):
    pauses = []

    def no_pause(failures, **_):
        pauses.append(failures)
        return 0

    monkeypatch.setattr(lanes, "backoff_seconds", no_pause)
    Scripted(error, error, 1, error, 0).run()
    assert pauses == [1, 2, 1]


def test_what_it_does_not_know_ends_it():
    with pytest.raises(ZeroDivisionError):
        Scripted(ZeroDivisionError(), 0).run()


@pytest.fixture
def wakeups():
    stopping = threading.Event()
    made = Wakeups(stopping)
    yield made
    stopping.set()


def test_it_wakes_the_lane_of_a_committed_row(wakeups, waiting):
    wakeups.start()
    eventually(wakeups.lanes[Lane.PARTNER].is_set)  # the stream is open
    sleep(0.1)
    for woken in wakeups.lanes.values():
        woken.clear()
    waiting(1)
    eventually(wakeups.lanes[Lane.BROKER].is_set, seconds=3)
    assert not wakeups.lanes[Lane.PARTNER].is_set()


def test_a_broken_stream_is_opened_again_and_wakes_both_lanes(wakeups, monkeypatch):
    opened = []

    def changes(*, wait):
        opened.append(wait)
        if len(opened) == 1:
            raise OperationalError("gone")
        yield None
        wakeups._stopping.wait(5)

    monkeypatch.setattr(lanes, "outbox_changes", changes)
    wakeups.start()
    eventually(lambda: all(woken.is_set() for woken in wakeups.lanes.values()))
    assert len(opened) == 2


def test_the_backlog_is_counted_at_each_scrape(waiting):
    registry = CollectorRegistry()
    registry.register(backlog.BacklogCollector())
    assert b"booking_outbox_events{" not in generate_latest(registry)
    waiting(2)
    text = generate_latest(registry).decode()
    assert 'booking_outbox_events{lane="BROKER",status="WAITING",type="booking.created"} 2.0' in text
    assert 'booking_outbox_oldest_seconds{lane="BROKER"' in text


def test_without_a_database_there_is_no_backlog_and_no_error(monkeypatch):
    def gone():
        raise OperationalError

    monkeypatch.setattr(backlog, "outbox_backlog", gone)
    registry = CollectorRegistry()
    registry.register(backlog.BacklogCollector())
    assert generate_latest(registry) == b""
