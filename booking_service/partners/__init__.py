"""The platform's other services over HTTP: the main API, payments, notifications, each behind its own breaker.

`main_api`, `payments` and `notifications` are what the rest of the code calls. `docs/partners.md` has their contracts.
"""

from booking_service.partners import main_api, notifications, payments
from booking_service.partners.client import breaker_states

__all__ = ["breaker_states", "main_api", "notifications", "payments"]
