"""The deliveries in the journal: a queue for the dispatcher, a list for people."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from app.core.delivery import Claimed, ClaimResult, Delivery, DeliveryState, Settlement
from app.core.finding import Notification
from app.core.identity import entry_id
from app.core.moments import milliseconds, moment_at, written
from app.store.database import connect_editor
from app.store.encoding import UNREADABLE, read_entry, read_finding, read_finding_head
from app.store.journal import Journal

logger = structlog.get_logger(__name__)

_Row = tuple[int, int, bytes, bytes]

_CLAIM: Final = """
    SELECT d.id, d.attempts, f.body, e.body FROM deliveries AS d
    JOIN findings AS f ON f.seq = d.seq AND f.ordinal = d.ordinal JOIN entries AS e ON e.seq = d.seq
    WHERE d.state = 'pending' AND d.sink = ? AND d.next_attempt_at <= ? ORDER BY d.next_attempt_at, d.id LIMIT ?
"""
_NEXT_DUE: Final = "SELECT min(next_attempt_at) FROM deliveries WHERE state = 'pending' AND sink = ?"
_LEASE: Final = """
    UPDATE deliveries SET next_attempt_at = ?, attempts = attempts + 1, updated_at = ?, leased = 1 WHERE id = ?
"""
_SETTLE: Final = """
    UPDATE deliveries SET state = ?, last_error = ?, next_attempt_at = ?, updated_at = ?, attempts = attempts - ?,
        leased = 0
    WHERE id = ?
"""
_LIST: Final = """
    SELECT d.id, d.seq, f.random, d.sink, f.body, d.state, d.attempts, d.created_at, d.updated_at, d.next_attempt_at,
        d.last_error
    FROM deliveries AS d JOIN findings AS f ON f.seq = d.seq AND f.ordinal = d.ordinal
"""


class DeliveryQueue:
    """The dispatcher's side. A lease is a next attempt in the future: a worker that dies gives its deliveries back."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def recover(self) -> None:
        """Take back what a worker had when its process ended; for the start, when nobody else can be at work."""

        def work(connection: sqlite3.Connection) -> None:
            now = milliseconds(datetime.now(UTC))
            connection.execute("UPDATE deliveries SET next_attempt_at = ?, leased = 0 WHERE leased = 1", (now,))

        await self._journal.call(work)

    async def claim(self, sink: str, *, limit: int, lease: timedelta) -> ClaimResult:
        """Take what is due for this sink, oldest first, and lease it; also say when the next one will be due.

        A delivery that cannot be read becomes dead, and is not in the result.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[_Row], int | None]:
            now = datetime.now(UTC)
            rows = connection.execute(_CLAIM, (sink, milliseconds(now), limit)).fetchall()
            for row in rows:
                connection.execute(_LEASE, (milliseconds(now + lease), milliseconds(now), row[0]))
            return rows, connection.execute(_NEXT_DUE, (sink,)).fetchone()[0]

        rows, next_due = await self._journal.call(work)
        # Neither the writer nor the event loop waits while large entries are read.
        read = await asyncio.to_thread(lambda: [_claimed(*row) for row in rows])
        await self._bury([each for each in read if isinstance(each, Settlement)])
        return ClaimResult(
            deliveries=tuple(each for each in read if isinstance(each, Claimed)),
            next_due=None if next_due is None else moment_at(next_due),
        )

    async def _bury(self, unreadable: Sequence[Settlement]) -> None:
        for settlement in unreadable:
            logger.error("delivery_unreadable", action="dead", delivery=settlement.id, error=settlement.error)
        if unreadable:
            await self.settle(unreadable)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down how attempts ended. Pending without an error was not tried: it counts as no attempt."""

        def work(connection: sqlite3.Connection) -> None:
            now = milliseconds(datetime.now(UTC))
            for settlement in settlements:
                due = now if settlement.next_attempt_at is None else milliseconds(settlement.next_attempt_at)
                untried = settlement.state == "pending" and not settlement.error
                connection.execute(_SETTLE, (settlement.state, settlement.error, due, now, untried, settlement.id))

        await self._journal.call(work)


def _claimed(delivery_id: int, attempts: int, finding: bytes, entry: bytes) -> Claimed | Settlement:
    """Read a delivery; what cannot be read is dead, so that it holds up no other."""
    try:
        subject = read_entry(entry)
        told = read_finding(finding)
    except UNREADABLE as error:
        return Settlement(id=delivery_id, state="dead", error=f"cannot be read from the journal: {error}")
    notification = Notification(
        delivery_id=f"{subject.id}/{delivery_id}", finding=told, entry=subject, attempt=attempts + 1
    )
    return Claimed(id=delivery_id, notification=notification)


def list_deliveries(
    connection: sqlite3.Connection,
    *,
    state: DeliveryState | None = None,
    sink: str = "",
    before: int | None = None,
    limit: int,
) -> list[Delivery]:
    """Return deliveries, newest first, with ids below `before`."""
    conditions, parameters = ["1"], list[str | int]()
    for condition, value in (("d.state = ?", state), ("d.sink = ?", sink or None), ("d.id < ?", before)):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    query = f"{_LIST} WHERE {' AND '.join(conditions)} ORDER BY d.id DESC LIMIT ?"
    return [_delivery(row) for row in connection.execute(query, (*parameters, limit))]


def deliveries_of(connection: sqlite3.Connection, sequence: int) -> list[Delivery]:
    """Return the deliveries of one entry, oldest first."""
    return [_delivery(row) for row in connection.execute(f"{_LIST} WHERE d.seq = ? ORDER BY d.id", (sequence,))]


def _delivery(row: tuple[int, int, int, str, bytes, DeliveryState, int, int, int, int, str]) -> Delivery:
    delivery_id, sequence, random, sink, body, state, attempts, created, updated, due, error = row
    finding = read_finding_head(body)
    return Delivery(
        id=delivery_id,
        entry_id=entry_id(sequence, random),
        sink=sink,
        playbook=finding.playbook,
        title=finding.title,
        state=state,
        attempts=attempts,
        created_at=written(created),
        updated_at=written(updated),
        next_attempt_at=written(due) if state == "pending" else None,
        last_error=error,
    )


def queue_state(connection: sqlite3.Connection, now: datetime) -> list[tuple[str, int, int, float]]:
    """Return for each sink: deliveries pending, deliveries dead, age of the oldest pending one in seconds."""
    rows = connection.execute(
        "SELECT sink, sum(state = 'pending'), sum(state = 'dead'), min(CASE state WHEN 'pending' THEN created_at END)"
        " FROM deliveries WHERE state IN ('pending', 'dead') GROUP BY sink"
    )
    age = milliseconds(now)
    return [
        (sink, pending, dead, (age - oldest) / 1000 if oldest is not None else 0.0)
        for sink, pending, dead, oldest in rows
    ]


def requeue(path: Path, *, ids: Sequence[int] = (), sink: str = "") -> int:
    """Make dead deliveries pending again, from the first attempt: the named ones, a sink's, or all; count them."""
    chosen, parameters = _chosen(ids, sink)
    now = milliseconds(datetime.now(UTC))
    with closing(connect_editor(path)) as connection:
        cursor = connection.execute(
            "UPDATE deliveries SET state = 'pending', attempts = 0, next_attempt_at = ?, updated_at = ?"
            f" WHERE state = 'dead' AND {chosen}",
            (now, now, *parameters),
        )
        return cursor.rowcount


def purge(path: Path, *, state: DeliveryState = "dead", ids: Sequence[int] = (), sink: str = "") -> int:
    """Forget deliveries in this state: the named ones, those of a sink, or all; count them. Entries stay."""
    chosen, parameters = _chosen(ids, sink)
    with closing(connect_editor(path)) as connection:
        return connection.execute(f"DELETE FROM deliveries WHERE state = ? AND {chosen}", (state, *parameters)).rowcount


def _chosen(ids: Sequence[int], sink: str) -> tuple[str, list[int | str]]:
    conditions, parameters = ["1"], list[int | str]()
    if ids:
        conditions.append(f"id IN ({', '.join('?' * len(ids))})")
        parameters.extend(ids)
    if sink:
        conditions.append("sink = ?")
        parameters.append(sink)
    return " AND ".join(conditions), parameters
