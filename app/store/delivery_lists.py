"""The deliveries in the journal, as people look at them: by state and sink, of all entries or those of a scope."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Final

from app.core.delivery import Delivery, DeliveryState
from app.core.identity import entry_id
from app.core.moments import written
from app.store.encoding import read_finding_head
from app.store.reading import DeliveryCounts
from app.store.scope import END, WITHIN, Scope, is_small

_STATES: Final = """
    SELECT state, count(*) FROM deliveries WHERE state IN ('pending', 'dead', 'withheld') GROUP BY state
    UNION ALL SELECT 'delivered', (SELECT count(*) FROM deliveries)
"""
"""How many there are of each state, and of all instead of those delivered: a count of all reads no row."""

_PAIRS: Final = """
    WITH RECURSIVE pairs (state, sink) AS (
        SELECT column1, (SELECT min(sink) FROM deliveries WHERE state = column1)
        FROM (VALUES ('pending'), ('delivered'), ('dead'), ('withheld'))
        UNION ALL
        SELECT state, (SELECT min(d.sink) FROM deliveries AS d WHERE d.state = pairs.state AND d.sink > pairs.sink)
        FROM pairs WHERE sink IS NOT NULL
    ) SELECT state, sink FROM pairs WHERE sink IS NOT NULL
"""
"""The states and sinks that deliveries have, by one look into the index for each."""

_OF_PAIR: Final = "SELECT id FROM deliveries WHERE state = ? AND sink = ? AND id < ? ORDER BY id DESC LIMIT ?"
_OF_SCOPE: Final = f"""
    FROM entries AS e INDEXED BY entries_namespace CROSS JOIN deliveries AS d INDEXED BY deliveries_finding
    ON d.seq = e.seq WHERE e.{WITHIN}
"""
_IN_SCOPE: Final = f"""
    FROM deliveries AS d NOT INDEXED WHERE EXISTS (SELECT 1 FROM entries AS e WHERE e.seq = d.seq AND e.{WITHIN})
"""
_NEWEST: Final = "SELECT id FROM deliveries WHERE id < ? ORDER BY id DESC LIMIT ?"
_LIST: Final = """
    SELECT d.id, d.seq, f.random, d.sink, f.body, d.state, d.attempts, d.created_at, d.updated_at, d.next_attempt_at,
        d.last_error
    FROM deliveries AS d JOIN findings AS f ON f.seq = d.seq AND f.ordinal = d.ordinal
"""
_LISTED: Final = f"{_LIST} WHERE d.id IN (SELECT value FROM json_each(?)) ORDER BY d.id DESC"


def list_deliveries(
    connection: sqlite3.Connection,
    scope: Scope | None = None,
    *,
    state: DeliveryState | None = None,
    sink: str = "",
    before: int | None = None,
    limit: int,
) -> list[Delivery]:
    """Return deliveries, newest first, with ids below `before`."""
    end = END if before is None else before
    if scope is not None:
        found = _ids_of(connection, scope, state, sink, end, limit)
    elif state is None and not sink:
        found = connection.execute(_NEWEST, (end, limit)).fetchall()
    else:
        pairs = [pair for pair in connection.execute(_PAIRS) if pair == (state or pair[0], sink or pair[1])]
        found = [row for pair in pairs for row in connection.execute(_OF_PAIR, (*pair, end, limit))]
    newest = json.dumps(sorted((number for (number,) in found), reverse=True)[:limit])
    return [_delivery(row) for row in connection.execute(_LISTED, (newest,))]


def _ids_of(
    connection: sqlite3.Connection, scope: Scope, state: DeliveryState | None, sink: str, end: int, limit: int
) -> list[tuple[int]]:
    """Return the ids of the newest deliveries of a scope."""
    source = _OF_SCOPE if is_small(connection, scope) else _IN_SCOPE
    return connection.execute(
        f"SELECT d.id {source} AND d.id < ? AND d.state = coalesce(?, d.state) AND d.sink = coalesce(?, d.sink)"
        " ORDER BY d.id DESC LIMIT ?",
        (scope.listed, end, state, sink or None, limit),
    ).fetchall()


def deliveries_of(connection: sqlite3.Connection, sequence: int) -> list[Delivery]:
    """Return the deliveries of one entry, oldest first."""
    return [_delivery(row) for row in connection.execute(f"{_LIST} WHERE d.seq = ? ORDER BY d.id", (sequence,))]


def delivery_counts(connection: sqlite3.Connection, scope: Scope | None = None) -> DeliveryCounts:
    """Return how many deliveries there are of each state, and which sinks have any."""
    if scope is not None:
        return _counts_of(connection, scope)
    states = dict(connection.execute(_STATES))
    states["delivered"] -= sum(number for state, number in states.items() if state != "delivered")
    sinks = {sink for _, sink in connection.execute(_PAIRS)}
    return DeliveryCounts({state: each for state, each in states.items() if each}, tuple(sorted(sinks)))


def _counts_of(connection: sqlite3.Connection, scope: Scope) -> DeliveryCounts:
    states, sinks = Counter[str](), set[str]()
    source = _OF_SCOPE if is_small(connection, scope) else _IN_SCOPE
    grouped = f"SELECT d.state, d.sink, count(*) {source} GROUP BY d.state, d.sink"
    for state, sink, number in connection.execute(grouped, (scope.listed,)):
        states[state] += number
        sinks.add(sink)
    return DeliveryCounts(dict(states), tuple(sorted(sinks)))


def _delivery(row: tuple[int, int, int, str, bytes, DeliveryState, int, int, int, int, str]) -> Delivery:
    delivery_id, sequence, random, sink, body, state, attempts, created, updated, due, error = row
    finding = read_finding_head(body)
    return Delivery(
        id=delivery_id,
        entry_id=entry_id(sequence, random),
        sink=sink,
        playbook=finding.playbook,
        title=finding.title,
        state=state,
        attempts=attempts,
        created_at=written(created),
        updated_at=written(updated),
        next_attempt_at=written(due) if state == "pending" else None,
        last_error=error,
    )
