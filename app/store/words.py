"""The values that a field of the entries has, for completion."""

from __future__ import annotations

import itertools
import json
import sqlite3
from typing import Final

from app.store.reading import Field
from app.store.scope import Scope, first_kept, sequences
from app.store.search.file import UnusableIndexError
from app.store.search.reader import SearchIndex

_MOST: Final = 1000
_READ: Final = 20_000
"""Entries that are read, the newest, where the search index does not tell."""

_OF_ENTRIES: Final = """
    SELECT DISTINCT {field} FROM entries NOT INDEXED WHERE seq IN (SELECT value FROM json_each(?))
"""


def words(connection: sqlite3.Connection, field: Field, beginning: str) -> list[str]:
    """Return the values that begin so, in order: one step in an index for each, however often it is there."""
    found: list[str] = []
    value = beginning if _has(connection, field, beginning) else _next(connection, field, beginning)
    while value is not None and value.startswith(beginning) and len(found) < _MOST:
        found.append(value)
        value = _next(connection, field, value)
    return [value for value in found if value]


def words_in_scope(
    connection: sqlite3.Connection, index: SearchIndex | None, field: Field, beginning: str, scope: Scope
) -> list[str]:
    """Return the same of the entries in scope; of those that the search index lacks, the newest are read."""
    if field == "namespace":
        names = sorted(each for each in scope.namespaces if each and each.startswith(beginning))
        return list(itertools.islice((each for each in names if _has(connection, field, each)), _MOST))
    known, unread = list[str](), 0
    if index is not None:
        try:
            known = index.words(field, beginning, first_kept(connection), scope, _MOST)
            unread = index.newest + 1
        except UnusableIndexError:
            pass
    newest = json.dumps(list(itertools.islice(sequences(connection, scope, unread), _READ)))
    read = [value for (value,) in connection.execute(_OF_ENTRIES.format(field=field), (newest,))]
    return sorted({*known, *(value for value in read if value and value.startswith(beginning))})[:_MOST]


def _next(connection: sqlite3.Connection, field: Field, after: str) -> str | None:
    """Return what follows a value in an index."""
    (found,) = connection.execute(f"SELECT min({field}) FROM entries WHERE {field} > ?", (after,)).fetchone()
    return None if found is None else str(found)


def _has(connection: sqlite3.Connection, field: Field, value: str) -> bool:
    row = connection.execute(f"SELECT 1 FROM entries WHERE {field} = ? LIMIT 1", (value,)).fetchone()
    return row is not None
