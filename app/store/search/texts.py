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
_DENSE: Final = 128
"""A run is in most entries where its newest 64 are among so many; then others tell nothing, and cost as much each."""


def runs(needle: str) -> list[str]:
    """Return the different runs of a text, in order; empty for one that is too short."""
    return list(dict.fromkeys(needle[start : start + RUN] for start in range(len(needle) - RUN + 1)))


def rarest(connection: sqlite3.Connection, partition: int, wanted: list[str]) -> list[str]:
    """Return those of the runs that few entries of the partition have: the newest 64 with a rare one reach far back.

    It is one where even the rarest is in most of them.
    """
    step = -(-len(wanted) // _WEIGHED)
    table = table_of(partition)
    nth = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?"

    def reach(run: str, number: int = _SAMPLE) -> int:
        row = connection.execute(nth, (expression([run]), number)).fetchone()
        return -1 if row is None else int(row[0])

    ranked = sorted((reach(run), run) for run in wanted[::step])
    back, rarest_run = ranked[0]
    is_dense = back >= 0 and reach(rarest_run, 0) - back < _DENSE
    return [run for _, run in ranked[: 1 if is_dense else _ASKED]]


def expression(wanted: list[str]) -> str:
    """Return the FTS5 query for entries that have all of the runs."""
    return " AND ".join('"' + run.replace('"', '""') + '"' for run in wanted)


def is_indexed(text: str) -> bool:
    """Say whether entries can be found by this text, or need not be: none is wanted."""
    return not text or bool(runs(needle(text)))
