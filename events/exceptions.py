"""What can go wrong with events, inside the service."""


class OutsideTransactionError(RuntimeError):
    """An outbox row was to be written outside a transaction: an event could leave without its cause."""
