"""Ledgers with and without their search index, and what a search finds by reading every entry."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from app.store.database import FILE_NAME, connect_writer
from app.store.journal import EntryRow
from app.store.ledger import Ledger, Query
from app.store.search.file import beside
from app.store.search.indexer import Indexer
from tests.builders import make_record


def written(folder: Path, rows: Iterable[EntryRow]) -> Path:
    """Write entries into a journal; return its path."""
    path = folder / FILE_NAME
    values = [msgspec.structs.astuple(row)[:7] for row in rows]
    with closing(connect_writer(path, "NORMAL")) as connection:
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return path


def ledger_of(folder: Path, *entries: dict[str, Any]) -> Path:
    """Write entries by their fields; return the journal's path."""
    return written(folder, [make_record(**fields).entry for fields in entries])


def indexed(journal: Path) -> Path:
    """Bring the index up to date; return its path."""
    with closing(Indexer(journal, forget_seconds=0)) as indexer:
        while indexer.follow():
            pass
    return beside(journal)


def found(journal: Path, query: Query, limit: int = 100) -> list[str]:
    """Return the ids of all entries that a search finds, page by page."""
    ids, before = list[str](), None
    with closing(Ledger(journal)) as ledger:
        while True:
            page = ledger.search(query, limit=limit, before=before)
            ids += [msgspec.json.decode(item)["id"] for item in page.items]
            before = page.next
            if before is None:
                return ids


def at_once(journal: Path, query: Query) -> list[str]:
    """Return the ids on the first page alone."""
    with closing(Ledger(journal)) as ledger:
        return [msgspec.json.decode(item)["id"] for item in ledger.search(query, limit=100).items]


def forget(journal: Path, *sequences: int) -> None:
    """Delete entries as retention does."""
    with closing(connect_writer(journal, "NORMAL")) as connection:
        connection.executemany("DELETE FROM entries WHERE seq = ?", [(each,) for each in sequences])
