"""A ledger whose entries never change: what a real API server sent, what never happened but could, what is hostile."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from app.cli.tables import object_name
from app.core.change import Actor, Entry, FieldChange, Resource, User
from app.core.delivery import Addressee
from app.core.finding import DiffBlock, FileBlock, Finding, TableBlock
from app.core.identity import entry_id
from app.store.database import FILE_NAME
from app.store.deliveries import DeliveryQueue
from app.store.encoding import entry_row, finding_body
from app.store.journal import FindingRow, Record
from tests.builders import entry_of, recorded_review
from tests.cli.ledger import HOSTILE, hostile_entry, settle
from tests.core.lives import deployment
from tests.core.lives import told as change
from tests.store.observed import opened

NOW: Final = datetime(2026, 3, 18, 13, 30, tzinfo=UTC)
"""When the tables are printed: a Wednesday, half past two in the afternoon where they are read."""

ZONE: Final = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Of Berlin, in the notation of POSIX, which needs no files."""

JOB: Final = Resource(group="batch", version="v1", kind="Job", resource="jobs", namespace="shop", name="import")


def web(image: str, replicas: int) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "nginx", "image": image}]}}
    return deployment(replicas=replicas, template=template)


def _entries() -> list[tuple[timedelta, Entry]]:
    """Return entries by their age, oldest first."""
    recorded = {
        timedelta(days=300): "configmap-create",
        timedelta(days=40): "namespace-update-impersonated",
        timedelta(days=12): "secret-update",
        timedelta(days=3, hours=2): "deployment-update-env-secretish",
        timedelta(hours=20): "configmap-update-dry-run",
        timedelta(minutes=90): "deployment-scale-subresource",
        timedelta(minutes=3): "pod-delete-first-review",
    }
    states = [None, web("nginx:1.24", 1), web("nginx:1.24", 3), web("nginx:1.25", 3), None, web("nginx:1.26", 2)]
    ages = (timedelta(days=30), timedelta(days=5), timedelta(hours=22), timedelta(hours=4), timedelta(minutes=40))
    users = ("alice", "system:serviceaccount:argocd:argocd-application-controller", "bob@example.org", "alice", "alice")
    lives = [
        (age, change(old, new, user=user, name="web"))
        for age, user, old, new in zip(ages, users, states, states[1:], strict=False)
    ]
    found = [(age, entry_of(recorded_review(name))) for age, name in recorded.items()]
    return sorted([*found, *lives, *_made_up()], key=lambda each: each[0], reverse=True)


def _made_up() -> list[tuple[timedelta, Entry]]:
    failed = Entry(
        id="", at="", operation="FAILED", resource=JOB, user=User(username=""), actor=Actor(kind="controller")
    )
    values = ("one\ntwo\nthree", "word " * 60)
    many = Entry(
        id="",
        at="",
        resource=Resource(version="v1", kind="ConfigMap", resource="configmaps", namespace="shop", name="n" * 120),
        user=User(username="carol"),
        actor=Actor(kind="human"),
        changes=tuple(FieldChange(f"data.file-{number}", "replace", *values) for number in range(7)),
    )
    hostile = Entry(**{"id": "", "at": "", **hostile_entry()})
    return [(timedelta(hours=26), failed), (timedelta(minutes=70), many), (timedelta(seconds=40), hostile)]


def write(data_dir: Path) -> dict[str, str]:
    """Write the journal; return ids by what they are of."""
    return asyncio.run(_write(data_dir, _entries()))


async def _write(data_dir: Path, entries: list[tuple[timedelta, Entry]]) -> dict[str, str]:
    ids: dict[str, str] = {}
    async with opened(data_dir) as (journal, _):
        for number, (age, template) in enumerate(entries):
            at = NOW - age
            sequence = int(at.timestamp() * 1000) << 12
            entry = msgspec.structs.replace(template, id=entry_id(sequence, number), at=f"{at:%Y-%m-%dT%H:%M:%S.%fZ}")
            ids[f"{entry.operation} {object_name(entry)}"] = entry.id
            await journal.append(Record(entry_row(sequence, entry), _findings(entry)))
        await settle(DeliveryQueue(journal), "hook.example answered 410 Gone: " + HOSTILE)
    _make_old(data_dir)
    return ids


def _findings(entry: Entry) -> tuple[FindingRow, ...]:
    if entry.operation == "FAILED":
        pods = TableBlock(title="Pods", headers=("pod", "reason"), rows=(("import-x7k2p", "Error"),))
        log = FileBlock(name="import-x7k2p.log", content="reading rows\nrow 600: expected 7 columns, found 6\n")
        return (_told("jobs", "Job Failed", ("hook", "file"), pods, log),)
    if any(each.path.endswith(".image") for each in entry.changes):
        return (_told("images", "web runs another image", ("file",), DiffBlock(changes=entry.changes)),)
    is_hostile = entry.resource.name == HOSTILE
    return (_told(HOSTILE, HOSTILE, ("hook",)),) if is_hostile else ()


def _told(playbook: str, title: str, sinks: tuple[str, ...], *blocks: Any) -> FindingRow:
    return FindingRow(
        0, finding_body(Finding(playbook=playbook, title=title, blocks=blocks)), tuple(map(Addressee, sinks))
    )


def _make_old(data_dir: Path) -> None:
    """Let deliveries have been made right after their entries, whenever the test runs."""
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as journal:
        journal.execute("UPDATE deliveries SET created_at = seq >> 12")
        journal.commit()
