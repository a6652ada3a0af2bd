"""What the stand-in partners remember, in a file: a partner that is killed and comes back still knows its orders."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, status INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, ends TEXT NOT NULL, ends_at REAL NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS due_events (id TEXT PRIMARY KEY, due_at REAL NOT NULL, event TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Event:
    """A message that a partner will publish. `id` becomes its `message_id`."""

    id: str
    exchange: str
    name: str
    data: dict[str, Any]
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """A payment order, and what becomes of it when (seconds since the epoch)."""

    id: str
    ends: str
    ends_at: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Doing:
    """All that one call to a partner causes; it is remembered at once or not at all."""

    status: int
    data: dict[str, Any]
    events: Sequence[Event] = ()
    due_in_seconds: float = 0.0
    order: Order | None = None


class Memory:
    """A small SQLite file, shared by the threads of this process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(TABLES)

    def answer_to(self, key: str) -> tuple[int, dict[str, Any]] | None:
        """What was answered to an idempotency key; None when it is new."""
        with self._lock:
            row = self._database.execute("SELECT status, data FROM answers WHERE key = ?", (key,)).fetchone()
        return (row[0], json.loads(row[1])) if row else None

    def do_once(self, key: str, doing: Doing) -> tuple[int, dict[str, Any]]:
        """Remembers what a call causes, unless the key did so before; the answer that counts."""
        with self._lock, self._database as database:
            answer = (key, doing.status, json.dumps(doing.data))
            if database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", answer).rowcount:
                self._remember(database, doing)
            row = database.execute("SELECT status, data FROM answers WHERE key = ?", (key,)).fetchone()
        return row[0], json.loads(row[1])

    def _remember(self, database: sqlite3.Connection, doing: Doing) -> None:
        if order := doing.order:
            row = (order.id, order.ends, order.ends_at, json.dumps(order.data))
            database.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", row)
        due_at = time.time() + doing.due_in_seconds
        for event in doing.events:
            content = [event.exchange, event.name, event.data, event.correlation_id]
            database.execute("INSERT INTO due_events VALUES (?, ?, ?)", (event.id, due_at, json.dumps(content)))

    def order(self, order_id: str) -> Order | None:
        """The order of that id."""
        with self._lock:
            row = self._database.execute(
                "SELECT id, ends, ends_at, data FROM orders WHERE id = ?", (order_id,)
            ).fetchone()
        return Order(row[0], row[1], row[2], json.loads(row[3])) if row else None

    def due_events(self) -> list[Event]:
        """The events whose time has come, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, event FROM due_events WHERE due_at <= ? ORDER BY due_at LIMIT 100", (time.time(),)
            ).fetchall()
        return [Event(event_id, *json.loads(content)) for event_id, content in rows]

    def forget_event(self, event_id: str) -> None:
        """It was published."""
        with self._lock, self._database as database:
            database.execute("DELETE FROM due_events WHERE id = ?", (event_id,))

    def postpone_event(self, event_id: str, seconds: float) -> None:
        """Nobody is there to receive it; try again later."""
        with self._lock, self._database as database:
            database.execute("UPDATE due_events SET due_at = ? WHERE id = ?", (time.time() + seconds, event_id))
