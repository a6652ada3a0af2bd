"""Does what other services' events say, until it is told to stop."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError

from events import consumer
from events.backlog import serve_metrics
from events.lanes import consume_until, set_on_signals

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Consumes payment and notification events from RabbitMQ. Any number may run."

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        set_on_signals(stopping)
        consumer.show_counters()
        serve_metrics()
        log.info("consumer_started")
        try:
            consume_until(stopping)
        except consumer.WorkerBrokeError as error:
            raise CommandError("A thread broke; the log says why.") from error
        log.info("consumer_stopped")
