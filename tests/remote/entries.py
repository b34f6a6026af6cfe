"""Entries of all sorts, in one journal or in several."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.change import FieldChange, FindingSummary, Resource, User
from app.core.delivery import Settlement
from app.store.deliveries import DeliveryQueue
from app.store.journal import Journal, Record
from tests.builders import START, make_record

COUNT: Final = 120
NODE: Final = Resource(version="v1", kind="Node", resource="nodes", name="web", uid="n-1")
KINDS: Final = (
    Resource(
        group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web", uid="u-1"
    ),
    Resource(
        group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web", uid="u-2"
    ),
    Resource(
        group="apps",
        version="v1",
        kind="Deployment",
        resource="deployments",
        subresource="scale",
        namespace="shop",
        name="web",
    ),
    Resource(
        group="extensions", version="v1beta1", kind="Deployment", resource="deployments", namespace="shop", name="web"
    ),
    Resource(version="v1", kind="ConfigMap", resource="configmaps", namespace="kube-system", name="settings"),
    NODE,
)
USERS: Final = ("alice", "bob", "system:serviceaccount:ci:deployer", "kubernetes-admin", "")
IMAGE: Final = "spec.template.spec.containers[nginx].image"


def some(count: int = COUNT) -> list[Record]:
    """Return records, oldest first, some seconds apart."""
    return [_record(number) for number in range(count)]


def _record(number: int) -> Record:
    change = FieldChange(IMAGE, "replace", f"nginx:{number}", f"nginx:{number + 1}")
    replicas = FieldChange("spec.replicas", "replace", number, number + 1)
    is_told = number % 5 == 0
    return make_record(
        *(("hook", "file") if is_told else ()),
        findings=(FindingSummary("images", "web changed", "INFO"),) if is_told else (),
        at_milliseconds=START + 7_123 * number,
        resource=KINDS[number % len(KINDS)],
        user=User(username=USERS[number % len(USERS)]),
        operation=("UPDATE", "UPDATE", "CREATE", "FAILED")[number % 4],
        dry_run=number % 11 == 0,
        changes=(change, replicas)[: 1 + number % 2],
    )


def write(data_dir: Path, records: Sequence[Record]) -> Path:
    """Write a journal, whose deliveries to `hook` are dead; return its folder."""

    async def work() -> None:
        journal = Journal(data_dir)
        journal.start()
        await asyncio.gather(*map(journal.append, records))
        queue = DeliveryQueue(journal)
        claimed = await queue.claim("hook", limit=1000, lease=timedelta(minutes=1))
        await queue.settle([Settlement(id=each.id, state="dead", error="410 Gone") for each in claimed.deliveries])
        await journal.close(5)

    asyncio.run(work())
    return data_dir
