"""What can come of calling a partner. No Django here.

`PartnerUnavailable`: no usable answer; trying later makes sense. `PartnerRefused`: it answered, and said no; trying the
same again does not. Neither repeats what the partner said: its texts may hold what must not reach a log or a client.
"""

from booking_service.api.errors import NotFound, ServiceError, ServiceUnavailable


class PartnerUnavailable(ServiceUnavailable):
    """A partner is down, hangs, talks nonsense, or its breaker is open; `retry_after` says when to try again."""

    code = "PARTNER_DOWN"
    message = "A service we depend on is unavailable for a moment. Try again soon."


class ProviderDirectoryDown(PartnerUnavailable):
    """The main API cannot be asked who a provider is."""

    code = "PROVIDER_DIRECTORY_DOWN"
    message = "The directory of providers is unavailable for a moment. Try again soon."


class PaymentServiceDown(PartnerUnavailable):
    """The payment service cannot be reached."""

    code = "PAYMENT_SERVICE_DOWN"
    message = "The payment service is unavailable for a moment. Try again soon."


class NotificationServiceDown(PartnerUnavailable):
    """The notification service cannot be reached."""

    code = "NOTIFICATION_SERVICE_DOWN"
    message = "The notification service is unavailable for a moment. Try again soon."


class PartnerRefused(ServiceError):
    """The partner understood the call and declined it: `partner_status` is its 4xx, `partner_code` its code."""

    status = 502
    code = "PARTNER_REFUSED"
    message = "A service we depend on did not accept the request."

    def __init__(self, partner: str, partner_status: int, partner_code: str = "") -> None:
        self.partner = partner
        self.partner_status = partner_status
        self.partner_code = partner_code
        super().__init__()


class ProviderNotFound(NotFound):
    """The main API knows no such nurse, physiotherapist or admin."""

    code = "PROVIDER_NOT_FOUND"
    message = "There is no such provider."


class PartnerFault(Exception):
    """One attempt failed through the partner's own doing. Inside this package only: the breaker counts it.

    `reason` is one of ours (`connect`, `timeout`, `reset`, `status`, `answer`, `busy`), never the partner's words.
    """

    def __init__(self, reason: str, *, retryable: bool = False, retry_after: int | None = None) -> None:
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after
        super().__init__(reason)
