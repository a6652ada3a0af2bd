"""The refusals of this app. Their codes are part of the API."""

from collections.abc import Sequence
from typing import Any

from booking_service.api.errors import Conflict, FieldError, InvalidInput, NotFound, Unprocessable
from bookings.lifecycle import Status


class BookingNotFound(NotFound):
    """There is no such booking, or it is none of the caller's business."""

    message = "Booking not found."


class UnknownService(InvalidInput):
    """The catalog has no service of that name."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("serviceType", "There is no such service.", "UNKNOWN_SERVICE")])


class RulesViolated(Unprocessable):
    """The visit is against rules of the catalog; `errors` lists every one. A single one lends the answer its code."""

    message = "The visit cannot be booked like this."

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(errors=errors)
        if len(errors) == 1:
            self.code = errors[0].code  # type: ignore[misc]
            self.message = errors[0].message


class SlotTaken(Conflict):
    """The service has no place left at that time in that city."""

    code = "SLOT_TAKEN"
    message = "There is no place left at that time."


class PatientOverlap(Conflict):
    """The person cared for has another visit at that time."""

    code = "PATIENT_OVERLAP"
    message = "The person cared for has another visit at that time."


class ProviderBusy(Conflict):
    """The provider has another visit at that time, travel included."""

    code = "PROVIDER_BUSY"
    message = "The provider has another visit at that time."


class InvalidTransition(Conflict):
    """The booking cannot go where it was to go: `from`, `to`, and what the caller may do with it instead."""

    code = "INVALID_TRANSITION"
    message = "The booking is not in a state that allows this."

    def __init__(self, source: str, to: Status, allowed: Sequence[Status]) -> None:
        details: dict[str, Any] = {"from": source, "to": to.value, "allowed": [status.value for status in allowed]}
        super().__init__(**details)


class TooEarly(Unprocessable):
    """The provider tells how a visit went that is still too far ahead."""

    code = "TOO_EARLY"
    message = "It is too early to say that of this visit."


class NotCancellable(InvalidTransition):
    """The booking was past cancelling when it was asked for."""

    code = "NOT_CANCELLABLE"
    message = "The booking can no longer be cancelled."


class NotEditable(Conflict):
    """Patients change a booking as long as nobody was found for it."""

    code = "NOT_EDITABLE"
    message = "The booking can no longer be changed."


class NotReschedulable(Conflict):
    """The visit is under way or over."""

    code = "NOT_RESCHEDULABLE"
    message = "The visit can no longer be moved."


class ChangedMeanwhile(Conflict):
    """Somebody else changed the booking again and again while this was tried."""

    code = "CHANGED_MEANWHILE"
    message = "The booking was changed in the meantime. Read it again first."
    retry_after = 1


class RescheduleWindow(Unprocessable):
    """Too close to the visit for a patient to move it."""

    code = "RESCHEDULE_WINDOW"
    message = "A visit can be moved up to 4 hours before it begins."


class RescheduleLimit(Unprocessable):
    """The patient has used up their moves."""

    code = "RESCHEDULE_LIMIT"
    message = "A visit can be moved three times."


class NotReviewable(Conflict):
    """Only completed visits are reviewed."""

    code = "NOT_REVIEWABLE"
    message = "Only a completed visit can be reviewed."


class AlreadyReviewed(Conflict):
    """One review for a visit."""

    code = "ALREADY_REVIEWED"
    message = "The visit has been reviewed."


class AlreadyPaid(Conflict):
    """Nothing is left to pay."""

    code = "ALREADY_PAID"
    message = "The booking is paid."


class NotPayable(Conflict):
    """The visit will not take place, or is not paid online."""

    code = "NOT_PAYABLE"
    message = "The booking cannot be paid online."


class PaymentAmountMismatch(Unprocessable):
    """The payment service reports another amount than is payable: staff have to look at it."""

    code = "PAYMENT_AMOUNT_MISMATCH"
    message = "The amount paid is not the amount payable."


class ProviderNotFit(Unprocessable):
    """Not a provider, not an active one, or not one for this category."""

    code = "PROVIDER_NOT_FIT"
    message = "That provider cannot take this visit."


class RangeTooLarge(Unprocessable):
    """Slots are shown for up to 31 days at once."""

    code = "RANGE_TOO_LARGE"
    message = "Ask for at most 31 days."
