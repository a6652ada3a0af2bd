"""Reminders, each once for a time, and what became of what patients were to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId

from booking_service.api.errors import Unprocessable
from booking_service.djongo.errors import is_unreachable
from booking_service.djongo.transaction import run
from bookings import repositories, signals
from bookings.changing import moment, settable
from bookings.exceptions import BookingNotFound
from bookings.lifecycle import FREEING, MOVABLE
from bookings.signals import NotificationKind

log = structlog.get_logger(__name__)

NOTICE = {
    NotificationKind.REMINDER_24H: timedelta(hours=24),
    NotificationKind.REMINDER_2H: timedelta(hours=2),
}
# From here on the next reminder says it better.
TOO_LATE = {NotificationKind.REMINDER_24H: timedelta(hours=2), NotificationKind.REMINDER_2H: timedelta(0)}
BATCH = 200
CHANNELS = ("EMAIL", "SMS", "PUSH", "WHATSAPP")


class UnknownNotification(Unprocessable):
    """A report about a message that this service does not know."""

    code = "UNKNOWN_NOTIFICATION"
    message = "There is no such kind of notification, or no such channel."


@dataclass(slots=True)
class Reminded:
    """How many reminders of a kind were sent, and which bookings resisted."""

    sent: int = 0
    failed: list[ObjectId] = field(default_factory=list)

    def remind(self, booking: Mapping[str, Any], kind: NotificationKind, now: datetime) -> bool:
        """Remind of one booking; False when somebody else is at it. One that resists keeps no others waiting."""
        try:
            state = run(_remind, booking, kind, now)
        except Exception as error:
            if is_unreachable(error):
                raise
            log.error("reminder_failed", booking_id=str(booking["_id"]), error=type(error).__name__)
            self.failed.append(booking["_id"])
            return True
        self.sent += state == "SENT"
        return state is not None


def reminders_send() -> dict[NotificationKind, Reminded]:
    """Send every reminder that is due now; what came of each kind. Safe to run twice, and in two pods at once."""
    return {kind: _reminders_of(kind) for kind in NOTICE}


def _reminders_of(kind: NotificationKind) -> Reminded:
    reminded = Reminded()
    while True:
        now = moment()
        due = repositories.bookings_to_remind(
            MOVABLE, kind, after=now, until=now + NOTICE[kind], limit=BATCH, besides=reminded.failed
        )
        settled = [reminded.remind(booking, kind, now) for booking in due]
        # A batch in which nothing could be noted is somebody else's: they are at it.
        if len(due) < BATCH or not any(settled):
            return reminded


def _remind(booking: Mapping[str, Any], kind: NotificationKind, now: datetime) -> str | None:
    """Note the reminder and send it, if the booking is still there for that time and nobody else did."""
    starts_at = booking["startsAt"]
    is_needed = _fixed_at(booking) <= starts_at - NOTICE[kind] and now < starts_at - TOO_LATE[kind]
    state = "SENT" if is_needed else "NOT_NEEDED"
    unchanged = {"status": booking["status"], "startsAt": starts_at, f"reminders.{kind}": None}
    note = settable(booking, {f"reminders.{kind}": {"state": state, "at": now}})
    if not repositories.booking_note(booking["_id"], unchanged, note):
        return None
    if state == "SENT":
        signals.booking_notification_requested.send(
            sender=None, booking=booking, version=booking.get("version", 0), notification=kind
        )
    return state


def _fixed_at(booking: Mapping[str, Any]) -> datetime:
    """When the visit got its time. Who books two hours ahead needs no reminder of a day ahead."""
    moves = [entry["at"] for entry in booking.get("timeline") or () if entry.get("change") == "RESCHEDULED"]
    fixed_at = moves[-1] if moves else booking.get("createdAt")
    return fixed_at if isinstance(fixed_at, datetime) else booking["_id"].generation_time


def notification_is_current(*, booking_id: ObjectId, kind: str, starts_at: datetime | None) -> bool:
    """Whether a message that waited to be delivered is still true, of a visit at `starts_at` (None: nobody can say).

    A cancellation is final. The others are overtaken when the visit is called off or moved, a reminder also when the
    visit has begun, an assignment when the provider declined.
    """
    if kind == NotificationKind.CANCELLATION:
        return True
    booking = repositories.booking_load(booking_id, {})
    if booking is None or booking.get("startsAt") != starts_at:
        return False
    if kind in NOTICE:
        return booking["status"] in MOVABLE and starts_at is not None and starts_at > moment()
    if kind == NotificationKind.ASSIGNMENT and not booking.get("serviceProvider"):
        return False
    return booking["status"] not in FREEING


def notification_recorded(
    *, booking_id: ObjectId, kind: str, channel: str, delivered: bool, sent_at: datetime | None = None
) -> None:
    """Note what became of a notification: `notifications.<KIND>.<CHANNEL>` is SENT or FAILED. SENT stays.

    Raises:
        UnknownNotification: no kind or channel of ours.
        BookingNotFound
    """
    kind, channel = kind.upper(), channel.upper()
    if kind not in NotificationKind.__members__ or channel not in CHANNELS:
        raise UnknownNotification
    path = f"notifications.{kind}.{channel}"
    note = {"status": "SENT" if delivered else "FAILED", "at": sent_at or moment()}
    noted = repositories.booking_note(booking_id, {f"{path}.status": {"$ne": "SENT"}}, {path: note})
    if not noted and repositories.booking_status(booking_id) is None:
        raise BookingNotFound
