"""The entries of one object are found by index, oldest first, and no others."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.core.change import Resource
from app.store.database import FILE_NAME, connect_reader
from app.store.objects import known_kinds, namespaces_of, of_object, recent_objects
from tests.builders import START, make_record
from tests.store.kept import keep


def resource(**fields: str) -> Resource:
    return Resource(**{"kind": "Deployment", "group": "apps", "namespace": "shop", "name": "web", **fields})


RESOURCES = [
    resource(uid="u-1"),
    resource(uid="u-1", subresource="scale"),
    resource(namespace="other"),
    resource(kind="Service", group=""),
    resource(name="web-2"),
    resource(group="example.org"),
    resource(uid="u-2"),
    resource(),
]


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    records = [
        make_record(resource=each, at_milliseconds=START + 1000 * number, field_manager=str(number))
        for number, each in enumerate(RESOURCES)
    ]
    await keep(tmp_path, *records)
    with closing(connect_reader(tmp_path / FILE_NAME)) as connection:
        yield connection


def numbers(connection: sqlite3.Connection, **options: Any) -> list[int]:
    found = of_object(connection, "Deployment", "shop", "web", **options)
    assert isinstance(found, Iterator)
    return [int(entry.field_manager) for entry in found]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 5, 6, 7]),
        ({"group": "apps"}, [0, 1, 6, 7]),
        ({"uid": "u-1", "group": "apps"}, [0, 1, 7]),
        ({"since": START + 5000}, [5, 6, 7]),
        ({"until": START + 5000}, [0, 1]),
        ({"most": 2}, [6, 7]),
        ({"most": 2, "until": START + 6000}, [1, 5]),
    ],
)
async def test_they_are_found_oldest_first(
    connection: sqlite3.Connection, options: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(connection, **options) == expected


async def test_an_entry_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    await keep(tmp_path, make_record(field_manager="0"), make_record(field_manager="1"))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as broken, broken:
        broken.execute("UPDATE entries SET body = 'x' WHERE seq = (SELECT min(seq) FROM entries)")

    with closing(connect_reader(tmp_path / FILE_NAME)) as connection:
        assert numbers(connection) == [1]


async def test_nothing_is_read_but_the_rows_of_the_name(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    numbers(connection)
    connection.set_trace_callback(None)

    plans = [[step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {each}")] for each in statements]
    assert plans[0] == ["SEARCH entries USING INDEX entries_name (name=? AND rowid>? AND rowid<?)"]
    assert plans[1:] == [["SEARCH entries USING INTEGER PRIMARY KEY (rowid=?)"]] * len(numbers(connection))


async def test_namespaces_kinds_and_recent_objects_are_known(connection: sqlite3.Connection) -> None:
    assert namespaces_of(connection, "Deployment", "web") == ["other", "shop"]
    assert known_kinds(connection) == ["Deployment", "Service"]
    assert sorted(recent_objects(connection)) == [
        ("Deployment", "other", "web"),
        ("Deployment", "shop", "web"),
        ("Deployment", "shop", "web-2"),
        ("Service", "shop", "web"),
    ]


async def test_an_empty_ledger_knows_nothing(tmp_path: Path) -> None:
    await keep(tmp_path)
    with closing(connect_reader(tmp_path / FILE_NAME)) as connection:
        assert (numbers(connection), known_kinds(connection), recent_objects(connection)) == ([], [], [])
