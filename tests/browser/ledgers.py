"""A ledger that has something of everything that pages show."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.core.change import Actor, FieldChange, Resource, User
from app.core.finding import FileBlock, Finding, TableBlock, TextBlock
from app.core.moments import milliseconds, written
from app.store.journal import Journal, Record
from tests.builders import make_record
from tests.web.pages import HOSTILE

WEB = Resource(group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web")
CONFIG = Resource(version="v1", kind="ConfigMap", resource="configmaps", namespace="shop", name="nginx")
JOB = Resource(group="batch", version="v1", kind="Job", resource="jobs", namespace="shop", name="nightly-28391")
BAD = Resource(kind="<script>alert(1)</script>", namespace="<img src=x onerror=alert(2)>", name=HOSTILE)
BOT = User(username="system:serviceaccount:ci:deployer", groups=("system:serviceaccounts",))
IMAGE = "/spec/template/spec/containers/0/image"
FILE = "server {\n  listen 80;\n  proxy_read_timeout 30s;\n}\n"
EVIDENCE = Finding(
    playbook="broken jobs",
    title="Job Failed",
    blocks=(
        TextBlock("CronJob shop/nightly changed 62 seconds before the failure."),
        TableBlock(("type", "reason"), (("Warning", "BackoffLimitExceeded"),), "Job Events"),
        FileBlock("nightly/importer.log", "row imported\n" * 80 + "FATAL: cannot connect\n"),
    ),
)


def _image(number: int) -> FieldChange:
    return FieldChange(
        "spec.template.spec.containers[nginx].image", "replace", f"nginx:1.{number}", f"nginx:1.{number + 1}"
    )


def _image_update(number: int) -> dict[str, Any]:
    change = _image(number)
    return {"changes": (change,), "patch": ({"op": "replace", "path": IMAGE, "value": change.new},)}


def _records(now: datetime) -> Iterator[Record]:
    def at(minutes: float) -> dict[str, Any]:
        moment = milliseconds(now - timedelta(minutes=minutes))
        return {"at_milliseconds": moment, "at": written(moment)}

    def record(*sinks: str, minutes: float, finding: Finding | None = None, **fields: object) -> Record:
        return make_record(*sinks, finding=finding, **{**at(minutes), **fields})

    made = {"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "nginx", "image": "nginx:1.1"}]}}}}
    yield record(minutes=1500, operation="CREATE", resource=WEB, object=made)
    for number in range(60):
        yield record("slack", minutes=1400 - number * 23, resource=WEB, **_image_update(number))
    actor = Actor(kind="controller", pod="deployer-1", node="n1", manager_operation="Apply")
    secret = FieldChange("data[token]", "replace", "redacted:0123456789abcdef", "redacted:fedcba9876543210")
    yield record(minutes=30, resource=CONFIG, user=BOT, actor=actor, changes=(secret,), field_manager="helm")
    yield record("slack", minutes=20, finding=EVIDENCE, operation="FAILED", resource=JOB, user=User())
    hostile = FieldChange(f"data[{HOSTILE.replace(']', '')}]", "replace", HOSTILE, HOSTILE + "!")
    yield record(minutes=10, resource=BAD, user=User(username=HOSTILE), field_manager=HOSTILE, changes=(hostile,))
    yield record(minutes=8, operation="DELETE", resource=CONFIG, object={"data": {"nginx.conf": FILE}})
    timeout = FieldChange("data[nginx.conf]", "replace", FILE, FILE.replace("30s", "120s"))
    yield record(minutes=5, resource=CONFIG, changes=(timeout,), dry_run=True)


async def fill(journal: Journal, now: datetime) -> None:
    """Append the entries; the first delivery is dead, the others were made."""
    for record in _records(now):
        await journal.append(record)

    def settle(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE deliveries SET state = 'delivered', attempts = 1 WHERE id > 1")
        connection.execute(
            "UPDATE deliveries SET state = 'dead', attempts = 9, last_error = ? WHERE id = 1", (HOSTILE,)
        )

    await journal.call(settle)


def fresh(now: datetime) -> Record:
    """An entry of this moment."""
    moment = milliseconds(now)
    change = _image(99)
    return make_record(at_milliseconds=moment, at=written(moment), resource=WEB, changes=(change,))


def ids(items: list[msgspec.Raw]) -> list[str]:
    """Return the ids of entries that are JSON."""
    return [str(msgspec.json.decode(item)["id"]) for item in items]
