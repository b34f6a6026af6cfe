"""Kinds of custom resources are known again after a restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from app.core.change import Resource
from app.store.database import connect_writer
from app.store.encoding import entry_row
from app.store.journal import EntryRow
from app.store.kinds import custom_kinds
from tests.builders import make_entry


def row(**resource: str) -> EntryRow:
    sequence, entry = make_entry(resource=Resource(**resource))
    return entry_row(sequence, entry)


def test_the_newest_entry_of_each_kind_says_its_plural(tmp_path: Path) -> None:
    rows = [
        row(group="example.com", resource="mice", kind="Mouse", name="a"),
        row(group="apps", resource="deployments", kind="Deployment", name="b"),
        row(group="example.com", resource="cats", kind="cats", subresource="scale", name="c"),
        row(group="new.example.com", resource="mice", kind="Mouse", name="d"),
    ]
    with closing(connect_writer(tmp_path / "journal.db", "NORMAL")) as connection:
        for each in rows:
            values = (each.seq, each.kind, each.namespace, each.name, each.username, each.operation, each.body)
            connection.execute(
                "INSERT INTO entries (seq, kind, namespace, name, username, operation, body) VALUES (?,?,?,?,?,?,?)",
                values,
            )

        assert custom_kinds(connection) == {("new.example.com", "mice"): "Mouse"}


def test_a_row_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    with closing(connect_writer(tmp_path / "journal.db", "NORMAL")) as connection:
        for number, body in enumerate([b"", b"{}", b"\x78broken", b"not json"]):
            connection.execute(
                "INSERT INTO entries (seq, kind, namespace, name, username, operation, body)"
                " VALUES (?,?,'','','','',?)",
                (number, f"Kind{number}", body),
            )

        assert custom_kinds(connection) == {}


def test_an_empty_ledger_knows_none(tmp_path: Path) -> None:
    with closing(connect_writer(tmp_path / "journal.db", "NORMAL")) as connection:
        assert custom_kinds(connection) == {}
