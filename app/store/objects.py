"""The entries of one object, by index: its history, whatever the size of the ledger."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from typing import Final

from app.core.change import Entry
from app.core.identity import first_sequence_at
from app.store.encoding import UNREADABLE, read_entry
from app.store.scope import Scope, sequences
from app.store.search.rows import bodies

MOST: Final = 5_000
"""Entries that are read of one object: some hold megabytes, and nobody reads more of them than this."""

_RECENT: Final = 20_000
_MOST_KINDS: Final = 1000

# Of the indexes that would do, that of the names leaves the fewest rows; the planner knows no statistics.
_OF_OBJECT: Final = """
    SELECT seq FROM entries INDEXED BY entries_name
    WHERE name = ? AND kind = ? AND namespace = ? AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?
"""
_PLACES: Final = "SELECT DISTINCT namespace FROM entries INDEXED BY entries_name WHERE name = ? AND kind = ?"
_NEXT_KIND: Final = "SELECT min(kind) FROM entries WHERE kind > ?"
_SEEN: Final = """
    SELECT DISTINCT kind, namespace, name FROM (SELECT kind, namespace, name FROM entries ORDER BY seq DESC LIMIT ?)
    WHERE name <> '' ORDER BY kind, name, namespace
"""
_SEEN_OF: Final = """
    SELECT DISTINCT kind, namespace, name FROM entries NOT INDEXED
    WHERE seq IN (SELECT value FROM json_each(?)) AND name <> '' ORDER BY kind, name, namespace
"""


def of_object(
    connection: sqlite3.Connection,
    kind: str,
    namespace: str,
    name: str,
    *,
    group: str | None = None,
    uid: str = "",
    since: int | None = None,
    until: int | None = None,
    most: int = MOST,
) -> Iterator[Entry]:
    """Yield the newest `most` entries of an object, subresources included, oldest first.

    Times are unix milliseconds, `until` exclusive. `group` and `uid` leave out others of the same name; entries without
    a uid stay. Entries that cannot be read are passed over.
    """
    low = 0 if since is None else first_sequence_at(since)
    high = (1 << 63) - 1 if until is None else first_sequence_at(until)
    newest = connection.execute(_OF_OBJECT, (name, kind, namespace, low, high, most)).fetchall()
    for _, body in bodies(connection, (seq for (seq,) in reversed(newest))):
        try:
            entry = read_entry(body)
        except UNREADABLE:
            continue
        resource = entry.resource
        if (group is None or resource.group == group) and (not uid or resource.uid in ("", uid)):
            yield entry


def namespaces_of(connection: sqlite3.Connection, kind: str, name: str) -> list[str]:
    """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""
    return sorted(namespace for (namespace,) in connection.execute(_PLACES, (name, kind)))


def known_kinds(connection: sqlite3.Connection) -> list[str]:
    """Return the kinds that the ledger has entries of, by one step in the index for each."""
    kinds: list[str] = []
    kind = ""
    while len(kinds) < _MOST_KINDS:
        (kind,) = connection.execute(_NEXT_KIND, (kind,)).fetchone()
        if kind is None:
            break
        kinds.append(kind)
    return kinds


def recent_objects(connection: sqlite3.Connection, scope: Scope | None = None) -> list[tuple[str, str, str]]:
    """Return kind, namespace and name of what changed lately, for completion."""
    if scope is None:
        return connection.execute(_SEEN, (_RECENT,)).fetchall()
    newest = list(itertools.islice(sequences(connection, scope), _RECENT))
    return connection.execute(_SEEN_OF, (json.dumps(newest),)).fetchall()
