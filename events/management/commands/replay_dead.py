"""Puts dead messages back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.broker import BrokerUnavailableError
from events.replay import DeadLetter, Filter, replay

EVERYTHING = 1_000_000


class Command(BaseCommand):
    help = "Puts messages of the dead queue back into the queue, to be handled as if for the first time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--type", help="only events of this type, such as payment.completed")
        parser.add_argument("--message-id", help="only the message with this id")
        parser.add_argument("--reason", help="only messages whose reason contains this text")
        parser.add_argument("--limit", type=int, default=EVERYTHING, help="put back no more than this many, the oldest")
        parser.add_argument("--dry-run", action="store_true", help="only show what would be put back")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = Filter(options["type"], options["message_id"], options["reason"])
        dry_run = options["dry_run"]
        try:
            letters = replay(wanted, dry_run=dry_run, limit=options["limit"])
        except BrokerUnavailableError as error:
            raise CommandError(f"RabbitMQ cannot be reached: {error}") from error
        for letter in letters:
            self.stdout.write(describe(letter))
        verb = "would be put back" if dry_run else "put back"
        self.stdout.write(self.style.SUCCESS(f"{len(letters)} {verb}"))


def describe(letter: DeadLetter) -> str:
    """One line; what a sender wrote may hold a terminal's commands."""
    line = f"{letter.message_id}  {letter.type}  died {letter.died_at or '?'}  after {letter.attempts}: {letter.reason}"
    return line if line.isprintable() else repr(line)
