"""A journal whose reports a test can wait for, and a disk that refuses as long as a test wants."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

from app.store.journal import Journal, JournalObserver, Record


class Observer(JournalObserver):
    """Remembers what the journal reports; its thread hands reports over to the event loop of the test."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.errors: list[str] = []
        self.losses: list[tuple[int, str]] = []
        self._loop = asyncio.get_running_loop()
        self._failed = asyncio.Event()

    @override
    def committed(self, entries: int, seconds: float) -> None:
        if entries:
            self.batches.append(entries)

    @override
    def failed(self, error: str) -> None:
        self.errors.append(error)
        self._loop.call_soon_threadsafe(self._failed.set)

    @override
    def lost(self, entries: int, reason: str) -> None:
        self.losses.append((entries, reason))

    async def failure(self) -> None:
        """Wait until a commit has failed."""
        await self._failed.wait()
        self._failed.clear()


@asynccontextmanager
async def opened(data_dir: Path, **options: Any) -> AsyncIterator[tuple[Journal, Observer]]:
    """A journal that is started, and closed at the end."""
    observer = Observer()
    journal = Journal(data_dir, observer=observer, **options)
    journal.start()
    try:
        yield journal, observer
    finally:
        await journal.close(5)


async def impatient(journal: Journal) -> None:
    """Let the journal fail at once, instead of waiting for a file that somebody else has locked."""
    await journal.call(lambda connection: connection.execute("PRAGMA busy_timeout = 0").fetchall())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's write lock: every commit fails meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def stored(path: Path) -> list[int]:
    """Return the sequence numbers that another connection finds in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return [seq for (seq,) in connection.execute("SELECT seq FROM entries ORDER BY seq")]


def sequences(*records: Record) -> list[int]:
    return [record.entry.seq for record in records]
