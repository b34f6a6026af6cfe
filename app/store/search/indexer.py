"""The thread that keeps the index up with the journal."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import structlog

from app.store.database import StoreError, connect_reader
from app.store.search.file import beside, discard, is_damage
from app.store.search.writer import Row, SearchWriter

logger = structlog.get_logger(__name__)

_BATCH: Final = 500
"""Entries of a transaction, each a matter of 70 µs, half of them without the interpreter's lock."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
_STEP: Final = 50
"""Entries after which the thread rests: who answers reviews meanwhile waits for 4 ms of work at most, not for 40."""

_REST: Final = 4.0
"""Times as long as it worked, the thread rests: it takes a fifth of one core at most."""

_IDLE_SECONDS: Final = 1.0
"""How long new entries gather once all are indexed: each look has its cost, and a search reads what is not indexed."""

_FORGET_SECONDS: Final = 30.0
_COUNT_SECONDS: Final = 10.0
_FEW: Final = 1000

_NEXT: Final = """
    SELECT seq, kind, namespace, name, username, operation, body FROM entries WHERE seq > ? ORDER BY seq LIMIT ?
"""


class Indexer:
    """Follows the journal into the index beside it, at low cost, and removes what retention forgot.

    `start` and `close` belong to one thread, the work to another. Whatever goes wrong costs searches time, and nothing
    else: a damaged or deleted index is begun anew, a full disk is tried again. `follow` is for those that have a
    thread already.
    """

    def __init__(
        self,
        journal: Path,
        *,
        rest: float = _REST,
        idle_seconds: float = _IDLE_SECONDS,
        forget_seconds: float = _FORGET_SECONDS,
    ) -> None:
        self._journal_path = journal
        self._path = beside(journal)
        self._rest = rest
        self._idle_seconds = idle_seconds
        self._forget_seconds = forget_seconds
        self._writer: SearchWriter | None = None
        self._swept = float("-inf")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_error = ""
        self._behind = 0
        self._has_more = False
        self._counted = float("-inf")

    @property
    def behind(self) -> int:
        """How many entries are not indexed yet, as it was known after the last batch."""
        return self._behind

    def start(self) -> None:
        """Begin to follow, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="search index", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after its current batch, and close the file."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._close()

    def follow(self) -> int:
        """Index the next batch; return how many entries it has, 0 when there is nothing to do.

        Raises StoreError, sqlite3.Error or OSError where that is not possible at the moment.
        """
        return self._follow_by(Pace(self._ended, 0))

    def _run(self) -> None:
        while not self._ended.is_set():
            pace = Pace(self._ended, self._rest)
            try:
                self._follow_by(pace)
                self._last_error = ""
            except (StoreError, sqlite3.Error, OSError) as error:
                self._report(error)
                self._has_more = False
            pace.rest()
            if not self._has_more:
                self._ended.wait(self._idle_seconds)

    def _follow_by(self, pace: Pace) -> int:
        with closing(connect_reader(self._journal_path)) as journal:
            return self._follow(journal, pace)

    def _follow(self, journal: sqlite3.Connection, pace: Pace) -> int:
        with self._judged():
            newest = self._current().newest
        if newest > _newest(journal):  # another journal took the place of the one that this was made from
            self._discard("it knows more than the journal")
            return self._follow(journal, pace)
        self._sweep(journal)
        rows = _after(journal, newest)
        if rows:
            with self._judged():
                self._current().add(pace.paced(rows))
        self._has_more = len(rows) == _BATCH or _size(rows) >= _BATCH_BYTES
        self._count(journal, rows)
        return len(rows)

    def _count(self, journal: sqlite3.Connection, rows: list[Row]) -> None:
        if not rows:
            self._behind = 0
        elif time.monotonic() - self._counted < _COUNT_SECONDS:
            self._behind = max(self._behind - len(rows), 0)
        else:
            self._counted = time.monotonic()
            self._behind = _count_after(journal, rows[-1][0])

    def _current(self) -> SearchWriter:
        if self._writer is not None and not self._writer.is_current:
            self._close()
        if self._writer is None:
            self._writer = SearchWriter(self._path)
        return self._writer

    def _sweep(self, journal: sqlite3.Connection) -> None:
        """Remove what is gone from the journal, from the oldest on until all of a step is still there."""
        if time.monotonic() - self._swept < self._forget_seconds:
            return
        ordinal: int | None = -1
        while ordinal is not None and not self._ended.is_set():
            ordinal = self._remove_gone(journal, ordinal)
        with self._judged():
            self._current().shrink()
        self._swept = time.monotonic()

    def _remove_gone(self, journal: sqlite3.Connection, after: int) -> int | None:
        """Remove what is gone of one step; return where the next one begins, None where nothing was gone."""
        with self._judged():
            known = self._current().oldest(after)
        kept = _kept(journal, known)
        gone = [ordinal for ordinal, seq in known if seq not in kept]
        if not gone:
            return None
        with self._judged():
            self._current().remove(gone)
        return known[-1][0]

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Throw the file away where it turns out to be damaged, so that the next round begins a new one."""
        try:
            yield
        except sqlite3.Error as error:
            if is_damage(error):
                self._discard(str(error))
            raise

    def _discard(self, reason: str) -> None:
        logger.warning("search index begun anew", action="rebuild", reason=reason)
        self._close()
        discard(self._path)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _report(self, error: Exception) -> None:
        if str(error) != self._last_error:
            logger.warning("search index cannot be written", action="retry", error=str(error))
        self._last_error = str(error)


class Pace:
    """Rests so many times as long as was worked since the last rest, or the beginning."""

    def __init__(self, ended: threading.Event, rest: float) -> None:
        self._ended = ended
        self._rest = rest
        self._began = time.monotonic()

    def rest(self) -> None:
        """Rest, unless all is to end."""
        if self._rest:
            self._ended.wait((time.monotonic() - self._began) * self._rest)
        self._began = time.monotonic()

    def paced(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield rows, with a rest after each step of them."""
        for place, row in enumerate(rows):
            if place and not place % _STEP:
                self.rest()
            yield row


def _after(journal: sqlite3.Connection, newest: int) -> list[Row]:
    rows, size = list[Row](), 0
    for row in journal.execute(_NEXT, (newest, _BATCH)):
        rows.append(row)
        size += len(row[-1])
        if size >= _BATCH_BYTES:
            break
    return rows


def _size(rows: Sequence[Row]) -> int:
    return sum(len(row[-1]) for row in rows)


def _newest(journal: sqlite3.Connection) -> int:
    return int(journal.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])


def _kept(journal: sqlite3.Connection, known: list[tuple[int, int]]) -> set[int]:
    """Return which of the sequence numbers the journal still has."""
    if not known:
        return set()
    rows = journal.execute("SELECT seq FROM entries WHERE seq BETWEEN ? AND ?", (known[0][1], known[-1][1]))
    return {seq for (seq,) in rows}


def _count_after(journal: sqlite3.Connection, newest: int) -> int:
    """Count the entries above a sequence number: few by the rows themselves, many by an index, which is smaller."""
    (few,) = journal.execute(
        "SELECT count(*) FROM (SELECT 1 FROM entries WHERE seq > ? LIMIT ?)", (newest, _FEW)
    ).fetchone()
    if few < _FEW:
        return int(few)
    many = "SELECT count(*) FROM entries INDEXED BY entries_kind WHERE seq > ?"
    return int(journal.execute(many, (newest,)).fetchone()[0])
