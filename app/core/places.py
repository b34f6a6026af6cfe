"""Places in a document, found by path: what stands there, and one step of a change to it.

List elements are found by their merge key first, then by their position. A document may be known in part only; then
what is missing on the way to a place is made, and what stands beside it unknown is counted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from app.core.diff import MERGE_KEYS, diff
from app.core.paths import Item, Path, Segment

SET: Final = "finalizers"
"""The list whose elements are their own keys."""

_NAME: Final = ("name",)
"""What tells elements apart where nothing else does; of these keys, the only one that is never a number."""

_MOST_NAMES: Final = max(map(len, MERGE_KEYS.values()))
_PAD: Final = "\0"
"""Begins the name of what stands for an element of a list of which nothing was recorded."""

NOT_RECORDED: Final = "(not recorded)"
"""Stands for a value that no entry tells."""


class Leaf(msgspec.Struct, frozen=True):
    """A value without fields inside it that is told apart from equal ones, by a number."""

    value: Any
    number: int


class Operation(msgspec.Struct, frozen=True):
    """One step on a document: `put` a value where there is none, `take` one away, `set` it, `order` a keyed list."""

    act: Literal["put", "take", "set", "order"]
    path: Path
    value: Any = msgspec.UNSET


def perform(document: Any, operation: Operation, *, make: bool = False) -> bool:
    """Change the document; say whether the place was found.

    What is there already is not put twice, what is gone already need not be taken. With `make`, of the document only
    those parts are known that were recorded: then whatever is missing on the way is made.
    """
    *way, last = operation.path
    # A map that holds nothing is often left out, and one that is left out is made.
    container = descend(document, tuple(way), make=make, open_maps=operation.act != "take", following=last)
    if container is None:
        return operation.act == "take"
    field = _field(operation.path)
    match operation.act:
        case "take":
            _take(container, last, field, make=make)
        case "order":
            items = descend(container, (last,), make=make, outer=field, following=Item(0))
            return _order(items, operation.value, str(last), make=make)
        case _:
            return _put(container, operation, field, make=make)
    return True


def find(document: Any, path: Path) -> Any:
    """Return what stands at the path, UNSET if there is nothing."""
    container = descend(document, path[:-1])
    step = None if container is None else step_to(container, path[-1], _field(path))
    return msgspec.UNSET if container is None or step is None else container[step]


def identical(one: Any, other: Any) -> bool:
    """Compare as JSON does: `true` and `1`, `1` and `1.0` are different."""
    return not diff({"": one}, {"": other})


def keys_of(field: str, items: Iterable[Any]) -> list[str] | None:
    """Return the keys by which the elements of a list are told apart, as the diff has them; None without any."""
    elements = list(items)
    if field == SET and elements and all(type(each) is str for each in elements):
        return elements if len(set(elements)) == len(elements) else None
    for names in _key_names(field):
        keys = [key for each in elements if (key := _key(each, names)) is not None]
        if elements and len(keys) == len(elements) == len(set(keys)):
            return keys
    return None


def known(value: Any) -> Any:
    """Return the value without what stands for what was not recorded; NOT_RECORDED where that is all."""
    if type(value) is list:
        return [known(each) for each in value]
    if type(value) is dict:
        return NOT_RECORDED if _is_pad(value) else {key: known(each) for key, each in value.items()}
    return NOT_RECORDED if _is_pad(value) else value


def plain(node: Any) -> Any:
    """Return the document without numbers on its leaves."""
    if type(node) is dict:
        return {key: plain(value) for key, value in node.items()}
    if type(node) is list:
        return [plain(value) for value in node]
    return node.value if type(node) is Leaf else node


def _field(path: Path) -> str:
    """Return the name of the list that the last segment of a path is an element of."""
    return path[-2] if len(path) > 1 and type(path[-2]) is str else ""


def descend(
    node: Any,
    path: Path,
    *,
    make: bool = False,
    open_maps: bool = False,
    following: Segment = "",
    outer: str = "",
) -> Any:
    """Return the map or list at the end of the path; None if there is none, or if it is something else.

    `following` says what a container at the end is made for; `outer` is the field of the list that `node` is.
    """
    for index, segment in enumerate(path):
        step = step_to(node, segment, outer)
        then = path[index + 1] if index + 1 < len(path) else following
        if step is None and (make or (open_maps and type(node) is dict and not isinstance(then, Item))):
            step = _made(node, segment, then, outer)
        if step is None:
            return None
        if make and _is_pad(node[step]):
            node[step] = _empty(segment, then, outer)
        node = node[step]
        outer = segment if type(segment) is str else ""
    return node if type(node) in (dict, list) else None


def step_to(container: Any, segment: Segment, field: str) -> str | int | None:
    """Return the key or the position of a segment in a container; None if it is not there."""
    if type(container) is dict:
        name = str(segment)
        return name if name in container else None
    return _index(container, segment, field) if type(container) is list else None


def _index(items: list[Any], segment: Segment, field: str) -> int | None:
    if isinstance(segment, Item):
        key, index = segment.key, segment.index
    else:
        key, index = segment, int(segment) if segment.isascii() and segment.isdigit() else len(items)
    if key is None:
        return index if index < len(items) else None
    keys = keys_of(field, items)
    if keys is not None and key in keys:
        return keys.index(key)
    # Some elements may not have the field by which others are told apart, as one that nothing is known of.
    if index < len(items) and _answers(items[index], key, field):
        return index
    found = (place for place, each in enumerate(items) if _answers(each, key, field))
    return next(found, None)


def _answers(element: Any, key: str, field: str) -> bool:
    value = _value(element)
    if type(value) is str:
        return value == key
    return any(_key(value, names) == key for names in _key_names(field))


def _key_names(field: str) -> tuple[tuple[str, ...], ...]:
    """Return the fields that may tell the elements of a list apart, the first that do."""
    return (*MERGE_KEYS.get(field, ()), _NAME)


def _key(element: Any, names: tuple[str, ...]) -> str | None:
    if type(element) is not dict:
        return None
    first = type(_value(element.get(names[0])))
    if first is not str and (first is not int or names == _NAME):
        return None
    values = (_value(element.get(name)) for name in names)
    return "/".join(str(value) for value in values if type(value) in (str, int))


def _value(node: Any) -> Any:
    return node.value if type(node) is Leaf else node


def _take(container: Any, last: Segment, field: str, *, make: bool) -> None:
    step = step_to(container, last, field)
    if step is not None:
        del container[step]
    elif make and isinstance(last, Item) and type(container) is list:
        _pad_to(container, last, field)


def _put(container: Any, operation: Operation, field: str, *, make: bool) -> bool:
    last, value = operation.path[-1], copy.deepcopy(operation.value)
    if type(container) is dict:
        container[str(last)] = value
        return True
    if type(container) is not list or not isinstance(last, Item):
        return False
    if make:
        _pad_to(container, last, field)
    place = _index(container, last, field) if last.key is not None or operation.act == "set" else None
    if place is not None:
        container[place] = value
    elif operation.act == "set" and make and last.index < len(container) and _is_pad(container[last.index]):
        container[last.index] = value
    else:
        container.insert(last.index, value)
    return True


def _order(items: Any, wanted: Any, field: str, *, make: bool) -> bool:
    if type(items) is not list or type(wanted) is not list:
        return False
    places = [_index(items, Item(len(items), str(key)), field) for key in wanted]
    if not make and None in places:
        return False
    chosen = [
        _keyed(field, str(key)) if place is None else items[place] for key, place in zip(wanted, places, strict=True)
    ]
    others = [each for place, each in enumerate(items) if place not in places and not _is_pad(each)]
    items[:] = chosen + others
    return True


def _made(container: Any, segment: Segment, then: Segment, field: str) -> str | int | None:
    """Make what a segment leads to, and return its key or position."""
    if type(container) is dict:
        container[str(segment)] = _empty(segment, then, "")
        return str(segment)
    if type(container) is not list or not isinstance(segment, Item):
        return None
    _pad_to(container, segment, field)
    place = min(segment.index, len(container))
    if place < len(container) and _is_pad(container[place]):
        container[place] = _empty(segment, then, field)
    else:
        container.insert(place, _empty(segment, then, field))
    return place


def _empty(segment: Segment, then: Segment, field: str) -> Any:
    if isinstance(segment, Item) and segment.key is not None:
        return _keyed(field, segment.key)
    return [] if isinstance(then, Item) else {}


def _keyed(field: str, key: str) -> Any:
    """Return an element of which no more is known than its key."""
    names = [names[0] for names in MERGE_KEYS.get(field, ())] or ["name"]
    return key if field == SET else dict.fromkeys(names, key)


def _pad_to(items: list[Any], item: Item, field: str) -> None:
    taken = len(items)
    while len(items) < item.index:
        # A number of its own also beside those of an earlier call, of which some have been found out about since.
        name = f"{_PAD}{taken}-{len(items)}"
        items.append(name if item.key is None else _keyed(field, name))


def _is_pad(node: Any) -> bool:
    value = next(iter(node.values()), None) if type(node) is dict and len(node) <= _MOST_NAMES else node
    return type(value) is str and value.startswith(_PAD)


def leaves(node: Any, path: Path = (), field: str = "") -> Iterator[tuple[Path, Any]]:
    """Yield each value without fields inside it, with its path; elements of lists by their keys, as the diff has them.

    An empty map or list is such a value.
    """
    if type(node) is dict and node:
        for key, inner in node.items():
            yield from leaves(inner, (*path, key), key)
    elif type(node) is list and node:
        keys = keys_of(field, node)
        for index, inner in enumerate(node):
            yield from leaves(inner, (*path, Item(index, keys[index] if keys else None)), "")
    else:
        yield path, node
