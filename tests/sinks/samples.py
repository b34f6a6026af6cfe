"""Notifications for the tests of sinks: one line to a valid one, keywords to bend it."""

from __future__ import annotations

from typing import Any

import msgspec

from app.core.change import Actor, Entry, FieldChange, Resource, User
from app.core.finding import (
    Block,
    DiffBlock,
    FileBlock,
    Finding,
    Folded,
    JsonBlock,
    Notification,
    Severity,
    TableBlock,
    TextBlock,
)

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


LINK = "https://kubewitness.example.com/entries/01910000-0000-7000-8000-000000000001"


def image(**fields: Any) -> Notification:
    """The tutorial's first use case: one field, one link."""
    changed = FieldChange(IMAGE, "replace", "nginx:1.27", "nginx:1.28")
    told = notification(
        DiffBlock(changes=(changed,)),
        description="Updated by alice with kubectl-set.",
        changes=(changed,),
        field_manager="kubectl-set",
        labels={"app": "web", "team": "checkout"},
        **fields,
    )
    return msgspec.structs.replace(told, link=LINK)


def many_fields(count: int = 400) -> Notification:
    """More than most receivers take in a message."""
    changes = tuple(
        FieldChange(f"spec.template.spec.containers[app].env[FEATURE_{n:03}].value", "replace", f"off-{n}", f"on-{n}")
        for n in range(count)
    )
    told = notification(DiffBlock(changes=changes), description="Updated by alice with helm.", changes=changes)
    return msgspec.structs.replace(told, link=LINK)


def created() -> Notification:
    """An object that was not there, whole."""
    document = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}}
    told = notification(
        JsonBlock(value=document),
        title="Service/shop/web created",
        description="Created by alice with kubectl-create.",
        operation="CREATE",
        changes=(),
        resource=Resource(version="v1", kind="Service", namespace="shop", name="web"),
        object=document,
    )
    return msgspec.structs.replace(told, link=LINK)


def failed_job() -> Notification:
    """The tutorial's second use case: text, table and logs, of high severity."""
    logs = "".join(f"2026-01-02T03:03:{n:02} row {n} imported\n" for n in range(40)) + "FATAL: cannot connect\n"
    blocks = (
        TextBlock(text="CronJob shop/nightly changed 62 seconds before the failure, by alice with kubectl-set."),
        TableBlock(
            headers=("type", "reason", "age", "message"),
            rows=(("Warning", "BackoffLimitExceeded", "2s", "Job has reached the specified backoff limit"),),
            title="Job Events",
        ),
        FileBlock(name="nightly-28391-x7k2p/importer.log", content=logs),
    )
    told = notification(
        *blocks,
        title="Job Failed",
        description="The Job failed for good: BackoffLimitExceeded.",
        operation="FAILED",
        outcome="observed",
        user=User(),
        field_manager="",
        changes=(FieldChange("status.conditions[Failed]", "add", new="BackoffLimitExceeded"),),
        resource=Resource(group="batch", version="v1", kind="Job", namespace="shop", name="nightly-28391"),
    )
    finding = msgspec.structs.replace(told.finding, severity=Severity.HIGH, aggregation_key="job_failure")
    return msgspec.structs.replace(told, finding=finding, link=LINK)


def folded() -> Notification:
    """One message for a field that goes back and forth."""
    told = notification(DiffBlock(changes=(SCALED,)), description="Updated by alice with kubectl-edit.")
    return msgspec.structs.replace(told, link=LINK, folded=Folded(count=14, since="2026-01-02T02:59:10.000000Z"))


def hostile_names() -> Notification:
    """What a stranger may choose, in every place, with what each receiver would take for markup."""
    evil = (
        "@channel @here <!channel> <@U1> [link](https://evil.example) *b* _i_ `c` <b>x</b> {{x}} &amp; |\\| " + HOSTILE
    )
    changed = FieldChange(f"data[{evil}]", "replace", evil, f"https://evil.example/ {evil}")
    told = notification(
        DiffBlock(changes=(changed,)),
        TableBlock(headers=("who", "what"), rows=((evil, "```\n" + evil),), title=evil),
        FileBlock(name=evil, content=f"```\n{evil}\n```\n</pre>"),
        title=evil,
        description=f"Subject: x\r\nBcc: victim@evil.example\r\n\r\n{evil}",
        cluster=evil,
        user=User(username=evil),
        field_manager=evil,
        labels={"app": evil},
        changes=(changed,),
        resource=Resource(kind="ConfigMap", namespace="shop", name=evil),
    )
    return msgspec.structs.replace(told, link=LINK)
