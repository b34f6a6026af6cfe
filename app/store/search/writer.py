"""The writing side of the index: what is remembered of an entry, and how it is forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from app.core.actors import actor_kind
from app.store.encoding import UNREADABLE, inflated
from app.store.search.file import PARTITION, add_partition, identity, open_writer, partitions, table_of
from app.store.search.query import folded
from app.store.search.shapes import UNKNOWN, Change, digest_of, shape_of

Row = tuple[int, str, str, str, str, str, bytes]
"""A row of the journal's `entries`."""

ACTORS: Final = {"": 0, "human": 1, "controller": 2}

_INSERT: Final = "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STEP: Final = 500
_CACHED: Final = 20_000
_UID_BYTES: Final = 7
_USED: Final = " UNION ".join(f"SELECT {each} FROM facts" for each in ("kind", "namespace", "name", "username"))
_UNUSED: Final = (
    f"DELETE FROM terms WHERE id NOT IN ({_USED} UNION SELECT operation FROM facts UNION SELECT grp FROM facts)",
    f"DELETE FROM shapes WHERE id <> {UNKNOWN} AND id NOT IN (SELECT shape FROM facts)",
)


class _Resource(msgspec.Struct, frozen=True):
    group: str = ""
    uid: str = ""


class _Body(msgspec.Struct):
    resource: _Resource = _Resource()
    dry_run: bool = False
    changes: list[Change] = []


_bodies: Final = msgspec.json.Decoder(_Body)


def uid_number(uid: str) -> int:
    """Return the number that stands for an object's uid; the same one for two of them comes up once in 10^16."""
    return int.from_bytes(hashlib.blake2b(uid.encode("utf-8"), digest_size=_UID_BYTES).digest(), "big") if uid else 0


class SearchWriter:
    """Writes the index file; each method is one transaction. Not for concurrent use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_writer(path)
        self._identity = identity(path)
        self._terms: dict[str, int] = {}
        self._shapes: dict[bytes, int] = {}

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that has this name."""
        return identity(self.path) == self._identity

    @property
    def newest(self) -> int:
        """The highest sequence number that was ever added."""
        return int(self._connection.execute("SELECT newest FROM state").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Remember entries, one at least, which are newer than all before and come oldest first."""
        with self._transaction():
            (ordinal,) = self._connection.execute("SELECT ordinal FROM state").fetchone()
            for row in rows:
                if ordinal % PARTITION == 0:
                    self._begin_partition(ordinal // PARTITION)
                self._add(ordinal, row)
                ordinal += 1
            self._connection.execute("UPDATE state SET ordinal = ?, newest = ?", (ordinal, row[0]))

    def oldest(self, after: int) -> list[tuple[int, int]]:
        """Return the oldest entries above an ordinal number: their ordinal and sequence numbers, one step's worth."""
        return self._connection.execute(
            "SELECT ordinal, seq FROM facts WHERE ordinal > ? ORDER BY ordinal LIMIT ?", (after, _STEP)
        ).fetchall()

    def remove(self, ordinals: Sequence[int]) -> None:
        """Forget entries by their ordinal numbers."""
        with self._transaction():
            self._connection.executemany("DELETE FROM facts WHERE ordinal = ?", [(each,) for each in ordinals])

    def shrink(self) -> None:
        """Drop the texts of which nothing is left, and give the space back."""
        (oldest, following) = self._connection.execute(
            "SELECT (SELECT min(ordinal) FROM facts), ordinal FROM state"
        ).fetchone()
        first = (following if oldest is None else oldest) // PARTITION
        emptied = [each for each in partitions(self._connection) if each < first]
        if emptied:
            with self._transaction():
                for partition in emptied:
                    self._connection.execute(f"DROP TABLE {table_of(partition)}")
                for statement in _UNUSED:
                    self._connection.execute(statement)
            self._terms.clear()
            self._shapes.clear()
            self._connection.executescript("PRAGMA incremental_vacuum")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # What was interned may be in the transaction that comes to nothing.
            self._terms.clear()
            self._shapes.clear()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _begin_partition(self, partition: int) -> None:
        add_partition(self._connection, partition)
        if partition:
            before = table_of(partition - 1)
            if partition - 1 in partitions(self._connection):  # one b-tree, as nothing is added to it any more
                self._connection.execute(f"INSERT INTO {before} ({before}) VALUES ('optimize')")

    def _add(self, ordinal: int, row: Row) -> None:
        seq, kind, namespace, name, username, operation, deflated = row
        body, text = _read(deflated)
        shape = None if body is None else shape_of(body.changes)
        facts = _Body() if body is None else body
        terms = (self._term(term) for term in (kind, namespace, name, username, operation, facts.resource.group))
        actor = ACTORS[actor_kind(username) if username else ""]
        uid = uid_number(facts.resource.uid)
        self._connection.execute(_INSERT, (ordinal, seq, *terms, uid, actor, facts.dry_run, self._shape(shape)))
        if text is not None:
            table = table_of(ordinal // PARTITION)
            self._connection.execute(f"INSERT INTO {table} (rowid, text) VALUES (?, ?)", (ordinal, text))

    def _term(self, value: str) -> int:
        if (known := self._terms.get(value)) is not None:
            return known
        if len(self._terms) >= _CACHED:
            self._terms.clear()
        self._connection.execute("INSERT OR IGNORE INTO terms (value) VALUES (?)", (value,))
        (found,) = self._connection.execute("SELECT id FROM terms WHERE value = ?", (value,)).fetchone()
        self._terms[value] = found
        return int(found)

    def _shape(self, paths: bytes | None) -> int:
        if paths is None:
            return UNKNOWN
        digest = digest_of(paths)
        if (known := self._shapes.get(digest)) is not None:
            return known
        if len(self._shapes) >= _CACHED:
            self._shapes.clear()
        self._connection.execute(
            "INSERT OR IGNORE INTO shapes (digest, paths) VALUES (?, ?)", (digest, paths.decode("utf-8"))
        )
        (found,) = self._connection.execute("SELECT id FROM shapes WHERE digest = ?", (digest,)).fetchone()
        self._shapes[digest] = found
        return int(found)


def _read(deflated: bytes) -> tuple[_Body | None, str | None]:
    """Read an entry; None for what cannot be read."""
    try:
        document = inflated(deflated)
        text = folded(document)
    except UNREADABLE:
        return None, None
    try:
        return _bodies.decode(document), text
    except UNREADABLE:
        return None, text
