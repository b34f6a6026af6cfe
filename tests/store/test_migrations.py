"""The schema: every step once, the same from any version on, and an index for every question."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.core.evidence import PodEvidence
from app.core.identity import EntryIds
from app.store import absent, deliveries, delivery_lists, evidence, retention
from app.store.database import IncompatibleSchemaError, connect_reader, connect_writer, migrate, migrations
from app.store.ledger import Ledger, Query
from tests.store.observed import stored

VERSIONS = [number for number, _ in migrations()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(path, "NORMAL")) as connection:
        yield connection


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def at_version(path: Path, version: int) -> None:
    """Leave a file as the program of that schema would have."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number, script in migrations():
            if number <= version:
                connection.executescript(f"{script}; PRAGMA user_version = {number};")


def test_the_steps_are_numbered_without_a_gap() -> None:
    assert list(range(1, len(VERSIONS) + 1)) == VERSIONS


@pytest.mark.parametrize("version", [0, *VERSIONS])
def test_the_steps_from_any_version_lead_to_the_schema_of_a_new_file(path: Path, tmp_path: Path, version: int) -> None:
    at_version(path, version)

    with closing(connect_writer(path, "FULL")) as old, closing(connect_writer(tmp_path / "new.db", "FULL")) as new:
        assert schema(old) == schema(new)
        assert migrate(old) == VERSIONS[-1]


def test_a_journal_of_the_first_release_keeps_its_entries_and_can_hold_evidence(path: Path) -> None:
    at_version(path, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO entries VALUES (7, 'Pod', 'shop', 'web', 'alice', 'CREATE', '{}')")

    with closing(connect_writer(path, "FULL")) as connection:
        evidence.keep(connection, "job", PodEvidence(uid="pod", name="crash"), datetime.now(UTC))

        assert stored(path) == [7]
        assert [pod.name for pod in evidence.held(connection, "job")] == ["crash"]
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSIONS[-1],)


def test_a_step_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_version(path, VERSIONS[-1])
    broken = [*migrations(), (VERSIONS[-1] + 1, "CREATE TABLE added (x); SELECT nonsense;")]
    monkeypatch.setattr("app.store.database.migrations", lambda: broken)

    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        connect_writer(path, "FULL")

    with closing(connect_reader(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSIONS[-1],)
        assert "added" not in dict(schema(connection))


def test_the_schema_of_a_newer_version_is_refused(path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA user_version = 1000")

    with pytest.raises(IncompatibleSchemaError, match="the journal has schema 1000, this program knows up to"):
        connect_writer(path, "FULL")


def test_a_reader_cannot_write(path: Path, writer: sqlite3.Connection) -> None:
    with closing(connect_reader(path)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM entries")

    assert stored(path) == []


class Watched:
    """Stands before a connection and asks for the plan of each query."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.plans: list[str] = []

    def execute(self, query: str, parameters: Any = ()) -> sqlite3.Cursor:
        rows = self.connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)
        self.plans.append("; ".join(row[3] for row in rows))
        return self.connection.execute(query, parameters)


def plan(path: Path, query: Query, before: int | None = None) -> str:
    with closing(Ledger(path)) as ledger:
        watched = Watched(ledger._connection)
        ledger._connection = watched  # type: ignore[assignment]  # stands in for the connection
        ledger.search(query, limit=10, before=before)
        ledger._connection = watched.connection
        return watched.plans[0]


FILTERS = [
    (Query(kind="Pod"), "SEARCH entries USING INDEX entries_kind (kind=? AND rowid>? AND rowid<?)"),
    (Query(namespace="shop"), "SEARCH entries USING INDEX entries_namespace (namespace=? AND rowid>? AND rowid<?)"),
    (Query(name="web"), "SEARCH entries USING INDEX entries_name (name=? AND rowid>? AND rowid<?)"),
    (Query(username="alice"), "SEARCH entries USING INDEX entries_username (username=? AND rowid>? AND rowid<?)"),
    (Query(since=1), "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    (Query(until=1), "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    (Query(kind="Pod", until=1), "SEARCH entries USING INDEX entries_kind (kind=? AND rowid>? AND rowid<?)"),
    (Query(), "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=str)
@pytest.mark.usefixtures("writer")
def test_every_filter_has_an_index_that_is_in_order_already(path: Path, query: Query, expected: str) -> None:
    assert plan(path, query) == expected


@pytest.mark.parametrize("operation", ["CREATE", "DELETE", "CONNECT"])
@pytest.mark.usefixtures("writer")
def test_the_rarer_operations_have_an_index(path: Path, operation: str) -> None:
    assert (
        plan(path, Query(operation=operation))
        == "SEARCH entries USING INDEX entries_operation (operation=? AND rowid>? AND rowid<?)"
    )


@pytest.mark.usefixtures("writer")
def test_a_page_begins_where_the_one_before_ended(path: Path) -> None:
    expected = "SEARCH entries USING INDEX entries_kind (kind=? AND rowid>? AND rowid<?)"

    assert plan(path, Query(kind="Pod"), before=EntryIds().next(1, 1)[0]) == expected


DUE = [
    (deliveries._CLAIM, ("slack", 1, 1), "SEARCH d USING INDEX deliveries_due (sink=? AND next_attempt_at<?)"),
    (deliveries._NEXT_DUE, ("slack",), "SEARCH deliveries USING INDEX deliveries_due (sink=?)"),
    (f"{delivery_lists._LIST} WHERE d.seq = ? ORDER BY d.id", (1,), "SEARCH d USING INDEX deliveries_finding (seq=?)"),
    (delivery_lists._OF_PAIR, ("dead", "slack", 9, 1), "deliveries_state (state=? AND sink=? AND rowid<?)"),
]


@pytest.mark.parametrize(("query", "parameters", "expected"), DUE)
def test_the_queue_is_read_by_index_and_without_sorting(
    writer: sqlite3.Connection, query: str, parameters: tuple[Any, ...], expected: str
) -> None:
    watched = Watched(writer)

    watched.execute(query, parameters)

    assert expected in watched.plans[0]
    assert "SCAN" not in watched.plans[0]
    if query in (deliveries._CLAIM, deliveries._NEXT_DUE, delivery_lists._OF_PAIR):
        assert "TEMP B-TREE" not in watched.plans[0]


@pytest.mark.parametrize(
    ("query", "index"),
    [(retention._FIRST_PENDING, "deliveries_pending"), (absent._WAITED_FOR, "deliveries_due")],
)
def test_retention_looks_for_what_is_pending_without_reading_all_of_it(
    writer: sqlite3.Connection, query: str, index: str
) -> None:
    rows = writer.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()

    plan = [row[3] for row in rows if "deliveries" in row[3]]
    assert plan
    assert [step for step in plan if f"SEARCH deliveries USING INDEX {index}" not in step] == []


def test_looking_for_pending_deliveries_of_an_entry_uses_an_index(writer: sqlite3.Connection) -> None:
    rows = writer.execute(
        "EXPLAIN QUERY PLAN SELECT seq FROM entries AS e WHERE seq < 5 AND NOT EXISTS"
        " (SELECT 1 FROM deliveries AS d WHERE d.seq = e.seq AND d.state = 'pending') ORDER BY seq LIMIT 500"
    ).fetchall()

    assert any("SEARCH d USING INDEX deliveries_pending (seq=?)" in row[3] for row in rows)
