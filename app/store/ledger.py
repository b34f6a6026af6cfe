"""The reading side: entries by filter, newest first, page by page."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.finding import Finding
from app.core.identity import first_sequence_at, sequence_of, sequence_range
from app.store.database import connect_reader
from app.store.encoding import UNREADABLE, inflated, read_document, read_finding
from app.store.search.counting import actors, histogram
from app.store.search.histogram import Bucket, Spans
from app.store.search.query import Query, is_answered_by_the_journal, predicate
from app.store.search.reader import ActorCount, SearchIndex, opened
from app.store.search.rows import rows

__all__ = ["ActorCount", "Bucket", "Ledger", "Page", "Query"]

_SCAN_SECONDS: Final = 0.25
"""How long a page looks for entries that no index finds; then it ends early, with a cursor to go on from."""

_PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends with the entry that reaches this, however few it holds: entries may be megabytes each."""

_MOST_VALUES: Final = 1000


class Page(msgspec.Struct, frozen=True):
    """Entries as JSON, newest first, and the sequence number to continue below; None at the end."""

    items: list[msgspec.Raw]
    next: int | None


class Ledger:
    """Reads the journal file beside its writer. Not for concurrent use; each thread takes its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)
        self._index: SearchIndex | None = None
        self._looked_for_index = False

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the other lists of the store."""
        return self._connection

    def close(self) -> None:
        """Close the files."""
        self._connection.close()
        if self._index is not None:
            self._index.close()

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first.

        A filter that no index answers, or not yet, is looked for within a budget of time, and a page of about 8 MiB is
        full: it may hold fewer entries, or none, and still have a `next`.
        """
        matches = predicate(query)
        items: list[msgspec.Raw] = []
        room = _PAGE_BYTES
        deadline = time.monotonic() + _SCAN_SECONDS
        index = None if is_answered_by_the_journal(query) else self._search_index()
        for sequence, body in rows(self._connection, index, query, before):
            document = inflated(body)
            if matches(document):
                items.append(msgspec.Raw(document))
                room -= len(document)
                if len(items) == limit or room <= 0:
                    return Page(items, sequence)
            elif time.monotonic() > deadline:
                return Page(items, sequence)
        return Page(items, None)

    def histogram(self, query: Query, since: int, until: int, buckets: int) -> list[Bucket]:
        """Count the entries of a query between two times (unix milliseconds, `until` exclusive), in so many buckets.

        There are fewer where that makes them round. They are equally wide, begin at round times, and are there without
        entries as well. There are none where the count would take too long: without the search index, or for a text of
        one or two characters. Of a text that thousands of entries seem to have, those are counted that have its rarest
        runs of three characters.
        """
        if since >= until:
            return []
        return histogram(self._connection, self._search_index(), query, Spans(since, until, buckets))

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first."""
        span = (first_sequence_at(since), first_sequence_at(until))
        return actors(self._connection, self._search_index(), *span)

    def kinds(self) -> list[str]:
        """Return the kinds that entries have, in order; a thousand at most."""
        return self._values("kind", "")

    def namespaces(self) -> list[str]:
        """Return the namespaces that entries have, in order; a thousand at most."""
        return self._values("namespace", "")

    def names(self, beginning: str = "") -> list[str]:
        """Return the names of objects that begin so, in order; a thousand at most."""
        return self._values("name", beginning)

    def usernames(self, beginning: str = "") -> list[str]:
        """Return the user names that begin so, in order; a thousand at most."""
        return self._values("username", beginning)

    def get(self, entry_id: str) -> dict[str, Any] | None:
        """Return one entry; raises ValueError for what is no id."""
        row = self._connection.execute("SELECT body FROM entries WHERE seq = ?", (sequence_of(entry_id),)).fetchone()
        document = read_document(row[0]) if row else None
        return document if document is not None and document["id"] == entry_id else None

    def findings(self, sequence: int) -> list[Finding]:
        """Return the findings of an entry as a whole, blocks included; without those that cannot be read."""
        rows = self._connection.execute("SELECT body FROM findings WHERE seq = ? ORDER BY ordinal", (sequence,))
        found: list[Finding] = []
        for (body,) in rows:
            with contextlib.suppress(*UNREADABLE):
                found.append(read_finding(body))
        return found

    def find(self, beginning: str) -> list[msgspec.Raw]:
        """Return the entries, two at most, whose id begins so; raises ValueError for what cannot begin an id."""
        low, high = sequence_range(beginning)
        rows = self._connection.execute("SELECT body FROM entries WHERE seq BETWEEN ? AND ? ORDER BY seq", (low, high))
        found: list[msgspec.Raw] = []
        for row in rows:
            document = inflated(row[0])
            if msgspec.json.decode(document)["id"].startswith(beginning.lower()):
                found.append(msgspec.Raw(document))
            if len(found) > 1:
                break
        return found

    def after(self, sequence: int, limit: int) -> list[tuple[int, msgspec.Raw]]:
        """Return what came after a sequence number, oldest first: for following the ledger."""
        rows = self._connection.execute(
            "SELECT seq, body FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", (sequence, limit)
        )
        return [(row[0], msgspec.Raw(inflated(row[1]))) for row in rows]

    def newest(self) -> int:
        """Return the highest sequence number, 0 in an empty ledger."""
        return int(self._connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])

    def oldest(self) -> int:
        """Return the lowest sequence number, 0 in an empty ledger."""
        return int(self._connection.execute("SELECT coalesce(min(seq), 0) FROM entries").fetchone()[0])

    def _search_index(self) -> SearchIndex | None:
        """Open the index when it is needed for the first time, and stay without where there is none."""
        if not self._looked_for_index:
            self._looked_for_index = True
            self._index = opened(self._path)
        return self._index

    def _next(self, column: str, after: str) -> str | None:
        """Return what follows a value in an index: one step, however often each value is there."""
        found = self._connection.execute(f"SELECT min({column}) FROM entries WHERE {column} > ?", (after,)).fetchone()[
            0
        ]
        return None if found is None else str(found)

    def _values(self, column: str, beginning: str) -> list[str]:
        """Return the values that begin so, in order."""
        found: list[str] = []
        value = beginning if self._has(column, beginning) else self._next(column, beginning)
        while value is not None and value.startswith(beginning) and len(found) < _MOST_VALUES:
            found.append(value)
            value = self._next(column, value)
        return [value for value in found if value]

    def _has(self, column: str, value: str) -> bool:
        return (
            self._connection.execute(f"SELECT 1 FROM entries WHERE {column} = ? LIMIT 1", (value,)).fetchone()
            is not None
        )
