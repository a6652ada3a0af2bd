"""The admin's door: a few wrong passwords, and it stays shut for a while. So for who is inside and changes theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from booking_service.api.addresses import client_site
from booking_service.api.attempts import AttemptLimits, TooManyAttempts
from booking_service.api.bulkhead import PASSWORD_HASHES, Busy
from booking_service.operations.passwords import PasswordAlone

LIMITS = AttemptLimits("admin")


@contextmanager
def _attempt(login: str, request: HttpRequest | None) -> Iterator[None]:
    address = client_site(request) if request is not None else "unknown"
    try:
        with PASSWORD_HASHES.place(), LIMITS.attempt(account=login.casefold(), address=address):
            yield
    except (TooManyAttempts, Busy) as refusal:
        raise ValidationError(refusal.message, code=refusal.code) from None


class LimitedSignInForm(AuthenticationForm):
    """Counts failures by login name and by address; while either has too many, not even the right password helps."""

    def clean(self) -> dict[str, Any]:
        with _attempt(str(self.cleaned_data.get("username", "")), self.request):
            return super().clean()


class LimitedPasswordChangeForm(PasswordAlone, AdminOwnPasswordChangeForm):
    """Counts a wrong old password with the failed sign-ins of the same login name and address."""

    def __init__(self, user: Any, *args: Any, request: HttpRequest, **options: Any) -> None:
        super().__init__(user, *args, **options)
        self.request = request

    def clean_old_password(self) -> str:
        with _attempt(self.user.get_username(), self.request):
            return super().clean_old_password()


class _PasswordChange(PasswordChangeView):
    form_class = LimitedPasswordChangeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}


def password_change(request: HttpRequest) -> HttpResponseBase:
    """In place of the admin's own page, which lets the old password be guessed without end."""
    success = reverse("admin:password_change_done")
    return _PasswordChange.as_view(success_url=success, extra_context=admin.site.each_context(request))(request)
