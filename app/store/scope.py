"""The entries of some namespaces, by the journal's index: what somebody may see, however little of it that is."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

END: Final = (1 << 63) - 1
"""Above every sequence number."""

WITHIN: Final = "namespace IN (SELECT value FROM json_each(?))"
"""The condition of a column of namespaces; its parameter is `Scope.listed`."""

_CHUNK: Final = 100
_SMALL: Final = 100_000
"""Entries that are rather gone through than the findings or deliveries of all: each is a matter of a microsecond."""

_SEQUENCES: Final = """
    SELECT seq FROM entries INDEXED BY entries_namespace WHERE namespace = {namespace} AND seq >= ? AND seq < ?
    ORDER BY seq {order} LIMIT {limit}
"""
_COUNT: Final = f"""
    SELECT count(*) FROM (SELECT 1 FROM entries INDEXED BY entries_namespace WHERE {WITHIN} AND seq >= ? LIMIT ?)
"""


class Scope(msgspec.Struct, frozen=True):
    """Namespaces, the empty one for objects of none; `listed` are the same as JSON, for SQL."""

    namespaces: frozenset[str]
    listed: str

    def __contains__(self, namespace: object) -> bool:
        """Say whether what is of this namespace is seen."""
        return namespace in self.namespaces


def scope_of(namespaces: frozenset[str]) -> Scope:
    """Return the scope of these namespaces; without those that no object can have and SQL could mistake for others."""
    possible = frozenset(each for each in namespaces if "\0" not in each)
    return Scope(possible, json.dumps(sorted(possible)))


NOTHING: Final = scope_of(frozenset())


def sequences(
    connection: sqlite3.Connection, scope: Scope, since: int = 0, until: int = END, *, oldest_first: bool = False
) -> Iterator[int]:
    """Yield the sequence numbers of a scope, at least `since` and below `until`, newest first unless told otherwise.

    Costs one step in the index for each namespace, and little for each number: nothing of others is read.
    """
    order = "ASC" if oldest_first else "DESC"
    first = _SEQUENCES.format(namespace="json_each.value", order=order, limit=1)
    heads = connection.execute(f"SELECT value, ({first}) AS head FROM json_each(?)", (since, until, scope.listed))
    following = _SEQUENCES.format(namespace="?", order=order, limit=_CHUNK)
    found = [(head, namespace) for namespace, head in heads if head is not None]
    yield from heapq.merge(
        *(
            _of_one(connection, following, namespace, head, (head + 1, until) if oldest_first else (since, head))
            for head, namespace in found
        ),
        reverse=not oldest_first,
    )


def _of_one(
    connection: sqlite3.Connection, sql: str, namespace: str, head: int, rest: tuple[int, int]
) -> Iterator[int]:
    """Yield the sequence numbers of one namespace: the known one, and those that are looked for when they are due."""
    since, until = rest
    yield head
    while chunk := [seq for (seq,) in connection.execute(sql, (namespace, since, until))]:
        yield from chunk
        since, until = (chunk[-1] + 1, until) if chunk[-1] > head else (since, chunk[-1])


def first_kept(connection: sqlite3.Connection) -> int:
    """Return the lowest sequence number; in an empty journal one above all that an index may still know."""
    return int(connection.execute("SELECT coalesce(min(seq), ?) FROM entries", (END,)).fetchone()[0])


def is_small(connection: sqlite3.Connection, scope: Scope, since: int = 0) -> bool:
    """Say whether it is rather gone through the entries of a scope than through what belongs to those of all."""
    (number,) = connection.execute(_COUNT, (scope.listed, since, _SMALL + 1)).fetchone()
    return int(number) <= _SMALL
