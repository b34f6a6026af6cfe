"""What the journal knows of failed Jobs: whether one was recorded already, by the uid of the Job."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from app.store.encoding import UNREADABLE, inflated


class _Resource(msgspec.Struct):
    uid: str = ""


class _Entry(msgspec.Struct):
    resource: _Resource


_entries: Final = msgspec.json.Decoder(_Entry)
# Found by its name: with `operation <> 'UPDATE'` the planner would look through all failures there ever were.
_FAILURES: Final = """
    SELECT body FROM entries
    WHERE operation = 'FAILED' AND kind = 'Job' AND namespace = ? AND name = ?
    ORDER BY seq DESC
"""


def is_recorded(connection: sqlite3.Connection, namespace: str, name: str, uid: str) -> bool:
    """Say whether there is an entry of this very Job's failure."""
    return any(_uid(body) == uid for (body,) in connection.execute(_FAILURES, (namespace, name)))


def _uid(body: bytes) -> str:
    try:
        return _entries.decode(inflated(body)).resource.uid
    except UNREADABLE:
        return ""
