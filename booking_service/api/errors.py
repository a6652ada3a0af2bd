"""The refusals this service can answer with. No Django here: services raise them, one place turns them into HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one input; ``field`` is its dotted path, such as ``serviceLocation.address.pincode``."""

    field: str
    message: str
    code: str


class ServiceError(Exception):
    """The root of every refusal: an HTTP status, a machine-readable code and a sentence for people.

    ``errors`` lists what is wrong field by field. ``retry_after`` (whole seconds) becomes the header of that name.
    Other keyword arguments are merged into the body, for example ``from``/``to``/``allowed`` of a forbidden transition.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    message: str = "Something went wrong on our side."
    headers: Mapping[str, str] = MappingProxyType({})
    retry_after: int | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        **details: Any,
    ) -> None:
        if message is not None:
            self.message = message
        if retry_after is not None:
            self.retry_after = retry_after
        self.errors = tuple(errors)
        self.details = details
        super().__init__(self.message)


class InvalidInput(ServiceError):
    """Malformed, or of the wrong shape: the caller has to change the request."""

    status = 400
    code = "INVALID_INPUT"
    message = "The request is not valid."


class NotAuthenticated(ServiceError):
    """No token, or one that does not hold."""

    status = 401
    code = "NOT_AUTHENTICATED"
    message = "Sign in to continue."
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""

    status = 403
    code = "FORBIDDEN"
    message = "You may not do this."


class NotFound(ServiceError):
    """Absent, or not the caller's: a stranger cannot tell which."""

    status = 404
    code = "NOT_FOUND"
    message = "Not found."


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not; ``allowed`` are the methods that do."""

    status = 405
    code = "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        super().__init__()
        self.headers = {"Allow": ", ".join(allowed)}


class Conflict(ServiceError):
    """The state of things, or another request, stands in the way."""

    status = 409
    code = "CONFLICT"
    message = "This conflicts with the present state."


class PreconditionFailed(ServiceError):
    """``If-Match`` named a version that is no longer the present one."""

    status = 412
    code = "STALE"
    message = "This was changed in the meantime. Read it again first."


class PayloadTooLarge(ServiceError):
    """The body is over the limit."""

    status = 413
    code = "BODY_TOO_LARGE"
    message = "The request body is too large."


class UnsupportedMediaType(ServiceError):
    """The body is not JSON."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "Send the body as application/json."


class Unprocessable(ServiceError):
    """Well-formed, but against a business rule."""

    status = 422
    code = "RULE_VIOLATED"
    message = "A rule of the service does not allow this."


class TooManyRequests(ServiceError):
    """The caller has to slow down; ``retry_after`` says for how long."""

    status = 429
    code = "TOO_MANY_REQUESTS"
    message = "Too many requests. Try again later."
    retry_after = 60


class ServiceUnavailable(ServiceError):
    """Something we need is down; trying later makes sense."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    message = "The service is unavailable for a moment. Try again soon."
    retry_after = 30
