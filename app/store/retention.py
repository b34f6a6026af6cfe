"""Forgetting: entries leave the journal by age and by size, never before their deliveries have ended."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

import msgspec

from app.core.identity import first_sequence_at
from app.core.moments import milliseconds

_STEP: Final = 500
_PAGES: Final = 4096
"""Entries that one transaction forgets, and pages that it gives back: too few to be felt by the commits between."""

_FIRST_PENDING: Final = "SELECT min(seq) FROM deliveries INDEXED BY deliveries_pending WHERE state = 'pending'"
_ABOVE_ALL: Final = (1 << 63) - 1


class Retention(msgspec.Struct, frozen=True):
    """What is kept: entries younger than `age`, and a file of at most `size_bytes`; None keeps everything."""

    age: timedelta | None
    size_bytes: int | None


def forget(connection: sqlite3.Connection, retention: Retention, now: datetime) -> int:
    """Forget one step's worth of the oldest entries that retention allows; return their number, 0 when done.

    For size only those go that are older than every entry with a pending delivery: what is kept has no hole, and a
    sink that is down costs no newer entry. A journal that is still too large then needs somebody: see `is_over`.
    """
    where, parameters = _forgettable(connection, retention, now)
    cursor = connection.execute(
        f"DELETE FROM entries WHERE seq IN (SELECT seq FROM entries AS e WHERE ({where})"
        " AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.seq = e.seq AND d.state = 'pending')"
        " ORDER BY seq LIMIT ?)",
        (*parameters, _STEP),
    )
    if cursor.rowcount:
        _shrink(connection)
    return cursor.rowcount


def _forgettable(connection: sqlite3.Connection, retention: Retention, now: datetime) -> tuple[str, list[int]]:
    """Return the condition for the entries that are too old, or too many, and its parameters."""
    bounds = list[int]()
    if retention.age is not None:
        bounds.append(first_sequence_at(milliseconds(now - retention.age)))
    if is_over(journal_size(connection), retention):
        (pinned,) = connection.execute(_FIRST_PENDING).fetchone()
        bounds.append(_ABOVE_ALL if pinned is None else pinned)
    return " OR ".join(["0", *("seq < ?" for _ in bounds)]), bounds


def journal_size(connection: sqlite3.Connection) -> int:
    """Return how many bytes of the file are in use; pages that wait to be given back are not."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def is_over(size_bytes: int, retention: Retention) -> bool:
    """Say whether a journal of this size is larger than it may be."""
    return retention.size_bytes is not None and size_bytes > retention.size_bytes


def _shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back to the file system."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, _PAGES)):  # one by one: the sqlite3 module steps a PRAGMA without columns only once
        connection.execute("PRAGMA incremental_vacuum")
