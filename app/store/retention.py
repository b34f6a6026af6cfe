"""Forgetting: entries leave the journal by age and by size, never before their deliveries have ended."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

import msgspec

from app.core.identity import first_sequence_at
from app.store.deliveries import milliseconds

_STEP: Final = 500
_PAGES: Final = 4096
"""Entries that one transaction forgets, and pages that it gives back: too few to be felt by the commits between."""


class Retention(msgspec.Struct, frozen=True):
    """What is kept: entries younger than `age`, and a file of at most `size_bytes`; None keeps everything."""

    age: timedelta | None
    size_bytes: int | None


def forget(connection: sqlite3.Connection, retention: Retention, now: datetime) -> int:
    """Forget one step's worth of the oldest entries that retention allows; return their number, 0 when done."""
    conditions = [
        "seq < ?" if retention.age is not None else "0",
        "1" if _is_too_large(connection, retention) else "0",
    ]
    parameters = [first_sequence_at(milliseconds(now - retention.age))] if retention.age is not None else []
    cursor = connection.execute(
        "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries AS e"
        f" WHERE ({' OR '.join(conditions)})"
        " AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.seq = e.seq AND d.state = 'pending')"
        " ORDER BY seq LIMIT ?)",
        (*parameters, _STEP),
    )
    if cursor.rowcount:
        _shrink(connection)
    return cursor.rowcount


def _shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back to the file system."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, _PAGES)):  # one by one: the sqlite3 module steps a PRAGMA without columns only once
        connection.execute("PRAGMA incremental_vacuum")


def _is_too_large(connection: sqlite3.Connection, retention: Retention) -> bool:
    if retention.size_bytes is None:
        return False
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return bool((pages - free) * size > retention.size_bytes)
