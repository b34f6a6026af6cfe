"""Texts: which entries can hold one, as the runs of three characters tell that they and the text have in common."""

from __future__ import annotations

import sqlite3
from typing import Final

from app.store.search.file import table_of
from app.store.search.query import needle

RUN: Final = 3
"""The length of what FTS5's trigram tokenizer indexes; shorter texts cannot be looked up."""

_ASKED: Final = 4
"""Runs that an entry is asked for. The rarest tell nearly all; a common one costs a look at every entry."""

_WEIGHED: Final = 48
_SAMPLE: Final = 63


def runs(needle: str) -> list[str]:
    """Return the different runs of a text, in order; empty for one that is too short."""
    return list(dict.fromkeys(needle[start : start + RUN] for start in range(len(needle) - RUN + 1)))


def rarest(connection: sqlite3.Connection, partition: int, wanted: list[str]) -> list[str]:
    """Return those of the runs that few entries of the partition have: the newest 64 with a rare one reach far back."""
    step = -(-len(wanted) // _WEIGHED)
    table = table_of(partition)
    reach = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET {_SAMPLE}"

    def rank(run: str) -> int:
        row = connection.execute(reach, (expression([run]),)).fetchone()
        return -1 if row is None else int(row[0])

    return sorted(wanted[::step], key=rank)[:_ASKED]


def expression(wanted: list[str]) -> str:
    """Return the FTS5 query for entries that have all of the runs."""
    return " AND ".join('"' + run.replace('"', '""') + '"' for run in wanted)


def is_indexed(text: str) -> bool:
    """Say whether entries can be found by this text, or need not be: none is wanted."""
    return not text or bool(runs(needle(text)))
