"""Log files of several processes: each has files of its own, for two that rotate one file lose each other's lines."""

from __future__ import annotations

import fcntl
from itertools import count
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any


class ProcessFileHandler(RotatingFileHandler):
    """Rotates `service.0.log`, `service.1.log`, …: the first that no living process has.

    The number is taken by a lock, which ends with its process however that ends: a renewed process goes on where the
    one before it stopped, and there are never more files than there were processes at once.
    """

    def __init__(self, filename: str, **options: Any) -> None:
        self._claim, own = claim(Path(filename))
        super().__init__(own, **options)

    def close(self) -> None:
        super().close()
        self._claim.close()


def claim(path: Path) -> tuple[IO[str], Path]:
    """The lock, which holds as long as it stays open, and this process's own file."""
    for number in count():
        lock = path.with_name(f".{path.stem}.{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return lock, path.with_name(f"{path.stem}.{number}{path.suffix}")
    raise AssertionError("numbers do not end")
