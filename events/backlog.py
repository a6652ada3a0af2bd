"""The outbox's figures for Prometheus, and the port that the publisher and the consumer show theirs on."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError
from prometheus_client import start_http_server
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .repositories import outbox_backlog


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


def serve_metrics() -> None:
    """Serve this process's metrics on EVENTS_METRICS_PORT; 0 serves none."""
    if settings.EVENTS_METRICS_PORT:
        REGISTRY.register(BacklogCollector())
        start_http_server(settings.EVENTS_METRICS_PORT)
