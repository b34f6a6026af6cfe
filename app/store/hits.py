"""How often each playbook found something, as the findings in the journal tell."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Final

from app.store.encoding import read_finding_head
from app.store.reading import Hits
from app.store.scope import WITHIN, Scope, is_small

_MOST: Final = 20_000
"""Findings that are counted: reading one costs some microseconds."""

_ALL: Final = "SELECT f.seq, f.ordinal FROM findings AS f WHERE f.seq >= ? ORDER BY f.seq DESC LIMIT ?"
_OF_SMALL: Final = f"""
    SELECT f.seq, f.ordinal FROM entries AS e INDEXED BY entries_namespace CROSS JOIN findings AS f ON f.seq = e.seq
    WHERE e.seq >= ? AND e.{WITHIN} ORDER BY f.seq DESC LIMIT ?
"""
_OF_LARGE: Final = f"""
    SELECT f.seq, f.ordinal FROM findings AS f CROSS JOIN entries AS e ON e.seq = f.seq
    WHERE f.seq >= ? AND e.{WITHIN} ORDER BY f.seq DESC LIMIT ?
"""
_BODY: Final = "SELECT body FROM findings WHERE seq = ? AND ordinal = ?"


def hits(connection: sqlite3.Connection, since: int, scope: Scope | None) -> Hits:
    """Count the newest findings by their playbook, from a sequence number on."""
    if scope is None:
        found = connection.execute(_ALL, (since, _MOST + 1)).fetchall()
    else:
        chosen = _OF_SMALL if is_small(connection, scope, since) else _OF_LARGE
        found = connection.execute(chosen, (since, scope.listed, _MOST + 1)).fetchall()
    bodies = (connection.execute(_BODY, place).fetchone() for place in found[:_MOST])
    playbooks = Counter(read_finding_head(row[0]).playbook for row in bodies if row)
    return Hits(dict(playbooks), len(found) <= _MOST)
