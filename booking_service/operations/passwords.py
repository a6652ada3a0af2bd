"""The password forms of the admin: they store a password and nothing else, of a user who is still there."""

from __future__ import annotations

from typing import Any

from unfold.forms import AdminPasswordChangeForm


class PasswordAlone:
    """Mixed in before a password form: Django's would write every field as it was read, and so undo a dismissal."""

    def set_password_and_save(self, user: Any, *field: str, commit: bool = True) -> Any:
        """Raises DatabaseError if the user is no longer there."""
        user = super().set_password_and_save(user, *field, commit=False)  # type: ignore[misc]  # the form's
        if commit:
            user.save(update_fields=["password"])
        return user


class StaffPasswordForm(PasswordAlone, AdminPasswordChangeForm):
    """Somebody else's password."""
