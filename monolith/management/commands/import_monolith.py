"""`manage.py import_monolith --from <mongodb uri or folder of .jsonl exports>`"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from booking_service.api.request_id import bind_request_id
from catalog.services import services_imported
from monolith import repositories
from monolith.importing import Import
from monolith.report import Ledger, Outcome, Report
from monolith.sources import COLLECTIONS, ExportFolder, Source
from monolith.verification import checks


class Command(BaseCommand):
    """Takes patients, catalog and bookings over. Safe to run again, and to be killed at any moment."""

    help = "Import the monolith's patients, catalog and bookings from its database or from an export."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="source", required=True, help="mongodb://… or a folder of .jsonl exports")
        parser.add_argument("--since", type=moment_of, help="only what changed then or later: ISO time, or `last`")
        parser.add_argument("--dry-run", action="store_true", help="write nothing but the report")
        parser.add_argument("--report", type=Path, help="the report's file (import-report-<time>.tsv)")
        parser.add_argument("--no-progress", action="store_true", help="no progress bar")

    def handle(self, *_args: Any, **options: Any) -> None:
        bind_request_id()
        began_at = datetime.now(UTC)
        source = source_of(options["source"])
        last = repositories.catch_up_from(source.digest)
        since = last if options["since"] == "last" else options["since"]
        path = options["report"] or Path(f"import-report-{began_at:%Y%m%d-%H%M%S}.tsv")
        with path.open("w") as file:
            work = Import(source, Report(file), since=since, dry_run=options["dry_run"], now=began_at)
            for name in COLLECTIONS:
                self._collection(work, name, quiet=options["no_progress"])
        self._say_what_was_done(work, path)
        if not options["dry_run"]:
            self._finish(work, began_at, last)

    def _collection(self, work: Import, name: str, *, quiet: bool) -> None:
        total = None if work.since else work.source.count(name)
        with tqdm(total=total, desc=f"{name:16}", unit=" documents", file=sys.stderr, disable=quiet or None) as bar:
            work.advance = bar.update
            work.collection(name)

    def _say_what_was_done(self, work: Import, path: Path) -> None:
        for ledger in work.ledgers.values():
            self.stdout.write(summary(ledger))
        self.stdout.write(
            f"{work.report.lines} lines in {path}" + (" (dry run: nothing written)" if work.dry_run else "")
        )

    def _finish(self, work: Import, began_at: datetime, last: datetime | None) -> None:
        """Bring up to date what follows from what was taken, by this run or one that was killed; verify what was."""
        repositories.counters_recompute()
        repositories.service_counters_set(work.terms.names())
        services_imported()
        results = [check for ledger in work.ledgers.values() for check in checks(ledger)]
        for check in results:
            verdict = "verified" if check.holds else f"DIFFERS: {check.found} here"
            self.stdout.write(f"{check.what}: {check.expected}, {verdict}")
        verified = all(check.holds for check in results)
        if work.leaves_nothing_unread(last):
            repositories.run_add(work.source.digest, began_at, datetime.now(UTC), verified=verified)
        if not verified:
            raise CommandError("What is here differs from what was read: see the lines that say DIFFERS.")


def moment_of(text: str) -> datetime | str:
    """`last`, or an ISO moment; without an offset it is UTC."""
    if text == "last":
        return text
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither `last` nor a moment like 2026-11-22T10:00:00Z") from None


def source_of(text: str) -> Source:
    """The database or the folder that `text` names. Raises CommandError when there is nothing to read."""
    if text.startswith(("mongodb://", "mongodb+srv://")):
        database = repositories.MonolithDatabase(text)
        if database.identity() == repositories.target_identity():
            raise CommandError("--from names this service's own database: an import reads one and fills another.")
        return database
    folder = Path(text)
    if not any((folder / f"{name}.jsonl").is_file() for name in COLLECTIONS):
        raise CommandError(f"{text} holds none of {', '.join(f'{name}.jsonl' for name in COLLECTIONS)}.")
    return ExportFolder(folder)


def summary(ledger: Ledger) -> str:
    """One collection in one line."""
    counts = ", ".join(f"{ledger.counts[outcome]} {outcome}" for outcome in Outcome if ledger.counts[outcome])
    reasons = ", ".join(f"{reason} {number}" for reason, number in ledger.reasons.most_common())
    return f"{ledger.collection}: {ledger.read} read: {counts or 'nothing'}" + (f" ({reasons})" if reasons else "")
