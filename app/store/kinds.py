"""Which kinds of custom resources the ledger has seen, so that a restart does not forget their names."""

from __future__ import annotations

import sqlite3
from typing import Final

from app.core.kinds import kind_of
from app.store.encoding import read_entry

_NEXT_KIND: Final = "SELECT min(kind) FROM entries WHERE kind > ?"
_NEWEST: Final = "SELECT body FROM entries WHERE kind = ? ORDER BY seq DESC LIMIT 1"
_MOST: Final = 1000


def custom_kinds(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return the kinds by group and plural, as their newest entries have them; one step in the index per kind."""
    found: dict[tuple[str, str], str] = {}
    kind = ""
    for _ in range(_MOST):
        (kind,) = connection.execute(_NEXT_KIND, (kind,)).fetchone()
        if kind is None:
            break
        resource = read_entry(connection.execute(_NEWEST, (kind,)).fetchone()[0]).resource
        if resource.kind != resource.resource and kind_of(resource.group, resource.resource) is None:
            found[resource.group, resource.resource] = resource.kind
    return found
