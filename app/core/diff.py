"""What differs between two JSON documents, field by field, in an order that is also a valid RFC 6902 patch.

Lists are compared by the merge keys of the Kubernetes API where both sides have them, uniquely; else by position, with
the common beginning and end set aside, so that an inserted element is one addition.
"""

from __future__ import annotations

import marshal
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from app.core.change import ChangeOp
from app.core.paths import Item, Path

MERGE_KEYS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",), ("hostnames",)),
    "podIPs": (("ip",),),
    "hostIPs": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
    "conditions": (("type",),),
    "addresses": (("type", "address"),),
    "taints": (("key", "effect"),),
    "subjects": (("kind", "namespace", "name"),),
}
"""Lists whose elements are told apart by other keys than `name`: `patchMergeKey` and `x-kubernetes-list-map-keys`
of the built-in types (Kubernetes OpenAPI). Further keys of a tuple may be absent from an element."""

_BY_NAME: Final = (("name",),)
_SETS: Final = frozenset({"finalizers"})
_NONE: Final = msgspec.UNSET
_CONTAINERS: Final = (dict, list)


class Delta(msgspec.Struct, frozen=True):
    """One difference, with raw values: nothing here may be stored or shown before redaction.

    `pointer` is the place in the document at the time when this delta's turn comes in the patch. `context` holds the
    strings beside a value that say what it is: the `name` next to a `value`, the flag before an argument. `moves`
    (from, path) restore the order of a keyed list; such a delta's old and new values are the keys in order.
    """

    path: Path
    op: ChangeOp
    old: Any
    new: Any
    pointer: str
    context: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()


def diff(old: Any, new: Any, *, typed: bool = False) -> list[Delta]:
    """Return every difference from `old` to `new`, in a stable order; equal documents have none.

    Values are JSON: `true` and `1`, `1` and `1.0` are different. With `typed`, the caller knows that a schema fixes the
    type of every field (as for all built-in kinds), which spares a second comparison of what Python holds for equal.
    Raises RecursionError for documents that are nested deeper than the interpreter allows.
    """
    out: list[Delta] = []
    comparison = _Comparison(operator.eq if typed else _same, out)
    if type(old) is dict and type(new) is dict:
        comparison.maps(old, new, (), "")
    elif not _same(old, new):
        comparison.values(old, new, (), "")
    return out


def patch(deltas: Iterable[Delta]) -> Iterator[dict[str, Any]]:
    """Write the deltas as the operations of an RFC 6902 patch, with raw values."""
    for delta in deltas:
        if delta.moves:
            for source, target in delta.moves:
                yield {"op": "move", "from": source, "path": target}
        elif delta.op == "remove":
            yield {"op": "remove", "path": delta.pointer}
        else:
            yield {"op": delta.op, "path": delta.pointer, "value": delta.new}


def _same(old: Any, new: Any) -> bool:
    """Compare as JSON does: to Python True is 1 and 1 is 1.0, at any depth, so equal containers are compared again."""
    kind = type(old)
    if kind is not type(new) or old != new:
        return False
    return kind not in _CONTAINERS or marshal.dumps(old, 2) == marshal.dumps(new, 2) or _same_inside(old, new)


def _same_inside(old: Any, new: Any) -> bool:
    if type(old) is dict:
        return all(_same(value, new[key]) for key, value in old.items())
    return all(map(_same, old, new))


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def _context(key: str, *maps: dict[str, Any]) -> tuple[str, ...]:
    """Collect what names the value beside it, as `name` does in an environment variable or a header."""
    if key not in {"value", "values"}:
        return ()
    names = (each.get(word) for each in maps for word in ("name", "key"))
    return tuple(name for name in names if type(name) is str)


def _keys(items: list[Any], field: str, names: tuple[str, ...]) -> list[str] | None:
    """Return each element's merge key, or None where an element has none or two have the same."""
    if field in _SETS:
        keys = [item for item in items if type(item) is str]
    else:
        keys = [key for item in items if (key := _key(item, names)) is not None]
    return keys if len(keys) == len(items) == len(set(keys)) else None


def _key(item: Any, names: tuple[str, ...]) -> str | None:
    if type(item) is not dict or type(item.get(names[0])) not in (str, int):
        return None
    if len(names) == 1:
        return str(item[names[0]])
    return "/".join(str(item[name]) for name in names if type(item.get(name)) in (str, int))


def _flag(items: list[Any], index: int) -> tuple[str, ...]:
    """Return the argument before this one where it is a flag that may take it as its value."""
    before = items[index - 1] if 0 < index <= len(items) else None
    return (before,) if type(before) is str and before.startswith("-") else ()


class _Comparison:
    """One walk over two documents; `same` decides which pairs need no further look."""

    __slots__ = ("out", "same")

    def __init__(self, same: Callable[[Any, Any], bool], out: list[Delta]) -> None:
        self.same = same
        self.out = out

    def came(self, path: Path, value: Any, pointer: str, context: tuple[str, ...] = ()) -> None:
        self.out.append(Delta(path, "add", msgspec.UNSET, value, pointer, context))

    def went(self, path: Path, value: Any, pointer: str, context: tuple[str, ...] = ()) -> None:
        self.out.append(Delta(path, "remove", value, msgspec.UNSET, pointer, context))

    def maps(
        self, old: dict[str, Any], new: dict[str, Any], path: Path, pointer: str, context: tuple[str, ...] = ()
    ) -> None:
        same = self.same
        if old.keys() == new.keys():
            changed = [key for key, value in old.items() if not same(value, new[key])]
        else:
            changed = [key for key in old.keys() | new.keys() if not same(old.get(key, _NONE), new.get(key, _NONE))]
        for key in sorted(changed):
            before, after = old.get(key, _NONE), new.get(key, _NONE)
            where, inner = (*path, key), f"{pointer}/{_escape(key)}"
            if before is _NONE:
                self.came(where, after, inner, _context(key, new) + context)
            elif after is _NONE:
                self.went(where, before, inner, _context(key, old) + context)
            else:
                self.values(before, after, where, inner, _context(key, old, new) + context)

    def values(self, old: Any, new: Any, path: Path, pointer: str, context: tuple[str, ...] = ()) -> None:
        """Compare two values that are known to differ."""
        kind = type(old)
        if kind is type(new) and kind is dict:
            self.maps(old, new, path, pointer, context)
        elif kind is type(new) and kind is list:
            self.lists(old, new, path, pointer, context)
        else:
            self.out.append(Delta(path, "replace", old, new, pointer, context))

    def lists(self, old: list[Any], new: list[Any], path: Path, pointer: str, context: tuple[str, ...]) -> None:
        field = path[-1] if path and type(path[-1]) is str else ""
        for names in MERGE_KEYS.get(field, ()) + _BY_NAME:
            old_keys, new_keys = _keys(old, field, names), _keys(new, field, names)
            if old_keys is not None and new_keys is not None:
                self.keyed(old, new, old_keys, new_keys, path, pointer, context)
                return
        self.positional(old, new, path, pointer, context)

    def keyed(
        self,
        old: list[Any],
        new: list[Any],
        old_keys: list[str],
        new_keys: list[str],
        path: Path,
        pointer: str,
        context: tuple[str, ...],
    ) -> None:
        """Remove from the end, restore the order, add from the beginning, then compare pairs where they now stand."""
        if old_keys == new_keys:
            self.pairs(old, new, new_keys, path, pointer)
            return
        places = {key: index for index, key in enumerate(old_keys)}
        wanted = set(new_keys)
        for index in range(len(old) - 1, -1, -1):
            if old_keys[index] not in wanted:
                self.went((*path, Item(index, old_keys[index])), old[index], f"{pointer}/{index}", context)
        self.reorder(
            [key for key in old_keys if key in wanted],
            [key for key in new_keys if key in places],
            path,
            pointer,
        )
        for index, key in enumerate(new_keys):
            if key not in places:
                self.came((*path, Item(index, key)), new[index], f"{pointer}/{index}", context)
        for index, key in enumerate(new_keys):
            if key in places and not self.same(old[places[key]], new[index]):
                self.values(old[places[key]], new[index], (*path, Item(index, key)), f"{pointer}/{index}", context)

    def pairs(self, old: list[Any], new: list[Any], keys: list[str], path: Path, pointer: str) -> None:
        for index, key in enumerate(keys):
            if not self.same(old[index], new[index]):
                self.values(old[index], new[index], (*path, Item(index, key)), f"{pointer}/{index}")

    def reorder(self, current: list[str], wanted: list[str], path: Path, pointer: str) -> None:
        if current == wanted:
            return
        before, moves = list(current), []
        for target, key in enumerate(wanted):
            if current[target] != key:
                source = current.index(key, target)
                current.insert(target, current.pop(source))
                moves.append((f"{pointer}/{source}", f"{pointer}/{target}"))
        self.out.append(Delta(path, "replace", before, wanted, pointer, moves=tuple(moves)))

    def positional(self, old: list[Any], new: list[Any], path: Path, pointer: str, context: tuple[str, ...]) -> None:
        shortest = min(len(old), len(new))
        start = 0
        while start < shortest and self.same(old[start], new[start]):
            start += 1
        end = 0
        while end < shortest - start and self.same(old[-1 - end], new[-1 - end]):
            end += 1
        old_stop, new_stop = len(old) - end, len(new) - end
        for index in range(old_stop - 1, new_stop - 1, -1):
            self.went((*path, Item(index)), old[index], f"{pointer}/{index}", _flag(old, index) + context)
        for index in range(start, min(old_stop, new_stop)):
            if not self.same(old[index], new[index]):
                beside = _flag(old, index) + _flag(new, index) + context
                self.values(old[index], new[index], (*path, Item(index)), f"{pointer}/{index}", beside)
        for index in range(old_stop, new_stop):
            self.came((*path, Item(index)), new[index], f"{pointer}/{index}", _flag(new, index) + context)
