"""The reading side: entries by filter, newest first, page by page."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from app.core.change import Entry
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.core.identity import first_sequence_at, sequence_of, sequence_range
from app.core.moments import milliseconds
from app.store import objects
from app.store.database import connect_reader
from app.store.delivery_lists import deliveries_of, delivery_counts, list_deliveries
from app.store.encoding import UNREADABLE, inflated, read_finding
from app.store.hits import hits
from app.store.reading import DeliveryCounts, Field, Hits, Page, Position, Record
from app.store.scope import NOTHING, Scope, scope_of, sequences
from app.store.search.counting import actors, histogram
from app.store.search.histogram import Bucket, Spans
from app.store.search.query import Query, Test, is_answered_by_the_journal, predicate
from app.store.search.reader import ActorCount, SearchIndex, opened
from app.store.search.rows import bodies, rows
from app.store.words import words, words_in_scope

__all__ = ["ActorCount", "Bucket", "Ledger", "Page", "Position", "Query"]

_SCAN_SECONDS: Final = 0.25
"""How long a page looks for entries that no index finds; then it ends early, with a cursor to go on from."""

_PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends with the entry that reaches this, however few it holds: entries may be megabytes each."""

_AT_ONCE: Final = 500
"""Matches that are read together while the ledger is followed."""

_ASCENDING: Final = "SELECT seq FROM entries WHERE seq BETWEEN ? AND ? ORDER BY seq"


class _Identified(msgspec.Struct):
    id: str


def _id_of(item: msgspec.Raw) -> str:
    return msgspec.json.decode(item, type=_Identified).id


def _readable(body: bytes, matches: Test = lambda _document: True) -> bytes | None:
    """Return an entry as JSON if it matches; None of a row that was damaged, too, which must not hide all others."""
    try:
        document = inflated(body)
        return document if matches(document) and _id_of(msgspec.Raw(document)) else None
    except UNREADABLE:
        return None


class Ledger:
    """Reads the journal file beside its writer. Not for concurrent use; each thread takes its own.

    With namespaces, it is as if there were no entries but those of objects in these, the empty one standing for objects
    of none; only `newest` and `oldest` are of all.
    """

    def __init__(self, path: Path, namespaces: frozenset[str] | None = None) -> None:
        self._path = path
        self._scope = None if namespaces is None else scope_of(namespaces)
        self._connection = connect_reader(path)
        self._index: SearchIndex | None = None
        self._looked_for_index = False

    def close(self) -> None:
        """Close the files."""
        self._connection.close()
        if self._index is not None:
            self._index.close()

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first.

        A row that was damaged is passed over. A filter that no index answers, or not yet, is looked for within a budget
        of time, and a page of about 8 MiB is full: it may hold fewer entries, or none, and still have a `next`.
        """
        matches = predicate(query)
        items: list[msgspec.Raw] = []
        room = _PAGE_BYTES
        deadline = time.monotonic() + _SCAN_SECONDS
        scope = self._narrowed(query)
        answered = is_answered_by_the_journal(query, within_scope=scope is not None)
        index = None if answered else self._search_index()
        for sequence, body in rows(self._connection, index, query, before, scope):
            document = None if body is None else _readable(body, matches)
            if document is not None:
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
        spans, scope = Spans(since, until, buckets), self._narrowed(query)
        return histogram(self._connection, self._search_index(), query, spans, scope)

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first."""
        span = (first_sequence_at(since), first_sequence_at(until))
        return actors(self._connection, self._search_index(), *span, self._scope)

    def words(self, field: Field, beginning: str = "") -> list[str]:
        """Return the values of a field that begin so, in order; a thousand at most."""
        if self._scope is None:
            return words(self._connection, field, beginning)
        return words_in_scope(self._connection, self._search_index(), field, beginning, self._scope)

    def record(self, entry_id: str) -> Record | None:
        """Return one entry with all about it, None if there is none; raises ValueError for what is no id."""
        sequence = sequence_of(entry_id)
        row = self._connection.execute("SELECT namespace, body FROM entries WHERE seq = ?", (sequence,)).fetchone()
        body = _readable(row[1]) if row and self._sees(row[0]) else None
        document = None if body is None else msgspec.json.decode(body)
        if document is None or document["id"] != entry_id.lower():
            return None
        return Record(document, self._findings(sequence), deliveries_of(self._connection, sequence))

    def _findings(self, sequence: int) -> list[Finding]:
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
        found: list[msgspec.Raw] = []
        for _, body in bodies(self._connection, self._ascending(low, high)):
            document = _readable(body)
            if document is not None and _id_of(msgspec.Raw(document)).startswith(beginning.lower()):
                found.append(msgspec.Raw(document))
            if len(found) > 1:
                break
        return found

    def follow(self, query: Query, position: Position, limit: int) -> tuple[Position, list[msgspec.Raw]]:
        """Return how far was read, and what matches of the next `limit` entries that are seen, oldest first."""
        newest = self.newest()
        came = list(itertools.islice(self._ascending(position.sequence + 1, newest), limit))
        reached = Position(came[-1] if len(came) == limit else max(newest, position.sequence))
        if not came:
            return reached, []
        if query == Query():
            documents = (_readable(body) for _, body in bodies(self._connection, came))
            return reached, [msgspec.Raw(document) for document in documents if document is not None]
        return reached, self._matching(query, came[0], came[-1])

    def _ascending(self, low: int, high: int) -> Iterator[int]:
        """Yield the sequence numbers of what is seen, oldest first, from one up to another, both included."""
        if self._scope is not None:
            return sequences(self._connection, self._scope, low, high + 1, oldest_first=True)
        return (seq for (seq,) in self._connection.execute(_ASCENDING, (low, high)))

    def _matching(self, query: Query, first: int, last: int) -> list[msgspec.Raw]:
        """Return what matches from one sequence number to another, oldest first."""
        # The search knows the filters. It goes backwards, so it is kept to what just came, from that millisecond on.
        bounded = msgspec.structs.replace(query, since=max(query.since or 0, first // first_sequence_at(1)))
        found: list[msgspec.Raw] = []
        before: int | None = last + 1
        while before is not None:
            page = self.search(bounded, limit=_AT_ONCE, before=before)
            found += [item for item in page.items if sequence_of(_id_of(item)) >= first]
            before = page.next
        return found[::-1]

    def of_object(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        group: str | None = None,
        uid: str = "",
        since: int | None = None,
        until: int | None = None,
        most: int | None = None,
    ) -> list[Entry]:
        """Return the newest entries of an object, subresources included, oldest first; 5,000 at most.

        Times are unix milliseconds, `until` exclusive. `group` and `uid` leave out others of the same name.
        """
        if not self._sees(namespace):
            return []
        most = objects.MOST if most is None else most
        place = (self._connection, kind, namespace, name)
        return list(objects.of_object(*place, group=group, uid=uid, since=since, until=until, most=most))

    def places(self, kind: str, name: str) -> list[str]:
        """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""
        return [each for each in objects.namespaces_of(self._connection, kind, name) if self._sees(each)]

    def recent_objects(self) -> list[tuple[str, str, str]]:
        """Return kind, namespace and name of what changed lately, for completion."""
        return objects.recent_objects(self._connection, self._scope)

    def deliveries(
        self, *, state: DeliveryState | None = None, sink: str = "", before: int | None = None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, newest first, with ids below `before`."""
        wanted = (self._connection, self._scope)
        return list_deliveries(*wanted, state=state, sink=sink, before=before, limit=limit)

    def delivery_counts(self) -> DeliveryCounts:
        """Return how many deliveries there are of each state."""
        return delivery_counts(self._connection, self._scope)

    def hits(self, since: datetime) -> Hits:
        """Return how often each playbook found something since a moment."""
        return hits(self._connection, first_sequence_at(milliseconds(since)), self._scope)

    def position(self) -> Position:
        """Return where to follow from, so that nothing is missed that is recorded from now on."""
        return Position(self.newest())

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

    def _sees(self, namespace: str) -> bool:
        return self._scope is None or namespace in self._scope

    def _narrowed(self, query: Query) -> Scope | None:
        """Return what a query is to be held to: nothing more where it names a namespace that is seen."""
        if self._scope is None or not query.namespace:
            return self._scope
        return None if query.namespace in self._scope else NOTHING
