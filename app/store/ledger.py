"""The reading side: entries by filter, newest first, page by page."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.finding import Finding
from app.core.identity import first_sequence_at, sequence_of, sequence_range
from app.core.paths import Pattern, compile_pattern, parse
from app.store.database import connect_reader
from app.store.encoding import UNREADABLE, inflated, read_document, read_finding

_COLUMNS: Final = ("kind", "namespace", "name", "username", "operation")
_SCAN_SECONDS: Final = 0.25
"""How long a page looks for entries that no index finds; then it ends early, with a cursor to go on from."""

_PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends with the entry that reaches this, however few it holds: entries may be megabytes each."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. Empty fields do not matter; times are unix milliseconds, `until` exclusive.

    `path` is a field pattern that one of the changed fields must match; `dry_run` leaves dry runs or all others out;
    `q` must occur in the entry, in any case.
    """

    kind: str = ""
    namespace: str = ""
    name: str = ""
    username: str = ""
    operation: str = ""
    path: str = ""
    dry_run: bool | None = None
    since: int | None = None
    until: int | None = None
    q: str = ""


class Page(msgspec.Struct, frozen=True):
    """Entries as JSON, newest first, and the sequence number to continue below; None at the end."""

    items: list[msgspec.Raw]
    next: int | None


class _Change(msgspec.Struct):
    path: str
    old: Any = None
    new: Any = None


class _Changes(msgspec.Struct):
    changes: list[_Change] = []


class _DryRun(msgspec.Struct):
    dry_run: bool = False


_changes: Final = msgspec.json.Decoder(_Changes)
_dry_runs: Final = msgspec.json.Decoder(_DryRun)


class Ledger:
    """Reads the journal file beside its writer. Not for concurrent use; each thread takes its own."""

    def __init__(self, path: Path) -> None:
        self._connection = connect_reader(path)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the other lists of the store."""
        return self._connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first.

        A filter that no index answers is looked for within a budget of time, and a page of about 8 MiB is full: it may
        hold fewer entries, or none, and still have a `next`.
        """
        matches = _predicate(query)
        items: list[msgspec.Raw] = []
        room = _PAGE_BYTES
        deadline = time.monotonic() + _SCAN_SECONDS
        for sequence, body in self._rows(query, before):
            document = inflated(body)
            if matches(document):
                items.append(msgspec.Raw(document))
                room -= len(document)
                if len(items) == limit or room <= 0:
                    return Page(items, sequence)
            elif time.monotonic() > deadline:
                return Page(items, sequence)
        return Page(items, None)

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

    def _rows(self, query: Query, before: int | None) -> Iterator[tuple[int, bytes]]:
        conditions, parameters = ["1"], list[str | int]()
        for column in _COLUMNS:
            if value := getattr(query, column):
                conditions.append(f"{column} = ?")
                parameters.append(value)
        if query.operation not in ("", "UPDATE"):
            conditions.append("operation <> 'UPDATE'")  # which lets the partial index be used
        bounds = (
            ("seq >= ?", None if query.since is None else first_sequence_at(query.since)),
            ("seq < ?", None if query.until is None else first_sequence_at(query.until)),
            ("seq < ?", before),
        )
        for condition, bound in bounds:
            if bound is not None:
                conditions.append(condition)
                parameters.append(bound)
        where = " AND ".join(conditions)
        return self._connection.execute(f"SELECT seq, body FROM entries WHERE {where} ORDER BY seq DESC", parameters)


def _predicate(query: Query) -> Callable[[bytes], bool]:
    """Return the test for what only the body tells."""
    tests: list[Callable[[bytes], bool]] = []
    if query.dry_run is not None:
        tests.append(lambda document: _dry_runs.decode(document).dry_run is query.dry_run)
    if query.q:
        # As it is written inside a JSON string: a quote or a line break of the search is one of the entry's values.
        wanted = msgspec.json.encode(query.q)[1:-1].decode("utf-8").casefold()
        tests.append(lambda document: wanted in document.decode("utf-8").casefold())
    if query.path:
        pattern = compile_pattern(query.path)
        tests.append(lambda document: any(_touches(pattern, each) for each in _changes.decode(document).changes))
    return lambda document: all(test(document) for test in tests)


def _touches(pattern: Pattern, change: _Change) -> bool:
    try:
        return pattern.touches(parse(change.path), change.old, change.new)
    except ValueError:  # a field whose name is empty cannot be meant by a pattern
        return False
