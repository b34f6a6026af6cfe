"""Changes as entries retell them: all that the ledger knows of a change, in the terms of playbooks.

An entry of an update holds the changed fields, not the object: its annotations and other fields are missing. So are
changes of the status, unless the ledger is told to keep them. All values are redacted already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from app.core.change import Entry, FieldChange
from app.core.diff import Delta
from app.core.facts import PartialChange
from app.core.kinds import kind_of
from app.core.paths import Item, Path, Segment, parse, render
from app.core.raw import mapping

_WITHOUT_SPEC: Final = frozenset(
    "ClusterRole ClusterRoleBinding ConfigMap ControllerRevision EndpointSlice Endpoints Event"
    " MutatingWebhookConfiguration PriorityClass Role RoleBinding RuntimeClass Secret ServiceAccount StorageClass"
    " ValidatingWebhookConfiguration".split()
)
"""Built-in kinds that have no `spec` (Kubernetes OpenAPI)."""


def retold(entry: Entry) -> PartialChange:
    """Return the change that an entry is about; raises ValueError for one of a failed Job, which is no change."""
    if entry.operation == "FAILED":
        raise ValueError("the entry is about a failed Job")
    document = None if entry.object is msgspec.UNSET else entry.object
    deltas = tuple(_deltas(entry.changes, entry.patch))
    has_spec = _has_spec(entry, deltas)
    old = document if entry.operation == "DELETE" else None
    new = None if entry.operation == "DELETE" else document
    if entry.operation == "UPDATE" and has_spec is not False:
        new = {"spec": {}}
    return PartialChange(
        operation=entry.operation,
        dry_run=entry.dry_run,
        resource=entry.resource,
        user=entry.user,
        actor=entry.actor,
        field_manager=entry.field_manager,
        labels=entry.labels,
        annotations=_strings(mapping(document, "metadata", "annotations")),
        old=old,
        new=new,
        deltas=deltas,
        truncated=entry.truncated is True,
        missing=frozenset(_missing(entry, document, has_spec)),
    )


def _missing(entry: Entry, document: dict[str, Any] | None, has_spec: bool | None) -> Iterator[str]:
    if document is None:
        yield from ("annotations", "attributes")
        if entry.resource.kind == "Pod":
            yield "node"
    if entry.operation == "UPDATE":
        yield "status"
        if has_spec is None:
            yield "spec"


def _has_spec(entry: Entry, deltas: Sequence[Delta]) -> bool | None:
    """Say whether the object has a spec; None for a custom resource that may or may not."""
    if any(delta.path[:1] == ("spec",) for delta in deltas):
        return True
    if entry.resource.kind in _WITHOUT_SPEC:
        return False
    return None if kind_of(entry.resource.group, entry.resource.resource) is None else True


def _deltas(changes: Sequence[FieldChange], patch: Sequence[dict[str, Any]]) -> Iterator[Delta]:
    """Read the deltas back; the patch, written in the same order, tells which place in a list a name has."""
    pointers = list(_pointers(patch))
    if len(pointers) != len(changes):
        pointers = [""] * len(changes)
    for change, pointer in zip(changes, pointers, strict=True):
        yield Delta(_path(change.path, pointer), change.op, change.old, change.new)


def _pointers(patch: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield one pointer for each delta: the moves of one list belong to one."""
    moved = ""
    for operation in patch:
        pointer = str(operation.get("path", ""))
        if operation.get("op") != "move":
            moved = ""
            yield pointer
        elif (place := pointer.rpartition("/")[0]) != moved:
            moved = place
            yield place


def _path(text: str, pointer: str) -> Path:
    names = parse(text) if text else ()
    places = pointer.split("/")[1:]
    if len(places) != len(names):
        return names
    # A number in the pointer is a place in a list, or a key that is a number: the one that is written in the same way.
    by_index = tuple(map(_item, names, places))
    by_name = tuple(name if name == place else _item(name, place) for name, place in zip(names, places, strict=True))
    return next((path for path in (by_index, by_name) if render(path) == text), names)


def _item(name: str, place: str) -> Segment:
    if not place.isdecimal():
        return name
    return Item(int(place), None if name == place else name)


def _strings(value: Any) -> dict[str, str]:
    return {key: each for key, each in value.items() if isinstance(each, str)} if isinstance(value, dict) else {}
