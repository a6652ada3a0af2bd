"""How long MongoDB takes, told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable

from pymongo import monitoring

# Of every command: its name, whether it succeeded, seconds.
Observer = Callable[[str, bool, float], None]
_observers: list[Observer] = []


def command_took(name: str, succeeded: bool, seconds: float) -> None:
    """For commands of which the driver tells its listeners nothing."""
    for observe in _observers:
        observe(name, succeeded, seconds)


class _CommandTimes(monitoring.CommandListener):
    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Only ends have a duration."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._observe(event.command_name, True, event.duration_micros / 1_000_000)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._observe(event.command_name, False, event.duration_micros / 1_000_000)


def observe_commands(observe: Observer) -> None:
    """Tell ``observe`` of every command of every client that is made from now on."""
    _observers.append(observe)
    monitoring.register(_CommandTimes(observe))
