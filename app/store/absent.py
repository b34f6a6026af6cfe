"""Deliveries to sinks that the configuration no longer has: they wait for a day, then they are given up."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from app.core.moments import milliseconds

PATIENCE: Final = timedelta(hours=24)
"""How long a sink may be missing: a mistaken edit is mended by then, and nothing is kept for good for nobody."""

ERROR: Final = "no sink of this name is configured"

_STEP: Final = 500
# Of the two indexes that would do, the planner takes the one on which these read every pending delivery.
_PENDING: Final = "FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending'"

_WAITED_FOR: Final = f"""
    WITH RECURSIVE names (sink) AS (
        SELECT min(sink) {_PENDING}
        UNION ALL SELECT (SELECT min(sink) {_PENDING} AND sink > names.sink) FROM names WHERE sink IS NOT NULL
    ) SELECT sink FROM names WHERE sink IS NOT NULL
"""
"""The sinks with pending deliveries, by one look into the index for each."""

_GIVE_UP: Final = f"""
    UPDATE deliveries SET state = 'dead', last_error = ?, updated_at = ?, leased = 0 WHERE id IN (
        SELECT id {_PENDING} AND sink IN (SELECT sink FROM absent_sinks WHERE since <= ?) AND updated_at <= ? LIMIT ?
    )
"""


def give_up_absent(
    connection: sqlite3.Connection, configured: Collection[str], now: datetime, patience: timedelta = PATIENCE
) -> int:
    """Let one step's worth of deliveries to sinks that have been missing for that long be dead; 0 when done.

    What people requeue waits as long again. The sink counts as missing from the first call that does not name it.
    """
    absent = {sink for (sink,) in connection.execute(_WAITED_FOR)} - set(configured)
    _remember(connection, absent, milliseconds(now))
    due = milliseconds(now - patience)
    return connection.execute(_GIVE_UP, (ERROR, milliseconds(now), due, due, _STEP)).rowcount


def _remember(connection: sqlite3.Connection, absent: Collection[str], now: int) -> None:
    """Write down since when these sinks are missing, and that no other is."""
    known = {sink for (sink,) in connection.execute("SELECT sink FROM absent_sinks")}
    for sink in known.difference(absent):
        connection.execute("DELETE FROM absent_sinks WHERE sink = ?", (sink,))
    for sink in sorted(set(absent) - known):
        connection.execute("INSERT INTO absent_sinks VALUES (?, ?)", (sink, now))
