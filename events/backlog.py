"""What waits in the outbox and in RabbitMQ, for Prometheus, and the port that publisher and consumer show theirs on."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError
from prometheus_client import start_http_server
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .broker import BrokerUnavailableError, depths
from .repositories import outbox_backlog
from .topology import topology


class BacklogCollector(Collector):
    """Asks the database at each scrape, so that the figures are right whichever process is asked."""

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not ask the database

    def collect(self) -> Iterable[Metric]:
        labels = ["lane", "type", "status"]
        events = GaugeMetricFamily("booking_outbox_events", "Unsent events: waiting, or dead.", labels=labels)
        oldest = GaugeMetricFamily("booking_outbox_oldest_seconds", "Age of the oldest unsent event.", labels=labels)
        try:
            for backlog in outbox_backlog():
                values = [backlog.lane, backlog.type, backlog.status]
                events.add_metric(values, backlog.events)
                oldest.add_metric(values, backlog.oldest_seconds)
        except DatabaseError:
            return []
        return [events, oldest]


class QueueCollector(Collector):
    """Asks the broker at each scrape, over a short connection: what it buries itself is in no count of ours."""

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not ask the broker

    def collect(self) -> Iterable[Metric]:
        messages = GaugeMetricFamily(
            "booking_events_queue_messages",
            "Messages that wait in our queue (events) and in the dead one (dead).",
            labels=["queue"],
        )
        try:
            for name, depth in depths(settings.RABBITMQ_URL, topology()).items():
                messages.add_metric([name], depth)
        except BrokerUnavailableError:
            return []
        return [messages]


def serve_metrics() -> None:
    """Serve this process's metrics on EVENTS_METRICS_PORT; 0 serves none."""
    if settings.EVENTS_METRICS_PORT:
        REGISTRY.register(BacklogCollector())
        REGISTRY.register(QueueCollector())
        start_http_server(settings.EVENTS_METRICS_PORT)
