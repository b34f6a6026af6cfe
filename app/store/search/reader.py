"""The reading side of the index: which entries may match, newest first, and how many there are."""

from __future__ import annotations

import bisect
import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from app.store.scope import Scope
from app.store.search.file import (
    PARTITION,
    DamagedIndexError,
    UnusableIndexError,
    beside,
    discard,
    identity,
    is_damage,
    open_reader,
    partitions,
    table_of,
)
from app.store.search.query import COLUMNS, Query, needle
from app.store.search.shapes import matching
from app.store.search.texts import expression, rarest, runs
from app.store.search.writer import ACTORS, uid_number

logger = structlog.get_logger(__name__)

_FIRST_FROM: Final = "SELECT seq FROM facts WHERE ordinal >= ? ORDER BY ordinal LIMIT 1"
_IN: Final = "namespace IN (SELECT value FROM json_each(?))"
_FEW: Final = 2000
"""Entries that are rather read than looked up by their text."""

_SMALL: Final = 20_000
"""Entries of namespaces that are rather sorted by their ordinal number than looked for among all."""

_SORTED: Final = 100_000
"""Entries that are rather sorted by their user than found in an index, of which a million take 120 ms."""

_ACTORS: Final = """
    WITH parts AS (
        SELECT username, count(*) AS number, max(ordinal) AS newest FROM facts {facts}
        WHERE ordinal >= ? AND ordinal < ? AND username <> ? AND {within} GROUP BY namespace, username
    ), users AS (SELECT username, sum(number) AS total, max(newest) AS newest FROM parts GROUP BY username)
    SELECT value, total, seq FROM users
    CROSS JOIN terms ON terms.id = users.username CROSS JOIN facts ON ordinal = newest
"""
_DISTINCT: Final = """
    SELECT DISTINCT {column} FROM facts INDEXED BY facts_{column}
    WHERE namespace IN (SELECT value FROM json_each(?)) AND ordinal >= ?
"""
_STEPS: Final = """
    WITH RECURSIVE bounds (listed, oldest) AS (SELECT ?, ?), steps (place, word) AS (
        SELECT value, (SELECT min({column}) FROM facts INDEXED BY facts_{column} WHERE namespace = value)
        FROM json_each((SELECT listed FROM bounds))
        UNION ALL
        SELECT place, (
            SELECT min({column}) FROM facts INDEXED BY facts_{column} WHERE namespace = place AND {column} > word
        ) FROM steps WHERE word IS NOT NULL
    )
    SELECT DISTINCT word FROM steps WHERE word IS NOT NULL AND EXISTS (
        SELECT 1 FROM facts INDEXED BY facts_{column}
        WHERE namespace = place AND {column} = word AND ordinal >= (SELECT oldest FROM bounds)
    )
"""
"""The same, by one step in the index for each value of a namespace: for what has few values."""

_WORDS: Final = """
    SELECT value FROM terms WHERE id IN ({values}) AND value <> '' AND substr(value, 1, length(?)) = ?
    ORDER BY value LIMIT ?
"""
_FAILED: Final = "SELECT id FROM terms WHERE value = 'FAILED'"


class Count(msgspec.Struct, frozen=True):
    """Entries, and how many of them are of failed Jobs."""

    total: int
    failed: int


class ActorCount(msgspec.Struct, frozen=True):
    """How many entries an actor made, and the sequence number of the newest."""

    username: str
    total: int
    newest: int


class _Filter(msgspec.Struct, frozen=True):
    """A query as the index has it: a condition on `facts`, and an FTS5 expression, empty where no text is wanted.

    `facts` says how the table is read: forward and back as a rule, which takes 50 ms for a million entries, since the
    planner knows no statistics and would sort many; by the namespaces where these have few entries.
    """

    where: str
    parameters: tuple[str | int, ...]
    text: str
    facts: str


class SearchIndex:
    """Reads the index; raises UnusableIndexError from every method where it turns out to be of no use."""

    def __init__(self, journal: Path) -> None:
        self._path = beside(journal)
        self._identity = identity(self._path)
        try:
            self._connection = open_reader(self._path)
        except DamagedIndexError as error:
            self._discard(error)
            raise
        with self._judged():
            self._newest, self._end = self._connection.execute("SELECT newest, ordinal FROM state").fetchone()

    @property
    def newest(self) -> int:
        """The highest sequence number that is indexed, as of the opening; what is newer must be read."""
        return int(self._newest)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def sequences(self, query: Query, since: int, until: int | None, scope: Scope | None = None) -> Iterator[int]:
        """Yield the sequence numbers, at least `since` and below `until`, of what may match; newest first.

        Nothing that matches is left out, but what is out of scope. Only `q` and `path` can let too much pass.
        """
        with self._judged():
            wanted = self._filter(query, scope)
            low, high = self._span(since, until)
            if wanted is None:
                return
            few = self._few(wanted, low, high)
            if few is not None:
                yield from few
                return
            for first, end in self._parts(wanted, low, high):
                for (seq,) in self._connection.execute(
                    f"SELECT seq {_source(wanted, first)} ORDER BY {_ordinal(wanted, first)} DESC",
                    _parameters(wanted, first, end),
                ):
                    yield seq

    def counts(self, query: Query, edges: list[int], scope: Scope | None = None) -> list[Count]:
        """Count what may match from each sequence number in `edges` up to the next one."""
        with self._judged():
            wanted = self._filter(query, scope)
            if wanted is None:
                return [Count(0, 0)] * (len(edges) - 1)
            failed = self._connection.execute(_FAILED).fetchone() or (-1,)
            ordinals = [min(self._ordinal_at(edge), self._end) for edge in edges]
            return [self._count(wanted, low, high, failed[0]) for low, high in itertools.pairwise(ordinals)]

    def actors(self, since: int, until: int, scope: Scope | None = None) -> list[ActorCount]:
        """Count the entries of each user name from one sequence number up to another."""
        with self._judged():
            low, high = self._ordinal_at(since), self._ordinal_at(until)
            within, parameters = ("1", list[str]()) if scope is None else (_IN, [json.dumps(self._numbers(scope))])
            facts = "NOT INDEXED" if high - low <= _SORTED else "INDEXED BY facts_username"
            rows = self._connection.execute(
                _ACTORS.format(facts=facts, within=within), (low, high, self._term("") or -1, *parameters)
            )
            return [ActorCount(*row) for row in rows]

    def words(self, column: str, beginning: str, since: int, scope: Scope, most: int) -> list[str]:
        """Return what a column has that begins so, in order, in entries of a scope from a sequence number on."""
        with self._judged():
            values = _DISTINCT if column == "name" else _STEPS
            parameters = (json.dumps(self._numbers(scope)), self._ordinal_at(since), beginning, beginning, most)
            rows = self._connection.execute(_WORDS.format(values=values.format(column=column)), parameters)
            return [value for (value,) in rows]

    def _count(self, wanted: _Filter, low: int, high: int, failed: int) -> Count:
        total = failures = 0
        for first, end in self._parts(wanted, low, high):
            row = self._connection.execute(
                f"SELECT count(*), coalesce(sum(operation = {failed}), 0) {_source(wanted, first)}",
                _parameters(wanted, first, end),
            ).fetchone()
            total, failures = total + row[0], failures + row[1]
        return Count(total, failures)

    def _few(self, wanted: _Filter, low: int, high: int) -> list[int] | None:
        """Return what all but the text tells, where that is so little that the text need not be asked for."""
        if not (wanted.text and wanted.parameters):
            return None
        rows = self._connection.execute(
            f"SELECT seq FROM {wanted.facts} WHERE ordinal >= ? AND ordinal < ? AND {wanted.where}"
            " ORDER BY ordinal DESC LIMIT ?",
            (low, high, *wanted.parameters, _FEW + 1),
        ).fetchall()
        return [seq for (seq,) in rows] if len(rows) <= _FEW else None

    def _filter(self, query: Query, scope: Scope | None) -> _Filter | None:
        """Translate a query; None where it names what no entry in scope has."""
        names = [*((column, getattr(query, column)) for column in COLUMNS), ("grp", query.group)]
        numbers: list[tuple[str, int | None]] = [(column, self._term(value)) for column, value in names if value]
        if query.uid:
            numbers.append(("uid", uid_number(query.uid)))
        if query.actor:
            numbers.append(("actor", ACTORS[query.actor]))
        if query.dry_run is not None:
            numbers.append(("dry_run", query.dry_run))
        conditions, parameters = ["1", *(f"{column} = ?" for column, _ in numbers)], list[str | int]()
        for _, number in numbers:
            if number is None:
                return None
            parameters.append(number)
        namespaces = [number for column, number in numbers if column == "namespace" and number is not None]
        if scope is not None:
            namespaces = self._numbers(scope)
            conditions.append(_IN)
            parameters.append(json.dumps(namespaces))
            if not namespaces:
                return None
        if query.path:
            conditions.append("shape IN (SELECT value FROM json_each(?))")
            parameters.append(json.dumps(matching(self._connection, query.path)))
        facts = "facts INDEXED BY facts_kind" if self._are_small(namespaces) else "facts NOT INDEXED"
        return _Filter(" AND ".join(conditions), tuple(parameters), self._text(query.q), facts)

    def _are_small(self, namespaces: Sequence[int]) -> bool:
        """Say whether there are namespaces to look for, and rather their entries are read than all."""
        few = f"SELECT count(*) FROM (SELECT 1 FROM facts INDEXED BY facts_kind WHERE {_IN} LIMIT ?)"
        (number,) = self._connection.execute(few, (json.dumps(namespaces), _SMALL + 1)).fetchone()
        return bool(namespaces) and number <= _SMALL

    def _numbers(self, scope: Scope) -> list[int]:
        rows = self._connection.execute(
            "SELECT id FROM terms WHERE value IN (SELECT value FROM json_each(?))", (scope.listed,)
        )
        return [number for (number,) in rows]

    def _term(self, value: str) -> int | None:
        row = self._connection.execute("SELECT id FROM terms WHERE value = ?", (value,)).fetchone()
        return row[0] if row else None

    def _text(self, q: str) -> str:
        wanted, known = runs(needle(q)) if q else [], partitions(self._connection)
        if not wanted or not known:
            return ""
        # A table that was just begun tells little of how common a run is.
        return expression(rarest(self._connection, known[-2:][0], wanted))

    def _parts(self, wanted: _Filter, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of ordinal numbers to ask for one by one, newest first."""
        if low >= high:
            return
        if not wanted.text:
            yield low, high
            return
        for partition in reversed(partitions(self._connection)):
            first, end = max(low, partition * PARTITION), min(high, (partition + 1) * PARTITION)
            if first < end:
                yield first, end

    def _span(self, since: int, until: int | None) -> tuple[int, int]:
        return self._ordinal_at(since), self._end if until is None else self._ordinal_at(until)

    def _ordinal_at(self, seq: int) -> int:
        """Return the first ordinal number from which on all entries have at least this sequence number."""
        (low,) = self._connection.execute("SELECT coalesce(min(ordinal), 0) FROM facts").fetchone()
        return bisect.bisect_left(range(self._end), seq, lo=min(low, self._end), key=self._sequence_from)

    def _sequence_from(self, ordinal: int) -> int:
        row = self._connection.execute(_FIRST_FROM, (ordinal,)).fetchone()
        return int(row[0]) if row else self._newest + 1

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Have a damaged file thrown away: the indexer begins a new one when it is gone."""
        try:
            yield
        except sqlite3.Error as error:
            if is_damage(error):
                self._discard(error)
            raise UnusableIndexError(str(error)) from error

    def _discard(self, error: Exception) -> None:
        if identity(self._path) != self._identity:  # another one is there by now
            return
        logger.warning("search index is damaged", action="discard", error=str(error))
        try:
            discard(self._path)
        except OSError as refusal:  # only the server may; it will find out when it writes
            logger.debug("search index stays", action="discard", error=str(refusal))


def opened(journal: Path) -> SearchIndex | None:
    """Open the index beside a journal; None where there is none to rely on."""
    try:
        return SearchIndex(journal)
    except UnusableIndexError:
        return None


def _ordinal(wanted: _Filter, first: int) -> str:
    return f"{table_of(first // PARTITION)}.rowid" if wanted.text else "ordinal"


def _source(wanted: _Filter, first: int) -> str:
    if not wanted.text:
        return f"FROM {wanted.facts} WHERE ordinal >= ? AND ordinal < ? AND {wanted.where}"
    table = table_of(first // PARTITION)
    return (
        f"FROM {table} CROSS JOIN facts NOT INDEXED ON facts.ordinal = {table}.rowid"
        f" WHERE {table} MATCH ? AND {table}.rowid >= ? AND {table}.rowid < ? AND {wanted.where}"
    )


def _parameters(wanted: _Filter, first: int, end: int) -> tuple[str | int, ...]:
    text = (wanted.text,) if wanted.text else ()
    return (*text, first, end, *wanted.parameters)
