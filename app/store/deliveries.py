"""The deliveries in the journal: a queue for the dispatcher, a list for people."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog

from app.core.delivery import Claimed, ClaimResult, DeliveryState, Memory, Settlement, light
from app.core.finding import Folded, Notification
from app.core.moments import milliseconds, moment_at
from app.store.database import connect_editor, connect_reader
from app.store.encoding import UNREADABLE, read_entry, read_finding
from app.store.journal import Journal

logger = structlog.get_logger(__name__)

_Row = tuple[int, int, str]
"""Id, attempts before this one, and fold of a delivery."""
_Parcel = Sequence[_Row]
"""What is told together, in order."""

MOST_TOLD_TOGETHER: Final = 1000
"""Deliveries that one claim leases, at most, and that are told as one."""

_CLAIM: Final = """
    SELECT d.id, d.attempts, d.fold FROM deliveries AS d
    WHERE d.state = 'pending' AND d.sink = ? AND d.next_attempt_at <= ? ORDER BY d.next_attempt_at, d.id LIMIT ?
"""
_FOLD: Final = """
    SELECT id, attempts, fold FROM deliveries INDEXED BY deliveries_fold
    WHERE state = 'pending' AND sink = ? AND fold = ? AND fold <> '' AND next_attempt_at <= ? ORDER BY id LIMIT ?
"""
_READ: Final = """
    SELECT f.body, e.body FROM deliveries AS d
    JOIN findings AS f ON f.seq = d.seq AND f.ordinal = d.ordinal JOIN entries AS e ON e.seq = d.seq WHERE d.id = ?
"""
_NEXT_DUE: Final = "SELECT min(next_attempt_at) FROM deliveries WHERE state = 'pending' AND sink = ?"
_BACKLOG: Final = """
    SELECT count(*) FROM (
        SELECT 1 FROM deliveries AS d WHERE d.state = 'pending' AND d.sink = ? AND d.next_attempt_at <= ? LIMIT ?
    )
"""
_LEASE: Final = """
    UPDATE deliveries SET next_attempt_at = ?, attempts = attempts + 1, updated_at = ?, leased = 1 WHERE id = ?
"""
_SETTLE: Final = """
    UPDATE deliveries SET state = ?, last_error = ?, next_attempt_at = ?, updated_at = ?, attempts = attempts - ?,
        fold = coalesce(?, fold), leased = 0
    WHERE id = ?
"""
CLOCK_STEP: Final = timedelta(minutes=1)
"""By how much a clock is set back before anybody heeds it; slewing is less."""

_HEED_CLOCK: Final = """
    UPDATE deliveries SET next_attempt_at = ?, updated_at = ?
    WHERE state = 'pending' AND leased = 0 AND updated_at > ?
"""
_HASTEN: Final = """
    UPDATE deliveries INDEXED BY deliveries_fold SET next_attempt_at = ?
    WHERE state = 'pending' AND fold <> '' AND sink = ? AND fold BETWEEN ? AND ? AND next_attempt_at > ?
        AND leased = 0 AND last_error = ''
"""
_REMEMBER: Final = "INSERT OR REPLACE INTO sink_memory (sink, key, body, expires_at) VALUES (?, ?, ?, ?)"
_RECALL: Final = "SELECT body FROM sink_memory WHERE sink = ? AND key = ?"


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
        await self.heed_clock()

    async def heed_clock(self) -> None:
        """Make due what was written in what is the future now: where the clock was set back, it would wait that long.

        What is leased is left to its worker.
        """
        now = datetime.now(UTC)
        times = (milliseconds(now), milliseconds(now), milliseconds(now + CLOCK_STEP))
        found = await self._journal.call(lambda c: c.execute(_HEED_CLOCK, times).rowcount)
        if found:
            logger.warning("clock was set back", action="deliver", deliveries=found)

    async def claim(self, sink: str, *, limit: int, lease: timedelta, whole: bool = True) -> ClaimResult:
        """Take what is due for this sink, oldest first, and lease it; also say when the next one will be due.

        What has the same fold is one of the result, up to `MOST_TOLD_TOGETHER`. Without `whole`, all notifications are
        light. A delivery that cannot be read becomes dead, and is not in the result.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[_Parcel], int | None]:
            now = datetime.now(UTC)
            parcels = _due(connection, sink, milliseconds(now), limit)
            leases = [(milliseconds(now + lease), milliseconds(now), row[0]) for parcel in parcels for row in parcel]
            connection.executemany(_LEASE, leases)
            return parcels, connection.execute(_NEXT_DUE, (sink,)).fetchone()[0]

        parcels, next_due = await self._journal.call(work)
        return ClaimResult(
            deliveries=await self._read(parcels, whole=whole) if parcels else (),
            next_due=None if next_due is None else moment_at(next_due),
        )

    async def whole(self, claimed: Claimed) -> Claimed | None:
        """Return a claimed delivery with all of its notification; None where it cannot be read, and is dead now."""
        parcel = [(each.id, each.notification.attempt - 1, each.fold) for each in claimed.every]
        return next(iter(await self._read([parcel], whole=True)), None)

    async def _read(self, parcels: Sequence[_Parcel], *, whole: bool) -> tuple[Claimed, ...]:
        """Read what was claimed: neither the writer nor the event loop waits while large entries are read."""
        read = await asyncio.to_thread(_read_parcels, self._journal.path, parcels, whole)
        await self._bury([each for parcel in read for each in parcel if isinstance(each, Settlement)])
        readable = ([each for each in parcel if isinstance(each, Claimed)] for parcel in read)
        return tuple(_together(parcel) for parcel in readable if parcel)

    async def _bury(self, unreadable: Sequence[Settlement]) -> None:
        for settlement in unreadable:
            logger.error("delivery_unreadable", action="dead", delivery=settlement.id, error=settlement.error)
        if unreadable:
            await self.settle(unreadable)

    async def backlog(self, sink: str, most: int) -> int:
        """Return how many deliveries of the sink are due, counted up to `most`."""

        def work() -> int:
            with closing(connect_reader(self._journal.path)) as connection:
                now = milliseconds(datetime.now(UTC))
                return int(connection.execute(_BACKLOG, (sink, now, most)).fetchone()[0])

        return await asyncio.to_thread(work)

    async def hasten(self, sink: str, fold: str, latest: datetime) -> None:
        """Let what has not failed yet, and has a fold that begins so, wait until then at the latest."""
        due = milliseconds(latest)
        await self._journal.call(lambda c: c.execute(_HASTEN, (due, sink, fold, f"{fold}\U0010ffff", due)).rowcount)

    async def settle(
        self, settlements: Sequence[Settlement], *, sink: str = "", memories: Sequence[Memory] = ()
    ) -> None:
        """Write down how attempts ended, and what is to be remembered for the sink, in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            now = milliseconds(datetime.now(UTC))
            connection.executemany(_SETTLE, [_settled(settlement, now) for settlement in settlements])
            connection.executemany(
                _REMEMBER, [(sink, each.key, each.body, milliseconds(each.expires_at)) for each in memories]
            )

        await self._journal.call(work)

    async def recall(self, sink: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is remembered for the sink under these keys; what expired may still be there."""

        def work() -> dict[str, bytes]:
            with closing(connect_reader(self._journal.path)) as connection:
                rows = ((key, connection.execute(_RECALL, (sink, key)).fetchone()) for key in keys)
                return {key: row[0] for key, row in rows if row}

        return await asyncio.to_thread(work)


def _settled(settlement: Settlement, now: int) -> tuple[str, str, int, int, bool, str | None, int]:
    due = now if settlement.next_attempt_at is None else milliseconds(settlement.next_attempt_at)
    untried = settlement.state == "withheld" or (settlement.state == "pending" and not settlement.error)
    return settlement.state, settlement.error, due, now, untried, settlement.fold, settlement.id


def _due(connection: sqlite3.Connection, sink: str, now: int, limit: int) -> list[_Parcel]:
    """Return what is due, one parcel for each that has no fold and one for each fold, within one claim's bounds."""
    seen, parcels = set[int](), list[_Parcel]()
    for row in connection.execute(_CLAIM, (sink, now, limit)).fetchall():
        if row[0] in seen or len(seen) >= MOST_TOLD_TOGETHER:
            continue
        fold = row[2]
        parcel = connection.execute(_FOLD, (sink, fold, now, MOST_TOLD_TOGETHER)).fetchall() if fold else [row]
        seen.update(row[0] for row in parcel)
        parcels.append(parcel)
    return parcels


def _read_parcels(path: Path, parcels: Sequence[_Parcel], whole: bool) -> list[list[Claimed | Settlement]]:
    """Read the deliveries; of each parcel only the last is whole."""
    with closing(connect_reader(path)) as connection:
        return [
            [
                claimed if whole and row is parcel[-1] else _light(claimed)
                for row in parcel
                for found in connection.execute(_READ, row[:1])
                for claimed in (_claimed(row, *found),)
            ]
            for parcel in parcels
        ]


def _light(claimed: Claimed | Settlement) -> Claimed | Settlement:
    if isinstance(claimed, Settlement):
        return claimed
    return msgspec.structs.replace(claimed, notification=light(claimed.notification))


def _claimed(row: _Row, finding: bytes, entry: bytes) -> Claimed | Settlement:
    """Read a delivery; what cannot be read is dead, so that it holds up no other."""
    delivery_id, attempts, fold = row
    try:
        subject = read_entry(entry)
        told = read_finding(finding)
    except UNREADABLE as error:
        return Settlement(id=delivery_id, state="dead", error=f"cannot be read from the journal: {error}")
    notification = Notification(
        delivery_id=f"{subject.id}/{delivery_id}", finding=told, entry=subject, attempt=attempts + 1
    )
    return Claimed(id=delivery_id, notification=notification, fold=fold)


def _together(parcel: Sequence[Claimed]) -> Claimed:
    """Return deliveries of one fold as the last of them, which says how many it stands for."""
    *others, last = parcel
    if not others:
        return last
    folded = Folded(count=len(parcel), since=parcel[0].notification.entry.at)
    notification = msgspec.structs.replace(last.notification, folded=folded)
    return msgspec.structs.replace(last, notification=notification, others=tuple(others))


def forget_memories(connection: sqlite3.Connection, now: datetime) -> int:
    """Forget what sinks need not remember any more; return how many memories that were."""
    return connection.execute("DELETE FROM sink_memory WHERE expires_at <= ?", (milliseconds(now),)).rowcount


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
