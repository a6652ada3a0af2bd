"""The events' part of the admin's first page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from booking_service.operations import dashboard
from booking_service.operations.dashboard import Chart, Figure, Numbers, Panel
from events import depth, repositories
from events.models import Status

LATE_SECONDS = 60  # a publisher that runs is never this far behind


def numbers() -> Numbers:
    """What has not left the outbox: waiting, and given up on; and what others sent that is dead in RabbitMQ."""
    backlog = repositories.outbox_backlog()
    waiting, dead = Counter[str](), Counter[str]()
    for group in backlog:
        (dead if group.status == Status.DEAD else waiting)[group.type] += group.events
    oldest = max((group.oldest_seconds for group in backlog if group.status != Status.DEAD), default=0.0)
    figures = [*_figures(waiting.total(), dead.total(), oldest), *_dead_letters(depth.noted())]
    return Numbers(figures=figures, charts=_charts(waiting, dead))


def _figures(waiting: int, dead: int, oldest: float) -> list[Figure]:
    late = dashboard.WARNING if oldest > LATE_SECONDS else dashboard.NORMAL
    return [
        Figure("Waiting", f"{waiting:,}", "not yet published or delivered", late),
        Figure("Oldest", _age(oldest), "time it has been waiting", late),
        Figure(
            "Dead", f"{dead:,}", "given up on; somebody has to look", dashboard.DANGER if dead else dashboard.NORMAL
        ),
    ]


def _dead_letters(depths: Mapping[str, int]) -> list[Figure]:
    """Messages of other services that failed for good; nothing when no consumer has told lately."""
    if "dead" not in depths:
        return []
    tone = dashboard.DANGER if depths["dead"] else dashboard.NORMAL
    return [Figure("Dead letters", f"{depths['dead']:,}", "messages in RabbitMQ that failed; see replay_dead", tone)]


def _charts(waiting: Counter[str], dead: Counter[str]) -> list[Chart]:
    named = (("Waiting by type", waiting), ("Dead by type", dead))
    return [
        Chart(title, sorted(counts), [counts[t] for t in sorted(counts)], lying=True)
        for title, counts in named
        if counts
    ]


def _age(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


dashboard.register(Panel("Events", order=2, permission="events.view_outboxevent", build=numbers))
