"""Which kinds of custom resources the ledger has seen, so that a restart does not forget their names."""

from __future__ import annotations

import sqlite3
import zlib
from typing import Final

import msgspec

from app.core.change import Resource
from app.core.kinds import kind_of
from app.store.encoding import inflated


class _Entry(msgspec.Struct):
    resource: Resource


_entries: Final = msgspec.json.Decoder(_Entry)

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
        resource = _resource(connection.execute(_NEWEST, (kind,)).fetchone()[0])
        if resource is not None and kind != resource.resource and kind_of(resource.group, resource.resource) is None:
            found[resource.group, resource.resource] = kind
    return found


def _resource(body: bytes) -> Resource | None:
    """Read what an entry was about; a row that cannot be read must not keep the program from starting."""
    try:
        return _entries.decode(inflated(body)).resource
    except (msgspec.MsgspecError, zlib.error, IndexError):
        return None
