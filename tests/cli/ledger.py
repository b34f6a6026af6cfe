"""A journal with one of each: what the reading commands are tested against."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.change import Actor, Entry, FieldChange, FindingSummary, Resource, User
from app.core.delivery import Addressee, Settlement
from app.core.finding import DiffBlock, Finding
from app.core.identity import EntryIds
from app.store.deliveries import DeliveryQueue
from app.store.encoding import entry_row, finding_body
from app.store.journal import FindingRow, Journal, Record

HOSTILE: Final = "evil\x1b[31mred\x1b]0;title\x07\n2026 forged line\u202egnp\u2066\x00"
"""A terminal's colours and title, a line of its own, text that runs backwards, and a null."""

_WEB: Final = Resource(
    group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web", uid="u-1"
)
_SETTINGS: Final = Resource(version="v1", kind="ConfigMap", resource="configmaps", namespace="shop", name="settings")
_IMAGE: Final = "spec.template.spec.containers[nginx].image"


def _scale() -> Resource:
    return Resource(
        group="apps",
        version="v1",
        kind="Deployment",
        resource="deployments",
        subresource="scale",
        namespace="shop",
        name="web",
    )


def _entries() -> list[tuple[timedelta, dict[str, Any], tuple[str, ...]]]:
    """Return the entries, oldest first: age, fields, and the sinks of its finding."""
    pod = Resource(version="v1", kind="Pod", resource="pods", subresource="exec", namespace="shop", name="web-1")
    node = Resource(version="v1", kind="Node", resource="nodes", name="n1")
    robot = {"user": User(username="system:serviceaccount:ci:deployer"), "actor": Actor(kind="controller")}
    return [
        (
            timedelta(days=9),
            {"operation": "CREATE", "resource": _SETTINGS, "object": {"data": {"mode": "slow"}}, **robot},
            (),
        ),
        (
            timedelta(days=8),
            {"resource": _SETTINGS, "changes": (FieldChange("data.mode", "replace", "slow", "fast"),)},
            (),
        ),
        (timedelta(hours=30), {"resource": node, "changes": (FieldChange("spec.unschedulable", "add", new=True),)}, ()),
        (
            timedelta(hours=5),
            {
                "resource": _WEB,
                "field_manager": "kubectl-set",
                "actor": Actor(kind="human", manager_operation="Update"),
                "changes": (
                    FieldChange(_IMAGE, "replace", "nginx:1.24", "nginx:1.25"),
                    FieldChange("spec.paused", "remove", True),
                ),
            },
            ("hook", "file"),
        ),
        (
            timedelta(hours=4),
            {"resource": _scale(), "changes": (FieldChange("spec.replicas", "replace", 1, 3),)},
            ("hook",),
        ),
        (timedelta(hours=3), {"operation": "CONNECT", "resource": pod, "object": {"command": ["sh"]}}, ()),
        (
            timedelta(minutes=150),
            {"resource": _WEB, "dry_run": True, "changes": (FieldChange("spec.replicas", "replace", 3, 9),)},
            (),
        ),
        (timedelta(minutes=140), {"operation": "DELETE", "resource": _SETTINGS, "object": {}}, ()),
    ]


def hostile_entry() -> dict[str, Any]:
    """Return an entry in which every text that a stranger chooses is hostile."""
    return {
        "resource": Resource(version="v1", kind=HOSTILE, resource="x", namespace=HOSTILE, name=HOSTILE),
        "user": User(username=HOSTILE, groups=(HOSTILE,)),
        "cluster": HOSTILE,
        "field_manager": HOSTILE,
        "actor": Actor(kind="human", pod=HOSTILE, node=HOSTILE),
        "changes": (FieldChange(f"data.{HOSTILE}", "replace", HOSTILE, {"a": HOSTILE}),),
    }


def write_ledger(data_dir: Path) -> list[Entry]:
    """Write the journal, and return its entries, oldest first."""
    return asyncio.run(_write(data_dir, _entries()))


def write_hostile_ledger(data_dir: Path) -> list[Entry]:
    """Write a journal with the hostile entry, whose delivery failed with a hostile message."""
    return asyncio.run(_write(data_dir, [(timedelta(hours=5), hostile_entry(), ("hook",))], HOSTILE))


def append(data_dir: Path, templates: list[Entry]) -> list[Entry]:
    """Append entries like these, which come now; make the journal where there is none."""

    async def work() -> list[Entry]:
        journal = Journal(data_dir)
        ids, entries = EntryIds(journal.start()), list[Entry]()
        for template in templates:
            sequence, identifier = ids.next(int(datetime.now(UTC).timestamp() * 1000), 0)
            entries.append(msgspec.structs.replace(template, id=identifier))
            assert await journal.append(Record(entry_row(sequence, entries[-1]))) == "recorded"
        await journal.close(10)
        return entries

    return asyncio.run(work())


async def _write(
    data_dir: Path, entries: list[tuple[timedelta, dict[str, Any], tuple[str, ...]]], title: str = ""
) -> list[Entry]:
    now, ids = datetime.now(UTC), EntryIds()
    journal = Journal(data_dir)
    journal.start()
    written = [
        await _append(journal, ids, now - age, fields, sinks, number, title)
        for number, (age, fields, sinks) in enumerate(entries)
    ]
    await settle(DeliveryQueue(journal), title)
    await journal.close(10)
    return written


async def _append(
    journal: Journal,
    ids: EntryIds,
    at: datetime,
    fields: dict[str, Any],
    sinks: tuple[str, ...],
    number: int,
    title: str,
) -> Entry:
    sequence, identifier = ids.next(int(at.timestamp() * 1000), number)
    finding = Finding(
        playbook="images",
        title=title or f"{fields['resource'].name} changed",
        blocks=(DiffBlock(changes=fields.get("changes", ())),),
    )
    entry = Entry(
        id=identifier,
        at=at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        findings=(FindingSummary(finding.playbook, finding.title, finding.severity.value),) if sinks else (),
        **{"user": User(username="alice", groups=("dev", "ops")), "cluster": "prod", **fields},
    )
    findings = (FindingRow(0, finding_body(finding), tuple(map(Addressee, sinks))),) if sinks else ()
    assert await journal.append(Record(entry_row(sequence, entry), findings)) == "recorded"
    return entry


async def settle(queue: DeliveryQueue, message: str) -> None:
    """Leave the deliveries to `hook` dead, and those to `file` delivered."""
    lease = timedelta(minutes=1)
    hook = await queue.claim("hook", limit=9, lease=lease)
    file = await queue.claim("file", limit=9, lease=lease)
    dead = [
        Settlement(id=each.id, state="dead", error=message or "hook.example answered 410 Gone")
        for each in hook.deliveries
    ]
    await queue.settle([*dead, *(Settlement(id=each.id, state="delivered") for each in file.deliveries)])
