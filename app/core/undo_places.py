"""Places of recorded fields as JSON Pointers (RFC 6901), with tests that they still are the same places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from app.core.diff import MERGE_KEYS
from app.core.paths import Item, Path, Segment
from app.core.places import SET, step_to

Step = str | int
Test = dict[str, Any]


class Place(msgspec.Struct, frozen=True):
    """Where a field is: `steps` lead to it, `tests` say that each list element on the way is the one that is meant.

    `missing` counts the steps at the end that the object does not have; without an object, nothing is known of them.
    """

    steps: tuple[Step, ...]
    tests: tuple[Test, ...] = ()
    missing: int = 0

    @property
    def pointer(self) -> str:
        """The place as a JSON Pointer."""
        return pointer(self.steps)


def pointer(steps: tuple[Step, ...]) -> str:
    """Return the JSON Pointer of some steps."""
    return "".join([f"/{str(each).replace('~', '~0').replace('/', '~1')}" for each in steps])


def recorded_place(path: Path) -> Place:
    """Return where a field was when it was recorded."""
    steps: list[Step] = []
    tests: list[Test] = []
    for index, segment in enumerate(path):
        steps.append(segment.index if isinstance(segment, Item) else segment)
        if isinstance(segment, Item) and segment.key is not None and index < len(path) - 1:
            tests += _by_usual_key(field_of(path[:index]), tuple(steps), segment.key)
    return Place(tuple(steps), tuple(tests))


def live_place(document: Any, path: Path) -> Place | None:
    """Return where a field is in an object, list elements by their keys; None where a list on the way is another.

    Maps on the way may be missing, and so may the field itself: a list element that is missing has its recorded index.
    """
    steps: list[Step] = []
    tests: list[Test] = []
    node = document
    for index, segment in enumerate(path):
        field, is_last = field_of(path[:index]), index == len(path) - 1
        step = step_to(node, segment, field)
        if step is None:
            return _unfound(node, path[index:], Place(tuple(steps), tuple(tests)))
        steps.append(step)
        node = node[step]
        if isinstance(segment, Item) and segment.key is not None and not is_last:
            tests += _by_own_keys(field, tuple(steps), node, segment.key)
    return Place(tuple(steps), tuple(tests))


def field_of(path: Path) -> str:
    """Return the name of the field at the end of a path, empty for an element of a list."""
    return path[-1] if path and isinstance(path[-1], str) else ""


def order_tests(steps: tuple[Step, ...], field: str, items: list[Any], keys: list[str]) -> Iterator[Test]:
    """Yield tests that a list has these keys in this order."""
    for index, (element, key) in enumerate(zip(items, keys, strict=True)):
        yield from _by_own_keys(field, (*steps, index), element, key)


def recorded_order_tests(steps: tuple[Step, ...], field: str, keys: list[str]) -> Iterator[Test]:
    """Yield tests that a list has these keys in this order, of which nothing but the keys is known."""
    for index, key in enumerate(keys):
        yield from _by_usual_key(field, (*steps, index), key)


def _unfound(node: Any, rest: tuple[Segment, ...], found: Place) -> Place | None:
    last = rest[-1]
    if type(node) is list:
        if len(rest) > 1 or not isinstance(last, Item):
            return None
        return Place((*found.steps, min(last.index, len(node))), found.tests, 1)
    names = tuple(each for each in rest if isinstance(each, str))
    is_map = type(node) is dict and len(names) == len(rest)
    return Place((*found.steps, *names), found.tests, len(names)) if is_map else None


def _by_usual_key(field: str, steps: tuple[Step, ...], key: str) -> Iterator[Test]:
    # Which fields other keys were made of is not recorded.
    if field == SET:
        yield {"op": "test", "path": pointer(steps), "value": key}
    elif field not in MERGE_KEYS:
        yield {"op": "test", "path": pointer((*steps, "name")), "value": key}


def _by_own_keys(field: str, steps: tuple[Step, ...], element: Any, key: str) -> Iterator[Test]:
    if type(element) is str:
        yield {"op": "test", "path": pointer(steps), "value": element}
        return
    for names in (*MERGE_KEYS.get(field, ()), ("name",)):
        present = [name for name in names if type(element.get(name)) in (str, int)]
        if names[0] in present and "/".join(str(element[name]) for name in present) == key:
            yield from ({"op": "test", "path": pointer((*steps, name)), "value": element[name]} for name in present)
            return
