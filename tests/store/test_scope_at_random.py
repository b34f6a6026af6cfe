"""A ledger of some namespaces is as if it held nothing else, whatever it is asked and however much is indexed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.finding import Finding
from app.store import scope as scope_module
from app.store.database import connect_writer
from app.store.encoding import finding_body
from app.store.journal import EntryRow
from app.store.ledger import Ledger, Position, Query
from app.store.reading import Field
from app.store.search import reader as search_reader
from app.store.search import rows as rows_module
from app.store.search.file import beside
from tests.builders import make_record
from tests.store.searches import forget, indexed, written
from tests.store.test_search_at_random import NOON, WORDS, entries, queries

NAMESPACES = ("", *WORDS)
STATES = ("pending", "delivered", "dead", "withheld")
SIMPLE = (
    Query(),
    *(Query(namespace=each) for each in WORDS),
    *(Query(kind=each) for each in WORDS[:3]),
    Query(kind="a", namespace="web"),
    Query(username="alice"),
    Query(operation="FAILED"),
    Query(path="*"),
    Query(q="web"),
)
"""Queries of which each finds something rather often."""

FIELDS: tuple[Field, ...] = ("kind", "namespace", "name", "username")


def in_namespace(fields: dict[str, Any], namespace: str) -> dict[str, Any]:
    return fields | {"resource": msgspec.structs.replace(fields["resource"], namespace=namespace)}


placed = st.builds(in_namespace, entries, st.sampled_from(NAMESPACES))
scopes = st.frozensets(st.sampled_from((*NAMESPACES, "never-seen", "a\0", "we")), max_size=6)
told = st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from(("slack", "mail"))), max_size=2)


def row_of(place: int, fields: dict[str, Any]) -> EntryRow:
    return make_record(at_milliseconds=NOON + place, **fields).entry


def tell(journal: Path, rows: Sequence[tuple[int, EntryRow, list[tuple[str, str]]]]) -> None:
    """Let each entry have a finding and deliveries, whose ids are the same in every journal."""
    with closing(connect_writer(journal, "NORMAL")) as connection:
        for place, row, deliveries in rows:
            body = finding_body(Finding(playbook=f"book-{place % 2}", title="x"))
            connection.execute("INSERT INTO findings VALUES (?, 0, ?, ?)", (row.seq, row.random, body))
            for number, (state, sink) in enumerate(deliveries):
                connection.execute(
                    "INSERT INTO deliveries (id, seq, ordinal, sink, state, created_at, updated_at, next_attempt_at)"
                    " VALUES (?, ?, 0, ?, ?, 1, 2, 3)",
                    (place * 2 + number + 1, row.seq, sink, state),
                )


def pages(ledger: Ledger, query: Query, limit: int) -> Iterator[bytes]:
    before: int | None = None
    while True:
        page = ledger.search(query, limit=limit, before=before)
        yield from map(bytes, page.items)
        before = page.next
        if before is None:
            return


def followed(ledger: Ledger, query: Query, limit: int) -> Iterator[bytes]:
    position, end = Position(0), ledger.newest()
    while position.sequence < end:
        position, came = ledger.follow(query, position, limit)
        yield from map(bytes, came)


def answers(ledger: Ledger, query: Query, limit: int, rows: Sequence[EntryRow]) -> dict[str, Any]:
    """Return what every method says, but for the times of all."""
    ids = [msgspec.json.decode(row.body)["id"] for row in rows]
    objects = sorted({(row.kind, row.namespace, row.name) for row in rows})
    listed = [ledger.deliveries(state=state, sink=sink, before=before, limit=limit)  # type: ignore[arg-type]
              for state in (None, *STATES) for sink in ("", "slack") for before in (None, 7)]  # fmt: skip
    return {
        "search": list(pages(ledger, query, limit)),
        "simple": [list(pages(ledger, each, limit)) for each in SIMPLE],
        "counts": [ledger.histogram(each, NOON, NOON + 12_000, 5) for each in SIMPLE],
        "follow": list(followed(ledger, query, limit)),
        "follow all": list(followed(ledger, Query(), limit)),
        "histogram": ledger.histogram(query, NOON, NOON + 12_000, 5),
        "actors": ledger.actors(NOON, NOON + 9),
        "words": [ledger.words(field, beginning) for field in FIELDS for beginning in ("", "we", "a")],
        "record": [ledger.record(each) for each in ids],
        "find": [list(map(bytes, ledger.find(beginning))) for beginning in (*ids, *(each[:10] for each in ids))],
        "of_object": [ledger.of_object(*each) for each in objects],
        "places": [ledger.places(kind, name) for kind, _, name in objects],
        "recent_objects": ledger.recent_objects(),
        "deliveries": listed,
        "delivery_counts": ledger.delivery_counts(),
        "hits": ledger.hits(datetime.fromtimestamp((NOON + 3) / 1000, UTC)),
    }


def let_all_be_large(patch: pytest.MonkeyPatch) -> None:
    """Have a few entries read as a million are: in steps, and by what is meant for many."""
    for place in (scope_module, search_reader, rows_module):
        for name, value in (("_CHUNK", 2), ("_SMALL", 0), ("_SORTED", 0), ("_FEW", 0)):
            if hasattr(place, name):
                patch.setattr(place, name, value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(placed, told), max_size=12),
    scopes,
    queries,
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(1, 4),
    st.booleans(),
)
def test_every_answer_is_that_of_a_ledger_of_these_entries_alone(
    made: list[tuple[dict[str, Any], list[tuple[str, str]]]],
    scope: frozenset[str],
    query: Query,
    share: int,
    forgotten: int,
    limit: int,
    is_large: bool,
) -> None:
    rows = [(place, row_of(place, fields), deliveries) for place, (fields, deliveries) in enumerate(made)]
    gone = [row.seq for _, row, _ in rows[:forgotten]]
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second, ExitStack() as stack:
        alone = [each for each in rows if each[1].namespace in scope]
        restricted = written(Path(first), [row for _, row, _ in alone])
        tell(restricted, alone)
        whole = written(Path(second), [row for _, row, _ in rows[:share]])
        if share:
            indexed(whole)
        written(Path(second), [row for _, row, _ in rows[share:]])
        tell(whole, rows)
        for journal in (restricted, whole):
            forget(journal, *gone)
        seen = stack.enter_context(closing(Ledger(whole, scope)))
        expected = stack.enter_context(closing(Ledger(restricted)))
        asked = [row for _, row, _ in rows]
        if is_large:
            let_all_be_large(stack.enter_context(pytest.MonkeyPatch.context()))

        assert answers(seen, query, limit, asked) == answers(expected, query, limit, asked)
        assert beside(whole).exists() is bool(share)
