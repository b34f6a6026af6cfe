"""Disks that fail: a full one and one that hangs, without privileges."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from tests.system.server import Server

ROOM: Final = 32 * 1024
"""Bytes that files may still grow by when the disk is about to be full: a few entries."""


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Let no file of the server grow beyond what its largest one needs at the moment, and a little more.

    The limit on the size of a process' files stands in for the disk: the write fails in the same place.
    """
    before = resource.prlimit(server.process_id, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in server.data.iterdir())
    resource.prlimit(server.process_id, resource.RLIMIT_FSIZE, (largest + ROOM, before[1]))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(server.process_id, resource.RLIMIT_FSIZE, before)


@contextmanager
def stalled_disk(server: Server) -> Iterator[None]:
    """Let no commit end. A second connection that holds the journal's write lock stands in for the disk."""
    with closing(sqlite3.connect(server.data / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
