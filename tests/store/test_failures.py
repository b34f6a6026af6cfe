"""The journal knows which failed Jobs it has, by uid, also after Jobs of the same name and with damaged rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from app.core.change import Resource
from app.store.database import connect_writer
from app.store.failures import is_recorded
from app.store.journal import EntryRow
from tests.builders import make_record


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(tmp_path / "journal.db", "NORMAL")) as connection:
        yield connection


def failure(
    uid: str, name: str = "import", *, kind: str = "Job", operation: str = "FAILED", padding: str = ""
) -> EntryRow:
    resource = Resource(group="batch", version="v1", kind=kind, namespace="shop", name=name, uid=uid)
    return make_record(resource=resource, operation=operation, object={"padding": padding}).entry


def insert(connection: sqlite3.Connection, *rows: EntryRow) -> None:
    for row in rows:
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(row)[:7])


def test_a_failure_is_known_by_its_uid(connection: sqlite3.Connection) -> None:
    insert(connection, failure("one"), failure("two"), failure("three"))

    known = [is_recorded(connection, "shop", "import", uid) for uid in ("one", "two", "three", "four", "")]

    assert known == [True, True, True, False, False]


def test_a_large_entry_is_read_as_well(connection: sqlite3.Connection) -> None:
    insert(connection, row := failure("one", padding="x" * 5000))

    assert row.body[:1] != b"{"
    assert is_recorded(connection, "shop", "import", "one")


@pytest.mark.parametrize(
    "row",
    [
        failure("one", operation="DELETE"),
        failure("one", operation="UPDATE"),
        failure("one", kind="CronJob"),
        failure("one", "other"),
    ],
    ids=["a deletion", "a change", "another kind", "another name"],
)
def test_what_is_no_failure_of_this_job_does_not_count(connection: sqlite3.Connection, row: EntryRow) -> None:
    insert(connection, row)

    assert not is_recorded(connection, "shop", "import", "one")


def test_another_namespace_is_another_job(connection: sqlite3.Connection) -> None:
    insert(connection, failure("one"))

    assert not is_recorded(connection, "other", "import", "one")


@pytest.mark.parametrize("body", [b"", b"x\x9c", b"{", b'{"resource": 7}', b"{}", b'{"resource": {"uid": "\xff"}}'])
def test_a_damaged_row_hides_no_other(connection: sqlite3.Connection, body: bytes) -> None:
    insert(connection, failure("one"))
    insert(connection, msgspec.structs.replace(failure("two"), body=body))

    assert is_recorded(connection, "shop", "import", "one")
    assert not is_recorded(connection, "shop", "import", "two")


def test_a_failure_is_looked_for_among_what_has_its_name(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    is_recorded(connection, "shop", "import", "one")
    connection.set_trace_callback(None)

    plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall())

    assert "USING INDEX entries_name (name=?)" in plan
    assert "TEMP B-TREE" not in plan
