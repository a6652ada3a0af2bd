"""What the rest of the service may know about a booking's life.

Every signal is sent inside the MongoDB transaction that changes the booking, after the write, by this app's services
and nobody else. `booking` is the raw document after the change (camelCase, `_id`, `patient`, `status`, `startsAt` ...),
`version` its version after the change (int; it grows by one with every change of the document).

`notification` is what the notification service is to tell the patient because of it (a `NotificationKind`), or None.
A receiver that raises aborts the change. None of them is sent for a change that was refused, for a repetition without
effect (a stored answer, a payment delivered twice), or for imported documents.
"""

from enum import StrEnum

from django.dispatch import Signal


class NotificationKind(StrEnum):
    """What a patient is told about a booking."""

    CONFIRMATION = "CONFIRMATION"
    ASSIGNMENT = "ASSIGNMENT"
    RESCHEDULE = "RESCHEDULE"
    CANCELLATION = "CANCELLATION"
    REMINDER_24H = "REMINDER_24H"
    REMINDER_2H = "REMINDER_2H"


# A patient booked a visit. booking, version, notification=CONFIRMATION.
booking_created = Signal()

# A visit will not take place: the booking became CANCELLED, or FAILED when nobody was found in time
# (`booking["status"]` says which). Not sent for a no-show. booking, version, cancelled_by (PATIENT, PROVIDER, ADMIN or
# SYSTEM), reason (a code of ours, never what a person wrote), refund_amount (Decimal), notification=CANCELLATION.
booking_cancelled = Signal()

# The visit has another time; the status is unchanged. Also sent when PUT changes the time. booking, version,
# previous_starts_at and starts_at (datetime, UTC), reason (a code of ours), amount (Decimal, payable now),
# notification=RESCHEDULE.
booking_rescheduled = Signal()

# A provider got the visit: booking, version, provider_id (ObjectId), notification=ASSIGNMENT. Not sent when a provider
# declines it.
booking_assigned = Signal()

# The assigned provider (or an admin) confirmed the visit. booking, version, notification=None.
booking_confirmed = Signal()

# The visit took place. Nothing of the service report may leave with it. booking, version, notification=None.
booking_completed = Signal()

# One side was not there. booking, version, absent_party ("PATIENT" or "PROVIDER"), notification=None.
booking_no_show = Signal()

# Money is to go back to the patient: sent exactly once for a booking, right after the change that caused it (a
# cancellation, a failure, a provider's no-show, a payment that came too late). The payment service is to be asked.
# booking, version, amount (Decimal), reason (str), notification=None.
booking_refund_requested = Signal()

# A reminder is due; nothing of the booking changed but the note that it was sent. Confirmation, assignment,
# reschedule and cancellation do not come this way: they are the `notification` of the signal that causes them.
# booking, version, notification=REMINDER_24H or REMINDER_2H.
booking_notification_requested = Signal()
