"""Changes as the program makes them, from an admission review: one line to a valid one, keywords to bend it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from app.core.finding import Finding
from app.core.kinds import BY_NAME
from app.core.playbook import Playbook, Playbooks, RoutedFinding
from app.core.redact import Redactor
from app.core.review import Change, Review, decode, interpret

RECORDED = Path(__file__).parent.parent / "data" / "reviews-k8s-1.20"
REDACTOR = Redactor(b"k" * 32)


def change(operation: str = "UPDATE", kind: str = "Deployment", **options: Any) -> Change:
    """What `review` says."""
    return interpret(review(operation, kind, **options))


def review(
    operation: str = "UPDATE",
    kind: str = "Deployment",
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    name: str = "web",
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    subresource: str = "",
    user: str = "alice",
    groups: Sequence[str] = (),
    manager: str = "kubectl-edit",
    group: str | None = None,
    version: str = "v1",
    resource: str | None = None,
) -> Review:
    known = BY_NAME.get(kind.lower())
    group = group if group is not None else known.groups[0] if known else "example.com"
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}

    def document(body: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if body is None else {"metadata": metadata | body.get("metadata", {})} | _rest(body)

    request = {
        "uid": "1",
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {
            "group": group,
            "version": version,
            "resource": resource or (known.resource if known else f"{kind.lower()}s"),
        },
        "subResource": subresource,
        "name": name,
        "namespace": namespace,
        "operation": operation,
        "userInfo": {"username": user, "groups": list(groups)},
        "oldObject": document(_default(operation, old, "CREATE")),
        "object": document(_default(operation, new, "DELETE")),
        "options": {"fieldManager": manager},
    }
    return decode(json.dumps({"request": request}).encode())


def _rest(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "metadata"}


def _default(operation: str, body: dict[str, Any] | None, absent_in: str) -> dict[str, Any] | None:
    return None if operation == absent_in else body or {}


def image_change(old: str = "nginx:1", new: str = "nginx:2", **options: Any) -> Change:
    return change(old=workload(old), new=workload(new), **options)


def workload(image: str, replicas: int = 1) -> dict[str, Any]:
    containers = [{"name": "nginx", "image": image, "imagePullPolicy": "Always"}]
    return {"spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}}


def recorded(name: str) -> Change:
    return interpret(decode((RECORDED / f"{name}.json").read_bytes()))


def playbooks(text: str, sinks: Sequence[Any] = ()) -> Playbooks:
    return Playbooks.compile([Playbook.model_validate(item) for item in yaml.safe_load(text)], sinks)


def routed(text: str, about: Change, sinks: Sequence[Any] = ()) -> list[RoutedFinding]:
    return playbooks(text, sinks).evaluate(about, REDACTOR, "production")


def told(text: str, about: Change) -> list[Finding]:
    return [each.finding for each in routed(text, about)]


def fires(trigger: str, about: Change) -> bool:
    text = f"[{{triggers: [{trigger}], actions: [create_finding: {{title: t, aggregation_key: k}}]}}]"
    return bool(told(text, about))


def paths(finding: Finding) -> list[str]:
    return [each.path for block in finding.blocks for each in getattr(block, "changes", ())]
