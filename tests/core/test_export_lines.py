"""Entries become lines that programs and auditors can rely on."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import msgspec

from app.core import export
from app.core.change import Actor, FieldChange, FindingSummary, Resource, User
from app.core.export import Rows
from tests.builders import make_entry
from tests.reference import ROOT

GUIDE = (ROOT / "docs/export.md").read_text("utf-8").partition("## CSV")[2].partition("## JSON lines")[0]
CHANGES = (
    FieldChange("spec.replicas", "replace", 1, 3),
    FieldChange("spec.paused", "remove", old=True),
    FieldChange("metadata.labels[version]", "add", new="1.10"),
)
COLUMNS = (
    "time,entry,cluster,operation,dry_run,outcome,group,kind,namespace,name,subresource,uid,user,actor,groups,"
    "field_manager,pod,node,playbooks,truncated,repeat_of,changes"
)


def document(**fields: Any) -> bytes:
    return msgspec.json.encode(make_entry(**fields)[1])


def table(*documents: bytes, rows: Rows = "changes") -> list[dict[str, str]]:
    whole = export.beginning("csv", rows) + export.lines(documents, "csv", rows)
    return list(csv.DictReader(io.StringIO(whole.decode("utf-8-sig"), newline=""), strict=True))


def test_a_table_begins_with_the_mark_that_excel_needs_and_its_columns() -> None:
    assert export.beginning("csv", "changes") == f"\ufeff{COLUMNS},change,path,op,old,new\r\n".encode()
    assert export.beginning("csv", "entries") == f"\ufeff{COLUMNS},paths\r\n".encode()


def test_each_changed_field_is_a_row_with_its_entry() -> None:
    rows = table(document(changes=CHANGES, cluster="prod"))

    assert [(row["change"], row["path"], row["op"], row["old"], row["new"]) for row in rows] == [
        ("1", "spec.replicas", "replace", "1", "3"),
        ("2", "spec.paused", "remove", "true", ""),
        ("3", "metadata.labels[version]", "add", "", '"1.10"'),
    ]
    assert {(row["cluster"], row["user"], row["name"], row["changes"]) for row in rows} == {
        ("prod", "alice", "web", "3")
    }


def test_an_entry_without_fields_is_a_row_too() -> None:
    (row,) = table(document(operation="DELETE", object={"spec": 1}))

    assert (row["operation"], row["changes"], row["change"], row["path"]) == ("DELETE", "0", "", "")


def test_an_entry_can_be_a_row_with_all_its_paths() -> None:
    (row,) = table(document(changes=CHANGES), rows="entries")

    assert row["paths"] == "spec.replicas; spec.paused; metadata.labels[version]"


def test_every_column_says_what_the_entry_says() -> None:
    resource = Resource(
        group="apps", version="v1", kind="Deployment", subresource="scale", namespace="shop", name="web", uid="u-1"
    )
    _, entry = make_entry(
        cluster="prod",
        dry_run=True,
        resource=resource,
        user=User(username="system:serviceaccount:ci:bot", groups=("a", "b")),
        actor=Actor(kind="controller", pod="bot-1", node="n1"),
        field_manager="helm",
        findings=(FindingSummary("images", "web changed", "INFO"),),
        truncated=True,
        repeat_of="0197",
    )

    (row,) = table(msgspec.json.encode(entry), rows="entries")

    assert row == {
        "time": "2026-01-02T03:04:05.000000Z",
        "entry": entry.id,
        "cluster": "prod",
        "operation": "UPDATE",
        "dry_run": "true",
        "outcome": "attempted",
        "group": "apps",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "web",
        "subresource": "scale",
        "uid": "u-1",
        "user": "system:serviceaccount:ci:bot",
        "actor": "controller",
        "groups": "a; b",
        "field_manager": "helm",
        "pod": "bot-1",
        "node": "n1",
        "playbooks": "images",
        "truncated": "true",
        "repeat_of": "0197",
        "changes": "0",
        "paths": "",
    }


def test_nobody_is_neither_a_person_nor_a_controller() -> None:
    (row,) = table(document(operation="FAILED", user=User(), actor=Actor(kind="controller")), rows="entries")

    assert (row["user"], row["actor"]) == ("", "")


def test_what_strangers_choose_is_no_formula_and_no_row_of_its_own() -> None:
    evil = "=cmd|' /C calc'!A1\n\"=1+1\",\u202e"
    _, entry = make_entry(
        id=evil,
        at=evil,
        cluster=evil,
        operation=evil,
        outcome=evil,
        field_manager=evil,
        resource=Resource(group=evil, kind=evil, namespace=evil, name=evil, subresource=evil, uid=evil),
        user=User(username=evil, groups=(evil,)),
        actor=Actor(kind="human", pod=evil, node=evil),
        findings=(FindingSummary(evil, evil, evil),),
        repeat_of=evil,
        changes=(FieldChange(evil, "replace", evil, {evil: evil}),),
    )

    whole = export.lines([msgspec.json.encode(entry)], "csv", "changes")

    (row,) = table(msgspec.json.encode(entry))
    assert whole.count(b"\n") == 1
    assert not [cell for cell in row.values() if cell[:1] in {"=", "+", "-", "@"}]
    assert row["name"].startswith("'=cmd")


def test_an_entry_that_cannot_be_read_leaves_a_row() -> None:
    newer, damaged = table(b'{"id":"0197","at":5}', b'{"id"', rows="entries")

    assert (newer["entry"], newer["outcome"]) == ("0197", "unreadable")
    assert (damaged["entry"], damaged["outcome"]) == ("", "unreadable")


def test_json_lines_are_the_entries_as_they_are() -> None:
    first, second = document(changes=CHANGES), document(labels={"note": "two\nlines"})
    indented = msgspec.json.format(second, indent=2)

    lines = export.lines([first, indented], "jsonl", "changes").splitlines()

    assert export.beginning("jsonl", "changes") == b""
    assert lines[0] == first
    assert msgspec.json.decode(lines[1]) == msgspec.json.decode(second)
    assert len(lines) == 2


def test_every_column_is_documented() -> None:
    documented = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+`) \|", GUIDE, re.MULTILINE)))

    assert [*documented[:-1]] == list(export.columns("changes"))
    assert documented[-1] == export.columns("entries")[-1]
