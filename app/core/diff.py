"""What differs between two JSON documents, field by field, in an order that is also a valid RFC 6902 patch.

Lists are compared by the merge keys of the Kubernetes API where both sides have them, uniquely; else by position, with
the common beginning and end set aside, so that an inserted element is one addition.
"""

from __future__ import annotations

import functools
import marshal
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from app.core.change import ChangeOp
from app.core.credentials import programs
from app.core.indented import CONTENTS, SECRET, SECRET_FIELDS, TITLES
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

Context = tuple[str, ...]

NAMED: Final = CONTENTS | SECRET_FIELDS | {"metadata", "key", "args"}
"""Fields of which something beside them says what they hold."""

REFERENCE: Final = "\0reference"
"""In a context: the `key` stands beside the name of what it is a key of."""
OF_A_SECRET: Final = "\0metadata"
"""In a context: the metadata is that of a Secret."""
_REFERENCES: Final = ("name", "path", "secretName")

_MOST_MOVES: Final = 1000
"""A longer list whose order changed is told as a whole: to find its moves would take time by its square."""

_SETS: Final = frozenset({"finalizers"})
_NONE: Final = msgspec.UNSET
_CONTAINERS: Final = (dict, list)


class Delta(msgspec.Struct, frozen=True):
    """One difference, with raw values: nothing here may be stored or shown before redaction.

    `context` holds the strings beside a value, or beside one around it, that say what it is: the `name` next to a
    `value`, the flag before an argument, the program in its list. `moves` (from, to) restore the order of a keyed list;
    such a delta's old and new values are the keys in order.
    """

    path: Path
    op: ChangeOp
    old: Any
    new: Any
    context: Context = ()
    moves: tuple[tuple[int, int], ...] = ()

    @property
    def pointer(self) -> str:
        """The place (RFC 6901) in the document at the time when this delta's turn comes in the patch."""
        return "".join([f"/{_escape(each) if type(each) is str else each.index}" for each in self.path])

    def operations(self, value: Any) -> Iterator[dict[str, Any]]:
        """Write the delta as operations of an RFC 6902 patch, with `value` for the new one."""
        pointer = self.pointer
        if self.moves:
            for source, target in self.moves:
                yield {"op": "move", "from": f"{pointer}/{source}", "path": f"{pointer}/{target}"}
        elif self.op == "remove":
            yield {"op": "remove", "path": pointer}
        else:
            yield {"op": self.op, "path": pointer, "value": value}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def diff(old: Any, new: Any, *, typed: bool = False) -> list[Delta]:
    """Return every difference from `old` to `new`, in a stable order; equal documents have none.

    Values are JSON: `true` and `1`, `1` and `1.0` are different. With `typed`, the caller knows that a schema fixes the
    type of every field (as for all built-in kinds), which spares a second comparison of what Python holds for equal.
    Raises RecursionError for documents that are nested deeper than the interpreter allows.
    """
    out: list[Delta] = []
    comparison = _Comparison(operator.eq if typed else _same, out)
    if type(old) is dict and type(new) is dict:
        comparison.maps(old, new, ())
    elif not _same(old, new):
        comparison.values(old, new, ())
    return out


def patch(deltas: Iterable[Delta]) -> Iterator[dict[str, Any]]:
    """Write the deltas as the operations of an RFC 6902 patch, with raw values."""
    for delta in deltas:
        yield from delta.operations(delta.new)


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


def beside(field: str, *maps: dict[str, Any]) -> Context:
    """Return what says what a field of NAMED holds, from the fields beside it in these maps (old and new)."""
    if field == "metadata":
        return (OF_A_SECRET,) if _is_secret(maps) else ()
    if field == "key":
        return (REFERENCE,) if all(any(word in each for word in _REFERENCES) for each in maps) else ()
    if field == "args":
        return programs(word for each in maps for word in _command(each))
    said = (each.get(word) for each in maps for word in TITLES)
    titles = tuple(title for title in said if type(title) is str)
    return ("secret", *titles) if field in SECRET_FIELDS and _is_secret(maps) else titles


def _is_secret(maps: Iterable[dict[str, Any]]) -> bool:
    return any(each.get("kind") == SECRET for each in maps)


def _command(container: dict[str, Any]) -> list[Any]:
    command = container.get("command")
    return [container.get("image"), *(command if type(command) is list else ())]


def _unique(keys: list[str], items: list[Any]) -> list[str] | None:
    return keys if len(keys) == len(items) == len(set(keys)) else None


def _strings(items: list[Any]) -> list[str] | None:
    """Return the elements of a set of strings, which are their own keys."""
    return _unique([item for item in items if type(item) is str], items)


def _by_name(items: list[Any]) -> list[str] | None:
    """Return each element's `name`, or None where an element has none or two have the same."""
    try:
        keys = [item["name"] for item in items]
    except (KeyError, TypeError, IndexError):
        return None
    return _unique([key for key in keys if type(key) is str], items)


def _keys(names: tuple[str, ...], items: list[Any]) -> list[str] | None:
    """Return each element's merge key, or None where an element has none or two have the same."""
    return _unique([key for item in items if (key := _key(item, names)) is not None], items)


def _key(item: Any, names: tuple[str, ...]) -> str | None:
    if type(item) is not dict or type(item.get(names[0])) not in (str, int):
        return None
    return "/".join(str(item[name]) for name in names if type(item.get(name)) in (str, int))


def _moves(current: list[str], wanted: list[str]) -> tuple[tuple[int, int], ...]:
    """Return the moves (from, to) that bring the keys into the wanted order."""
    order, moves = list(current), []
    for target, key in enumerate(wanted):
        if order[target] != key:
            source = order.index(key, target)
            order.insert(target, order.pop(source))
            moves.append((source, target))
    return tuple(moves)


def flag(items: list[Any], index: int) -> Context:
    """Return the argument before this one where it is a flag that may take it as its value."""
    before = items[index - 1] if 0 < index <= len(items) else None
    return (before,) if type(before) is str and before.startswith("-") else ()


class _Comparison:
    """One walk over two documents; `same` decides which pairs need no further look."""

    __slots__ = ("out", "same")

    def __init__(self, same: Callable[[Any, Any], bool], out: list[Delta]) -> None:
        self.same = same
        self.out = out

    def came(self, path: Path, value: Any, context: Context) -> None:
        self.out.append(Delta(path, "add", _NONE, value, context))

    def went(self, path: Path, value: Any, context: Context) -> None:
        self.out.append(Delta(path, "remove", value, _NONE, context))

    def maps(self, old: dict[str, Any], new: dict[str, Any], path: Path, context: Context = ()) -> None:
        same = self.same
        if old.keys() == new.keys():
            changed = [key for key, value in old.items() if not same(value, new[key])]
        else:
            changed = [key for key in old.keys() | new.keys() if not same(old.get(key, _NONE), new.get(key, _NONE))]
        for key in sorted(changed):
            before, after = old.get(key, _NONE), new.get(key, _NONE)
            inner = beside(key, old, new) + context if key in NAMED else context
            if before is _NONE:
                self.came((*path, key), after, inner)
            elif after is _NONE:
                self.went((*path, key), before, inner)
            else:
                self.values(before, after, (*path, key), inner)

    def values(self, old: Any, new: Any, path: Path, context: Context = ()) -> None:
        """Compare two values that are known to differ."""
        kind = type(old)
        if kind is type(new) and kind is dict:
            self.maps(old, new, path, context)
        elif kind is type(new) and kind is list:
            self.lists(old, new, path, context)
        else:
            self.out.append(Delta(path, "replace", old, new, context))

    def lists(self, old: list[Any], new: list[Any], path: Path, context: Context) -> None:
        field = path[-1] if path and type(path[-1]) is str else ""
        if field in _SETS:
            keys_of = [_strings]
        else:
            keys_of = [functools.partial(_keys, names) for names in MERGE_KEYS.get(field, ())]
            keys_of.append(_by_name)
        for keys in keys_of:
            old_keys, new_keys = keys(old), keys(new)
            if old_keys is not None and new_keys is not None:
                self.keyed(old, new, old_keys, new_keys, path, context)
                return
        self.positional(old, new, path, context)

    def keyed(
        self, old: list[Any], new: list[Any], old_keys: list[str], new_keys: list[str], path: Path, context: Context
    ) -> None:
        """Remove from the end, restore the order, add from the beginning, then compare pairs where they now stand."""
        if old_keys == new_keys:
            self.pairs(old, new, new_keys, path, context)
            return
        places = {key: index for index, key in enumerate(old_keys)}
        wanted = set(new_keys)
        before = [key for key in old_keys if key in wanted]
        after = [key for key in new_keys if key in places]
        if before != after and len(after) > _MOST_MOVES:
            self.out.append(Delta(path, "replace", old, new, context))
            return
        for index in range(len(old) - 1, -1, -1):
            if old_keys[index] not in wanted:
                self.went((*path, Item(index, old_keys[index])), old[index], context)
        if before != after:
            self.out.append(Delta(path, "replace", before, after, moves=_moves(before, after)))
        for index, key in enumerate(new_keys):
            if key not in places:
                self.came((*path, Item(index, key)), new[index], context)
        paired = [old[places[key]] if key in places else new[index] for index, key in enumerate(new_keys)]
        self.pairs(paired, new, new_keys, path, context)

    def pairs(self, old: list[Any], new: list[Any], keys: list[str], path: Path, context: Context) -> None:
        for index, key in enumerate(keys):
            if not self.same(old[index], new[index]):
                self.values(old[index], new[index], (*path, Item(index, key)), context)

    def positional(self, old: list[Any], new: list[Any], path: Path, context: Context) -> None:
        shortest = min(len(old), len(new))
        start = 0
        while start < shortest and self.same(old[start], new[start]):
            start += 1
        end = 0
        while end < shortest - start and self.same(old[-1 - end], new[-1 - end]):
            end += 1
        context += programs(old) + programs(new)
        old_stop, new_stop = len(old) - end, len(new) - end
        for index in range(old_stop - 1, new_stop - 1, -1):
            self.went((*path, Item(index)), old[index], flag(old, index) + context)
        for index in range(start, min(old_stop, new_stop)):
            if not self.same(old[index], new[index]):
                before = flag(old, index) + flag(new, index) + context
                self.values(old[index], new[index], (*path, Item(index)), before)
        for index in range(old_stop, new_stop):
            self.came((*path, Item(index)), new[index], flag(new, index) + context)
