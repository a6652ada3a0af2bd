"""Tells the broker and the partners what has happened, until it is told to stop."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError

from events import deliveries, publisher
from events.backlog import serve_metrics
from events.deliveries import PartnerLane
from events.lanes import Wakeups, drain, set_on_signals
from events.models import Lane
from events.publisher import BrokerLane

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Publishes the outbox: events to RabbitMQ, notifications and refund requests to partners. Any number may run."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        wakeups = Wakeups(stopping)
        set_on_signals(stopping, *wakeups.lanes.values())
        publisher.show_counters()
        deliveries.show_counters()
        serve_metrics()
        wakeups.start()
        partners = threading.Thread(target=self.call_partners, args=(wakeups, stopping), name="partner-lane")
        partners.start()
        broker = BrokerLane()
        log.info("publisher_started")
        try:
            drain(broker.step, wakeups.lanes[Lane.BROKER], stopping, name="broker")
        finally:
            wakeups.stop()
            broker.close()
            partners.join()
        if wakeups.failed:
            raise CommandError("A thread broke; the log says why.")
        log.info("publisher_stopped")

    def call_partners(self, wakeups: Wakeups, stopping: threading.Event) -> None:
        """The partner lane's thread."""
        with wakeups.breaking(), PartnerLane() as lane:
            drain(lane.step, wakeups.lanes[Lane.PARTNER], stopping, name="partner")
