"""Connections to the journal file, and its schema."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final, Literal

Synchronous = Literal["FULL", "NORMAL"]

FILE_NAME: Final = "journal.db"
_BUSY_MILLISECONDS: Final = 5000


class StoreError(Exception):
    """The journal cannot be used."""


class IncompatibleSchemaError(StoreError):
    """The journal was written by a newer version of this program."""


class JournalInUseError(StoreError):
    """Another process writes to this data directory."""


def locked(path: Path) -> int:
    """Take the lock of a data directory; closing the descriptor, or the end of the process, gives it back.

    Raises JournalInUseError where another process has it.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalInUseError(
            f"{path.parent} is in use by another kubewitness; stop it, or choose another --data-dir"
        ) from error
    return descriptor


def connect_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the journal for writing, in WAL mode, with its schema up to date.

    `FULL` syncs the WAL at every commit, so that a commit survives a power cut; with `NORMAL` it survives the end of
    the process, but a power cut may take the last commits (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    connection = _connect(path.absolute().as_uri() + "?mode=rwc")
    if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous == 'NORMAL' else 'FULL'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA cache_size = -16384")
    try:
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the journal for reading; raises StoreError where there is none."""
    if not path.exists():
        raise StoreError(f"there is no journal at {path}; is --data-dir the one that the server uses?")
    connection = _connect(path.absolute().as_uri() + "?mode=ro")
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect_editor(path: Path) -> sqlite3.Connection:
    """Open an existing journal for the few changes that people make beside a running server."""
    if not path.exists():
        raise StoreError(f"there is no journal at {path}; is --data-dir the one that the server uses?")
    connection = _connect(path.absolute().as_uri() + "?mode=rw")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    return connection


def migrations() -> list[tuple[int, str]]:
    """Return the numbered steps of the schema, in order."""
    folder = resources.files("app.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(int(file.name.split("_", 1)[0]), file.read_text("utf-8")) for file in files]


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the schema up to date, each step in a transaction of its own; return the version (`user_version`)."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = migrations()
    if version > steps[-1][0]:
        raise IncompatibleSchemaError(
            f"the journal has schema {version}, this program knows up to {steps[-1][0]}: a newer version wrote it"
        )
    for number, script in steps:
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    return steps[-1][0]
