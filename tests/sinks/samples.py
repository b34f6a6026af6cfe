"""Notifications for the tests of sinks: one line to a valid one, keywords to bend it."""

from __future__ import annotations

from typing import Any

from app.core.change import Actor, Entry, FieldChange, Resource, User
from app.core.finding import Block, DiffBlock, FileBlock, Finding, JsonBlock, Notification, TableBlock, TextBlock

IMAGE = "spec.template.spec.containers[nginx].image"
SCALED = FieldChange("spec.replicas", "replace", 1, 3)
HOSTILE = "evil\x1b[31m\n\u202eexe.txt\x07\u200b [bold]x[/bold]"


def entry(**fields: Any) -> Entry:
    defaults: dict[str, Any] = {
        "id": "01910000-0000-7000-8000-000000000001",
        "at": "2026-01-02T03:04:05.000000Z",
        "cluster": "prod",
        "resource": Resource(group="apps", version="v1", kind="Deployment", namespace="shop", name="web"),
        "user": User(username="alice"),
        "field_manager": "kubectl-edit",
        "changes": (SCALED,),
    }
    return Entry(**{**defaults, **fields})


def notification(
    *blocks: Block, title: str = "Deployment/shop/web updated", attempt: int = 1, **fields: Any
) -> Notification:
    finding = Finding(playbook="images", title=title, description=fields.pop("description", ""), blocks=blocks)
    return Notification(delivery_id="d-1", finding=finding, entry=entry(**fields), attempt=attempt)


def hostile() -> Notification:
    """Every text that a stranger can choose is hostile, and the diff is a megabyte."""
    big = FieldChange(f"data[{HOSTILE}]", "replace", HOSTILE + "a" * 1_000_000, {"b": ["c" * 1_000_000]})
    blocks = (
        TextBlock(text=HOSTILE),
        TableBlock(headers=(HOSTILE,), rows=((HOSTILE,),), title=HOSTILE),
        DiffBlock(changes=(big, FieldChange("spec.paused", "add", new=True), FieldChange("x", "remove", old=None))),
        FileBlock(name=HOSTILE, content=HOSTILE * 1000),
        JsonBlock(value={HOSTILE: HOSTILE}),
    )
    return notification(
        *blocks,
        title=HOSTILE,
        description=HOSTILE,
        cluster=HOSTILE,
        user=User(username=HOSTILE),
        field_manager=HOSTILE,
        actor=Actor(kind="human", pod=HOSTILE, node=HOSTILE),
        resource=Resource(kind="ConfigMap", namespace="shop", name=HOSTILE, subresource=HOSTILE),
    )
