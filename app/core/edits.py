"""Recorded field changes as edits of a document, forwards and backwards.

An entry says what it changed twice: in the paths of its changes, where list elements have their merge keys, and in the
pointers of its RFC 6902 patch, where they have their positions. An edit knows both, so that it finds its place by the
key where the position has moved because something was not recorded.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from app.core.change import Entry, FieldChange
from app.core.paths import Item, Path, Segment, parse, render
from app.core.places import Operation

OBJECTS: Final = frozenset({"", "scale", "ephemeralcontainers", "resize", "finalize", "approval"})
"""Subresources whose updates are updates of the object itself, its status aside."""

_REPLICAS: Final = ("spec", "replicas")


class Edit(msgspec.Struct, frozen=True):
    """One recorded field change with its place."""

    path: Path
    change: FieldChange
    is_order: bool = False

    @property
    def forwards(self) -> Operation:
        """What turns the old state into the new one."""
        return self._operation("put", "take", self.change.new)

    @property
    def backwards(self) -> Operation:
        """What turns the new state into the old one."""
        return self._operation("take", "put", self.change.old)

    def _operation(self, add: Literal["put", "take"], remove: Literal["put", "take"], value: Any) -> Operation:
        if self.change.op == "replace":
            return Operation("order" if self.is_order else "set", self.path, value)
        return Operation(add if self.change.op == "add" else remove, self.path, value)


def edits(entry: Entry) -> tuple[Edit, ...]:
    """Return the edits of an update in their order; none of the status, which changes without being recorded.

    Total: what is malformed is left out.
    """
    pointers = _pointers(entry)
    found: list[Edit] = []
    for index, change in enumerate(entry.changes):
        pointer = pointers[index] if len(pointers) == len(entry.changes) else None
        path = _path(change.path, pointer[0] if pointer else None)
        if path and _counts(entry.resource.subresource, path):
            found.append(Edit(_of_parent(entry.resource.subresource, path), change, _is_order(change, pointer)))
    return tuple(found)


def _pointers(entry: Entry) -> list[tuple[list[str], bool]]:
    """Return for each change its pointer's segments, and whether it is the moves of a list."""
    found: list[tuple[list[str], bool]] = []
    for operation in entry.patch:
        pointer = [each.replace("~1", "/").replace("~0", "~") for each in str(operation.get("path")).split("/")[1:]]
        is_move = operation.get("op") == "move"
        place = (pointer[:-1] if is_move else pointer, is_move)
        if not (is_move and found and found[-1] == place):
            found.append(place)
    return found


def _path(text: str, pointer: list[str] | None) -> Path | None:
    try:
        names = parse(text)
    except ValueError:
        return None
    if pointer is None or len(pointer) != len(names):
        return names
    path: list[Segment] = []
    for name, place in zip(names, pointer, strict=True):
        path.append(_segment(text, path, name, place))
    return tuple(path)


def _segment(text: str, before: list[Segment], name: str, place: str) -> Segment:
    if not (place.isascii() and place.isdigit()):
        return name
    item = Item(int(place), None if name == place else name)
    # `data.0` is the key of a map, `args[0]` an element of a list.
    return item if text.startswith(render((*before, item))) else name


def _counts(subresource: str, path: Path) -> bool:
    return path == _REPLICAS if subresource == "scale" else path[0] != "status"


def _of_parent(subresource: str, path: Path) -> Path:
    # Before Kubernetes 1.22 the subresource had an object of a kind of its own.
    is_own = subresource == "ephemeralcontainers" and path[0] == "ephemeralContainers"
    return ("spec", *path) if is_own else path


def _is_order(change: FieldChange, pointer: tuple[list[str], bool] | None) -> bool:
    if pointer is not None:
        return pointer[1]
    both = (change.old, change.new)
    if not all(type(each) is list and all(type(key) is str for key in each) for each in both):
        return False
    return change.op == "replace" and change.old != change.new and sorted(change.old) == sorted(change.new)
