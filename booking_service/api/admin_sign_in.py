"""The admin's door: a few wrong passwords, and it stays shut for a while."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from booking_service.api.addresses import client_site
from booking_service.api.attempts import AttemptLimits, TooManyAttempts

LIMITS = AttemptLimits("admin")


class LimitedSignInForm(AuthenticationForm):
    """Counts failures by login name and by address; while either has too many, not even the right password helps."""

    def clean(self) -> dict[str, Any]:
        login = str(self.cleaned_data.get("username", "")).casefold()
        address = client_site(self.request) if self.request is not None else "unknown"
        try:
            with LIMITS.attempt(account=login, address=address):
                return super().clean()
        except TooManyAttempts as refusal:
            raise ValidationError(refusal.message, code=refusal.code) from None
