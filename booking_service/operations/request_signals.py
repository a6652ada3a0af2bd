"""What Django does around every request for databases that hold a connection each, and that does nothing here.

pymongo and redis keep pools of their own: closing a "connection" of theirs is a no-op, and queries are remembered only
with DEBUG, which is never on. Looking for something to close took a sixth of an empty request.
"""

from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries


def disconnect_idle_handlers() -> None:
    """Spare every request the handlers that find nothing to do."""
    request_started.disconnect(reset_queries)
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    request_finished.disconnect(close_caches)
