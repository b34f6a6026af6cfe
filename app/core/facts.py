"""What scopes may ask about a change, worked out only when they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from app.core.paths import render
from app.core.review import Change


def _paths(change: Change) -> list[str]:
    return [render(delta.path) for delta in change.deltas]


def current(change: Change) -> dict[str, Any]:
    """Return the object as it is to be, for a DELETE as it was."""
    return change.new or change.old or {}


def node(change: Change) -> str:
    """Return the name of a Node, or of the node that a Pod is bound to; else nothing."""
    if change.resource.kind == "Node":
        return change.resource.name
    spec = current(change).get("spec")
    name = spec.get("nodeName") if isinstance(spec, dict) and change.resource.kind == "Pod" else None
    return name if isinstance(name, str) else ""


_READERS: Final[dict[str, Callable[[Change], Any]]] = {
    "name": lambda change: change.resource.name,
    "namespace": lambda change: change.resource.namespace,
    "kind": lambda change: change.resource.kind,
    "labels": lambda change: change.labels,
    "annotations": lambda change: change.annotations,
    "attributes": current,
    "node": node,
    "user": lambda change: change.user.username,
    "group": lambda change: change.user.groups,
    "operation": lambda change: change.operation,
    "path": _paths,
    "field_manager": lambda change: change.field_manager,
    "actor": lambda change: change.actor.kind,
    "api_group": lambda change: change.resource.group,
    "resource": lambda change: change.resource.resource,
    "subresource": lambda change: change.resource.subresource,
}


class ChangeFacts(Mapping[str, Any]):
    """The attributes of a change, by the names that scopes use."""

    __slots__ = ("_change",)

    def __init__(self, change: Change) -> None:
        self._change = change

    def __getitem__(self, name: str) -> Any:
        return _READERS[name](self._change)

    def __iter__(self) -> Iterator[str]:
        return iter(_READERS)

    def __len__(self) -> int:
        return len(_READERS)
