"""What can go wrong with events, inside the service."""


class BrokenMessageError(Exception):
    """A message that no repetition mends."""


class OutsideTransactionError(RuntimeError):
    """An outbox row was to be written outside a transaction: an event could leave without its cause."""
