"""Entries that may match a query, newest first: by the index, and by reading what it lacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from app.store.search.file import UnusableIndexError
from app.store.search.query import Query, bounds, conditions, is_answered_by_the_journal
from app.store.search.reader import SearchIndex

Row = tuple[int, bytes]
"""Sequence number and body of an entry."""


def rows(journal: sqlite3.Connection, index: SearchIndex | None, query: Query, before: int | None) -> Iterator[Row]:
    """Yield all that match and some that do not, newest first, below the sequence number `before`."""
    since, until = bounds(query, before)
    if index is None or is_answered_by_the_journal(query):
        yield from scanned(journal, query, since, until)
        return
    last = until
    try:
        for row in _by_index(journal, index, query, since, until):
            last = row[0]
            yield row
    except UnusableIndexError:
        yield from scanned(journal, query, since, last)


def scanned(journal: sqlite3.Connection, query: Query, since: int, until: int | None) -> Iterator[Row]:
    """Yield what the columns of the journal tell apart, from one sequence number up to another."""
    wanted = [("1", ()), *conditions(query)]
    if since:
        wanted.append(("seq >= ?", (since,)))
    if until is not None:
        wanted.append(("seq < ?", (until,)))
    where = " AND ".join(condition for condition, _ in wanted)
    parameters = [parameter for _, each in wanted for parameter in each]
    return journal.execute(f"SELECT seq, body FROM entries WHERE {where} ORDER BY seq DESC", parameters)


def bodies(journal: sqlite3.Connection, sequences: Iterable[int]) -> Iterator[Row]:
    """Yield entries by their sequence numbers, without those that were forgotten since."""
    for seq in sequences:
        row = journal.execute("SELECT seq, body FROM entries WHERE seq = ?", (seq,)).fetchone()
        if row is not None:
            yield row


def _by_index(
    journal: sqlite3.Connection, index: SearchIndex, query: Query, since: int, until: int | None
) -> Iterator[Row]:
    yield from scanned(journal, query, max(since, index.newest + 1), until)
    yield from bodies(journal, index.sequences(query, since, until))
