"""The JSON Patch (RFC 6902) that takes the field changes of an update back, and tests each before it does.

A `test` of null succeeds where there is no such field: so it does in the library of every API server
(github.com/evanphx/json-patch), while a strict reader of RFC 6902 refuses the patch, which is safe as well.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from app.core.change import ChangeOp, Entry, FieldChange
from app.core.diff import diff, patch
from app.core.edits import Edit, edits
from app.core.paths import Item, Path, render
from app.core.places import Operation, find, identical, keys_of, perform
from app.core.raw import string
from app.core.undo_answers import Refusal
from app.core.undo_later import is_insertion, moved_on, refused_by, replaced
from app.core.undo_places import (
    Place,
    field_of,
    live_place,
    order_tests,
    pointer,
    recorded_order_tests,
    recorded_place,
)

_UNSET: Final = msgspec.UNSET
_STRINGS: Final = (("metadata", "annotations"), ("metadata", "labels"))
"""Maps of which some keys are not recorded: they are taken back key by key."""


class Reversal(msgspec.Struct, frozen=True):
    """A patch, the fields that it changes back, and what it cannot make sure of."""

    patch: tuple[dict[str, Any], ...]
    changes: tuple[FieldChange, ...]
    cautions: tuple[str, ...] = ()


def reversal(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Reversal | Refusal:
    """Return what takes an update back, in the live object if it is known; a refusal where it moved on."""
    if live is None and (refusal := replaced(entry, later)):
        return refusal
    work = _Work(entry, live, later)
    for edit in reversed(edits(entry)):
        if refusal := work.take_back(edit):
            return refusal
    return work.done()


class _Work:
    """Takes edits back one by one, the last one first, on a copy of the live object if there is one."""

    def __init__(self, entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> None:
        self._entry = entry
        self._document = copy.deepcopy(live)
        self._later = later
        self._operations: list[dict[str, Any]] = []
        self._changes: list[FieldChange] = []
        self._cautions: list[str] = []
        self._inserted: set[str] = set()

    def take_back(self, edit: Edit) -> Refusal | None:
        mover = moved_on(edit, self._later)
        if self._document is None and mover is not None:
            return self._moved(edit.path, mover)
        is_done = self._reorder(edit) if edit.is_order else all(map(self._revert, self._parts(edit)))
        return None if is_done else self._moved(edit.path, mover)

    def done(self) -> Reversal | Refusal:
        resource = self._entry.resource
        if not self._changes:
            return Refusal(reason="undone", text=f"{resource} is as it was before this change already.")
        guards = [{"op": "test", "path": "/metadata/uid", "value": resource.uid}] if resource.uid else []
        version = string(self._document, "metadata", "resourceVersion")
        if self._inserted and version:
            guards.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
            self._cautions.append("The patch is good only until the object changes in any way, its status included.")
        elif self._inserted:
            lists = ", ".join(sorted(self._inserted))
            self._cautions.append(f"Nothing in the patch can tell whether {lists} has got other elements since.")
        return Reversal((*guards, *self._operations), tuple(self._changes), tuple(self._cautions))

    def _moved(self, path: Path, mover: Entry | None) -> Refusal:
        text = f"{render(path)} of {self._entry.resource} is not as this change left it"
        return refused_by(mover, "moved", text, render(path))

    def _parts(self, edit: Edit) -> Iterator[Edit]:
        change = edit.change
        whole = change.new if change.op == "add" else change.old
        splits = change.op == "add" or (change.op == "remove" and self._document is not None)
        if edit.path not in _STRINGS or type(whole) is not dict or not whole or not splits:
            yield edit
            return
        for key, value in whole.items():
            old, new = (_UNSET, value) if change.op == "add" else (value, _UNSET)
            yield Edit((*edit.path, key), FieldChange(render((*edit.path, key)), change.op, old, new))

    def _revert(self, edit: Edit) -> bool:
        path, now, then = edit.path, edit.change.new, edit.change.old
        place = recorded_place(path) if self._document is None else live_place(self._document, path)
        if place is None:
            return False
        if self._document is not None:
            there = _UNSET if place.missing else find(self._document, path)
            if is_insertion(edit) and not self._may_insert(edit, place):
                return False
            if not identical(there, now) and not is_insertion(edit):
                return self._is_back(edit, there)
        self._write(edit, place, now, then)
        return True

    def _is_back(self, edit: Edit, there: Any) -> bool:
        """Say whether a field that is not as the change left it is as it was before."""
        if not identical(there, edit.change.old):
            return False
        self._cautions.append(f"{edit.change.path} is as it was before already.")
        return True

    def _may_insert(self, edit: Edit, place: Place) -> bool:
        """Say whether a list has not got the element back, nor others, as far as anybody can know."""
        last, items = edit.path[-1], find(self._document, edit.path[:-1])
        if type(items) is not list:
            return False
        if isinstance(last, Item) and last.key is not None:
            return bool(place.missing)
        if render(edit.path[:-1]) in self._inserted:
            return True
        is_back = not place.missing and identical(items[int(place.steps[-1])], edit.change.old)
        return not is_back and moved_on(edit, self._later) is None

    def _write(self, edit: Edit, place: Place, now: Any, then: Any) -> None:
        self._test(place.tests)
        if is_insertion(edit):
            self._inserted.add(render(edit.path[:-1]))
            self._operations.append({"op": "add", "path": place.pointer, "value": then})
        else:
            self._operations += self._replacing(place, now, then)
        self._note(edit, now, then)

    def _replacing(self, place: Place, now: Any, then: Any) -> Iterator[dict[str, Any]]:
        if now is _UNSET:
            # What is missing on the way is made with the field in it.
            steps = place.steps[: len(place.steps) - max(place.missing - 1, 0)]
            for step in reversed(place.steps[len(steps) :]):
                then = {step: then}
            yield {"op": "test", "path": pointer(steps), "value": None}
            yield {"op": "add", "path": pointer(steps), "value": then}
            return
        yield {"op": "test", "path": place.pointer, "value": now}
        if then is _UNSET:
            yield {"op": "remove", "path": place.pointer}
        else:
            yield {"op": "replace", "path": place.pointer, "value": then}

    def _reorder(self, edit: Edit) -> bool:
        if self._document is None:
            return self._move_back(edit)
        items, place = find(self._document, edit.path), live_place(self._document, edit.path)
        field = field_of(edit.path)
        keys = keys_of(field, items) if type(items) is list else None
        if keys is None or place is None or [key for key in keys if key in edit.change.new] != edit.change.new:
            return False
        self._test((*place.tests, *order_tests(place.steps, field, items, keys)))
        wanted = {field: list(items)}
        perform(wanted, Operation("order", (field,), edit.change.old))
        above = pointer(place.steps[:-1])
        for operation in patch(diff({field: items}, wanted)):
            self._operations.append({key: _below(above, key, value) for key, value in operation.items()})
        self._note(edit, edit.change.new, edit.change.old)
        return True

    def _move_back(self, edit: Edit) -> bool:
        place = recorded_place(edit.path)
        self._test((*place.tests, *recorded_order_tests(place.steps, field_of(edit.path), edit.change.new)))
        moves = [each for each in self._entry.patch if each.get("op") == "move"]
        own = [each for each in moves if str(each.get("path")).rpartition("/")[0] == place.pointer]
        self._operations += [{"op": "move", "from": each["path"], "path": each["from"]} for each in reversed(own)]
        self._note(edit, edit.change.new, edit.change.old)
        return bool(own)

    def _test(self, tests: Sequence[dict[str, Any]]) -> None:
        # One that was made already holds: what the operations in between have moved is known.
        self._operations += [each for each in tests if each not in self._operations]

    def _note(self, edit: Edit, now: Any, then: Any) -> None:
        op: ChangeOp = "add" if now is _UNSET else "remove" if then is _UNSET else "replace"
        self._changes.append(FieldChange(edit.change.path, op, now, then))
        if self._document is not None:
            perform(self._document, edit.backwards)


def _below(above: str, key: str, value: Any) -> Any:
    return above + value if key in ("from", "path") else value
