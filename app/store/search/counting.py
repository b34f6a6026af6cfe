"""How many entries match, span by span, without reading them."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterable
from typing import Final

from app.store.encoding import inflated
from app.store.scope import WITHIN, Scope, first_kept
from app.store.search.file import UnusableIndexError
from app.store.search.histogram import Bucket, Spans
from app.store.search.query import Query, bounds, predicate
from app.store.search.reader import ActorCount, Count, SearchIndex
from app.store.search.rows import Row, bodies, scanned
from app.store.search.texts import is_indexed

_SECONDS: Final = 0.15
"""How long entries are read to be counted, for each of the two halves of a histogram."""

_VERIFIED: Final = 3000
"""Entries that are read to be sure that they match, at most."""

_FAILED: Final = b'"operation":"FAILED"'
_ACTORS: Final = """
    SELECT username, count(*), max(seq) FROM entries {index} WHERE seq >= ? AND seq < ? AND username <> '' AND {within}
    GROUP BY username
"""


def histogram(
    journal: sqlite3.Connection, index: SearchIndex | None, query: Query, spans: Spans, scope: Scope | None
) -> list[Bucket]:
    """Count the entries that match in each span; empty where there is no telling in a fraction of a second.

    Of a text that thousands of entries seem to have, those count that have its rarest runs of three characters.
    """
    edges = _edges(journal, query, spans)
    unread, counts = edges[0], [Count(0, 0)] * len(spans.starts)
    if index is not None and is_indexed(query.q):
        try:
            counts = _counted(journal, index, query, spans, edges, scope)
            unread = max(unread, index.newest + 1)
        except UnusableIndexError:
            pass
    read = _read(query, spans, scanned(journal, query, unread, edges[-1], scope))
    if read is None:
        return []
    sums = zip(spans.starts, counts, read, strict=True)
    return [Bucket(at, one.total + two.total, one.failed + two.failed) for at, one, two in sums]


def actors(
    journal: sqlite3.Connection, index: SearchIndex | None, since: int, until: int, scope: Scope | None
) -> list[ActorCount]:
    """Count the entries of each user from one sequence number up to another, most first."""
    unread, found = max(since, first_kept(journal)), list[ActorCount]()
    if index is not None:
        try:
            found = index.actors(unread, until, scope)
            unread = max(unread, index.newest + 1)
        except UnusableIndexError:
            pass
    found += [ActorCount(*row) for row in _unindexed(journal, unread, until, scope, few=index is not None)]
    return sorted(_summed(found), key=lambda each: (-each.total, each.username))


def _unindexed(
    journal: sqlite3.Connection, since: int, until: int, scope: Scope | None, *, few: bool
) -> Iterable[tuple[str, int, int]]:
    if scope is not None:
        sql = _ACTORS.format(index="INDEXED BY entries_namespace", within=WITHIN)
        return journal.execute(sql, (since, until, scope.listed))
    return journal.execute(
        _ACTORS.format(index="NOT INDEXED" if few else "INDEXED BY entries_username", within="1"), (since, until)
    )


def _summed(found: Iterable[ActorCount]) -> list[ActorCount]:
    names: dict[str, ActorCount] = {}
    for each in found:
        other = names.get(each.username, ActorCount(each.username, 0, 0))
        names[each.username] = ActorCount(each.username, each.total + other.total, max(each.newest, other.newest))
    return list(names.values())


def _edges(journal: sqlite3.Connection, query: Query, spans: Spans) -> list[int]:
    """Return the bounds of the spans, within what the query is about and the journal still has."""
    oldest = first_kept(journal)
    since, until = bounds(query)
    edges = [max(edge, oldest, since) for edge in spans.edges]
    return edges if until is None else [min(edge, until) for edge in edges]


def _counted(
    journal: sqlite3.Connection,
    index: SearchIndex,
    query: Query,
    spans: Spans,
    edges: list[int],
    scope: Scope | None,
) -> list[Count]:
    """Count by the index; few enough are read, where it may take too many for matching."""
    if query.q or query.path:
        until = min(edges[-1], index.newest + 1)
        candidates = list(itertools.islice(index.sequences(query, edges[0], until, scope), _VERIFIED + 1))
        if len(candidates) <= _VERIFIED and (read := _read(query, spans, bodies(journal, candidates))) is not None:
            return read
    return index.counts(query, edges, scope)


def _read(query: Query, spans: Spans, rows: Iterable[Row]) -> list[Count] | None:
    """Count the rows that match by reading them; None where that takes too long."""
    matches, deadline = predicate(query), time.monotonic() + _SECONDS
    totals, failures = [0] * len(spans.starts), [0] * len(spans.starts)
    for seq, body in rows:
        if body is not None and matches(document := inflated(body)):
            place = spans.place(seq)
            totals[place] += 1
            failures[place] += _FAILED in document
        if time.monotonic() > deadline:
            return None
    return list(itertools.starmap(Count, zip(totals, failures, strict=True)))
