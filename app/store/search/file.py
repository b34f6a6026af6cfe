"""The file of the index: made, opened, and thrown away.

It is written without syncs, since these would hold up the journal's on the same disk. Then the end of the process harms
nothing, but a power cut may leave anything at all: a file of another boot of the machine is not believed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

FILE_NAME: Final = "search.db"
PARTITION: Final = 1 << 16
"""Entries that share a full-text table. Forgetting drops whole tables: a row cannot be taken out without its text."""

_VERSION: Final = 2
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What the surroundings refuse; every other error says that the file is not what we wrote."""

_SCHEMA: Final = """
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN IMMEDIATE;
    CREATE TABLE state (boot TEXT NOT NULL, ordinal INTEGER NOT NULL, newest INTEGER NOT NULL);
    CREATE TABLE terms (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
    CREATE TABLE shapes (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, paths TEXT NOT NULL);
    CREATE TABLE facts (
        ordinal INTEGER PRIMARY KEY, seq INTEGER NOT NULL,
        kind INTEGER NOT NULL, namespace INTEGER NOT NULL, name INTEGER NOT NULL, username INTEGER NOT NULL,
        operation INTEGER NOT NULL, grp INTEGER NOT NULL, uid INTEGER NOT NULL,
        actor INTEGER NOT NULL, dry_run INTEGER NOT NULL, shape INTEGER NOT NULL
    );
    CREATE INDEX facts_kind ON facts (namespace, kind);
    CREATE INDEX facts_name ON facts (namespace, name);
    CREATE INDEX facts_username ON facts (namespace, username);
"""
_TEXTS: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5"
    " (text, content = '', columnsize = 0, detail = none, tokenize = 'trigram case_sensitive 1')"
)


class UnusableIndexError(Exception):
    """The index is missing, of another version or boot, or damaged."""


class DamagedIndexError(UnusableIndexError):
    """The index is not what was written."""


def beside(journal: Path) -> Path:
    """Return where the index of a journal is."""
    return journal.with_name(FILE_NAME)


def table_of(partition: int) -> str:
    """Return the name of a full-text table."""
    return f"texts_{partition}"


def partitions(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the full-text tables, in order."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    return sorted(int(name.rpartition("_")[2]) for (name,) in rows)


def add_partition(connection: sqlite3.Connection, partition: int) -> None:
    """Make a full-text table, unless it is there."""
    connection.execute(_TEXTS.format(table=table_of(partition)))


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the index for reading; raises UnusableIndexError where there is none to rely on."""
    return _opened(path, "ro")


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the index for writing; one that cannot be relied on gives way to an empty one."""
    try:
        connection = _opened(path, "rw")
    except UnusableIndexError:
        discard(path)
        connection = _made(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Tell a file that is not what was written from a disk or a lock that refuses at the moment."""
    return (getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF) not in _PASSING


def discard(path: Path) -> None:
    """Delete the file; who has it open keeps what is there until then, and whoever fills it begins anew."""
    for suffix in ("-wal", "-shm", ""):  # the log first: a new file must never meet it
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def identity(path: Path) -> tuple[int, int]:
    """Return what tells this file from another one that takes its place; zeros for none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _made(path: Path) -> sqlite3.Connection:
    # It holds what the journal holds, and is as private.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = _connected(path, "rw")
    connection.executescript(_SCHEMA)
    connection.execute("INSERT INTO state VALUES (?, 0, 0)", (_boot(),))
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")
    return connection


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    if not path.exists():
        raise UnusableIndexError("there is none")
    connection = _connected(path, mode)
    try:
        _check(connection)
    except UnusableIndexError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise (DamagedIndexError if is_damage(error) else UnusableIndexError)(str(error)) from error
    return connection


def _check(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise UnusableIndexError(f"it has version {version}, not {_VERSION}")
    (boot,) = connection.execute("SELECT boot FROM state").fetchone()
    if boot != _boot():
        raise UnusableIndexError("the machine was started since")


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA busy_timeout = 1000")
    return connection


def _boot() -> str:
    """Return what is another one after each start of the machine; empty where nothing tells."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
