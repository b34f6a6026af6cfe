"""What scopes may ask about a change, worked out only when they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from app.core.change import Resource
from app.core.paths import render
from app.core.review import Change

NAMESPACE_LABELS: Final = "namespace_labels"

NamespaceLabels = Callable[[str], Mapping[str, str] | None]
"""Returns the labels of a namespace by its name, None while they are not known."""


def unknown_namespaces(_name: str) -> None:
    """Know no namespace's labels."""


class PartialChange(Change, frozen=True, kw_only=True):
    """A change of which not everything is known any more, such as one that an entry tells.

    `missing` are the attributes, by the names that scopes use, that cannot be told from it; `spec` among them means
    that nobody knows whether the object has one.
    """

    missing: frozenset[str] = frozenset()


def is_known(change: Change, attribute: str) -> bool:
    """Say whether an attribute can be told from the change."""
    return not (isinstance(change, PartialChange) and attribute in change.missing)


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


def labels_of_namespace(
    resource: Resource, labels: Mapping[str, str], known: NamespaceLabels
) -> Mapping[str, str] | None:
    """Return the labels of the namespace that an object with these labels is in; None while they are not known.

    A Namespace has its own, and what is in no namespace has none.
    """
    if resource.kind == "Namespace" and not resource.group:
        return labels
    return known(resource.namespace) if resource.namespace else {}


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
    """The attributes of a change, by the names that scopes use; None for what is not known of it."""

    __slots__ = ("_change", "_namespaces")

    def __init__(self, change: Change, namespaces: NamespaceLabels = unknown_namespaces) -> None:
        self._change = change
        self._namespaces = namespaces

    def __getitem__(self, name: str) -> Any:
        change = self._change
        if name == NAMESPACE_LABELS:
            return labels_of_namespace(change.resource, change.labels, self._namespaces)
        return _READERS[name](change) if is_known(change, name) else None

    def __iter__(self) -> Iterator[str]:
        yield from _READERS
        yield NAMESPACE_LABELS

    def __len__(self) -> int:
        return len(_READERS) + 1
