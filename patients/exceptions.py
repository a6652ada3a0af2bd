"""What this app refuses, and with which code."""

from booking_service.api import errors


class EmailTaken(errors.Conflict):
    """Another account has this email address, in whatever case."""

    code = "EMAIL_TAKEN"
    message = "An account with this email address exists already."


class PhoneTaken(errors.Conflict):
    """Another account has this phone number."""

    code = "PHONE_TAKEN"
    message = "An account with this phone number exists already."


class ReferralCodeTaken(errors.Conflict):
    """A new referral code met an old one; registering draws another."""

    code = "REFERRAL_CODE_TAKEN"


class InvalidCredentials(errors.NotAuthenticated):
    """Unknown email or wrong password: never says which."""

    code = "INVALID_CREDENTIALS"
    message = "Email or password is wrong."


class AccountDeactivated(errors.PermissionDenied):
    """The password was right, the account is closed."""

    code = "ACCOUNT_DEACTIVATED"
    message = "This account is deactivated."


class InvalidRefreshToken(errors.NotAuthenticated):
    """Unknown, expired, used or revoked."""

    code = "INVALID_REFRESH_TOKEN"
    message = "The refresh token is not valid. Sign in again."


class PatientNotFound(errors.NotFound):
    """No such patient, or not the caller's to see."""

    message = "Patient not found."


class AddressNotFound(errors.NotFound):
    """The caller has no such address."""

    message = "Address not found."


class TooManyAddresses(errors.Unprocessable):
    """A patient keeps a handful of addresses."""

    code = "TOO_MANY_ADDRESSES"
    message = "No more addresses can be saved. Delete one first."


class DefaultAddressRequired(errors.Unprocessable):
    """The default stops being it only when another becomes it."""

    code = "DEFAULT_ADDRESS_REQUIRED"
    message = "One address is always the default. Make another one the default instead."
