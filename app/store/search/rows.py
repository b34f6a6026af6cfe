"""Entries that may match a query, newest first: by the index, and by reading what it lacks."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from app.store.scope import END, WITHIN, Scope, sequences
from app.store.search.file import UnusableIndexError
from app.store.search.query import COLUMNS, Condition, Query, bounds, conditions, is_answered_by_the_journal
from app.store.search.reader import SearchIndex

Row = tuple[int, bytes | None]
"""Sequence number and body of an entry; without a body: nothing matches from there up to the row before."""

_CHUNK: Final = 1000
"""Entries whose columns are compared at once, a matter of 3 ms."""

_Driver = Callable[[], Iterator[int]]


def rows(
    journal: sqlite3.Connection, index: SearchIndex | None, query: Query, before: int | None, scope: Scope | None
) -> Iterator[Row]:
    """Yield all that match and some that do not, newest first, below the sequence number `before`."""
    since, until = bounds(query, before)
    if index is None or is_answered_by_the_journal(query, within_scope=scope is not None):
        yield from scanned(journal, query, since, until, scope)
        return
    last = until
    try:
        for row in _by_index(journal, index, query, since, until, scope):
            last = row[0]
            yield row
    except UnusableIndexError:
        yield from scanned(journal, query, since, last, scope)


def scanned(
    journal: sqlite3.Connection, query: Query, since: int, until: int | None, scope: Scope | None
) -> Iterator[Row]:
    """Yield what the columns of the journal tell apart, from one sequence number up to another."""
    end, wanted = END if until is None else until, conditions(query)
    if scope is None and not query.actor and len(_columns(query)) <= 1:
        yield from _streamed(journal, wanted, since, end)
        return
    driver = _rarest(_drivers(journal, query, since, end, scope))
    if scope is not None:
        wanted.append((WITHIN, (scope.listed,)))
    while chunk := list(itertools.islice(driver, _CHUNK)):
        yield from bodies(journal, _fitting(journal, wanted, chunk))
        yield chunk[-1], None


def bodies(journal: sqlite3.Connection, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield entries by their sequence numbers, without those that were forgotten since."""
    for seq in numbers:
        row = journal.execute("SELECT seq, body FROM entries WHERE seq = ?", (seq,)).fetchone()
        if row is not None:
            yield row


def _by_index(
    journal: sqlite3.Connection, index: SearchIndex, query: Query, since: int, until: int | None, scope: Scope | None
) -> Iterator[Row]:
    yield from scanned(journal, query, max(since, index.newest + 1), until, scope)
    yield from bodies(journal, index.sequences(query, since, until, scope))


def _columns(query: Query) -> list[str]:
    return [column for column in COLUMNS if getattr(query, column)]


def _streamed(journal: sqlite3.Connection, wanted: Sequence[Condition], since: int, until: int) -> Iterator[Row]:
    """Yield what an index has in this order, or all."""
    where, parameters = _all_of(wanted)
    return journal.execute(
        f"SELECT seq, body FROM entries WHERE {where} AND seq >= ? AND seq < ? ORDER BY seq DESC",
        (*parameters, since, until),
    )


def _fitting(journal: sqlite3.Connection, wanted: Sequence[Condition], chunk: Sequence[int]) -> list[int]:
    """Return those of the sequence numbers whose columns are as wanted."""
    where, parameters = _all_of(wanted)
    found = journal.execute(
        f"SELECT seq FROM entries NOT INDEXED WHERE seq IN (SELECT value FROM json_each(?)) AND {where}"
        " ORDER BY seq DESC",
        (json.dumps(chunk), *parameters),
    )
    return [seq for (seq,) in found]


def _all_of(wanted: Sequence[Condition]) -> tuple[str, list[str | int]]:
    where = " AND ".join(["1", *(condition for condition, _ in wanted)])
    return where, [parameter for _, each in wanted for parameter in each]


def _drivers(journal: sqlite3.Connection, query: Query, since: int, until: int, scope: Scope | None) -> list[_Driver]:
    """Return the ways through all that can match: by each of the journal's indexes that has a part in the query."""
    found: list[_Driver] = []
    for column in _columns(query):
        if column != "operation":
            found.append(partial(_numbers, journal, f"{column} = ?", (getattr(query, column),), since, until))
        elif query.operation != "UPDATE":  # which the partial index leaves out
            found.append(
                partial(_numbers, journal, "operation = ? AND operation <> 'UPDATE'", (query.operation,), since, until)
            )
    if scope is not None:
        found.append(partial(sequences, journal, scope, since, until))
    return found or [partial(_numbers, journal, "1", (), since, until)]


def _numbers(
    journal: sqlite3.Connection, condition: str, parameters: tuple[str, ...], since: int, until: int
) -> Iterator[int]:
    found = journal.execute(
        f"SELECT seq FROM entries WHERE {condition} AND seq >= ? AND seq < ? ORDER BY seq DESC",
        (*parameters, since, until),
    )
    return (seq for (seq,) in found)


def _rarest(drivers: Sequence[_Driver]) -> Iterator[int]:
    """Return the way with the fewest steps: of what is rare, a thousand entries reach far back."""
    if len(drivers) == 1:
        return drivers[0]()
    return min(drivers, key=lambda driver: next(itertools.islice(driver(), _CHUNK, None), -1))()
