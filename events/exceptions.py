"""What can go wrong with events, inside the service."""


class BrokenMessageError(Exception):
    """A message that no repetition mends."""


class AlreadyDoneError(Exception):
    """A message took effect before; raised to leave the transaction.

    Args:
        digest: that of the body that took effect; "" where nobody noted it.
    """

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest


class OutsideTransactionError(RuntimeError):
    """An outbox row was to be written outside a transaction: an event could leave without its cause."""
