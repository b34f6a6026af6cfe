"""Who set each field of an object as it is now: `git blame` for what the ledger knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from app.core.change import Entry
from app.core.comparison import seen_fields
from app.core.edits import Edit, edits
from app.core.history import Life, as_recorded, is_same_life, kept_object, state, story
from app.core.paths import Item, Segment, render
from app.core.places import Leaf, Operation, find, identical, keys_of, leaves, perform, plain, step_to
from app.core.raw import string
from app.core.redact import PREFIX

Origin = Literal["entry", "before", "unseen"]
"""`before`: set before the ledger began, as far as it tells; `unseen`: it is not as the entries left it."""

_FINGERPRINTS: Final = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")
_END: Final = datetime.max.replace(tzinfo=UTC)


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """Who set one field last. `entry_id` is None where no entry tells, and `origin` says why.

    `old` is what it was before, unset where it was not there; `at` is RFC 3339.
    """

    path: str
    value: Any
    entry_id: str | None = None
    at: str = ""
    user: str = ""
    old: Any = msgspec.UNSET
    actor: str = ""
    field_manager: str = ""
    operation: str = ""
    origin: Origin = "before"


def blame(entries: Iterable[Entry], live: dict[str, Any] | None, *, same_key: bool = True) -> list[Blame]:
    """Return for each field of the object as it is now who set it last; entries are of one object, oldest first.

    `live` is redacted as entries are, and decides what the fields are. Without it, that is what the entries tell: the
    whole object, or the fields that they changed; nothing if it is gone. Fields are those without fields inside, in the
    order of the object; the status, and what every write changes, are none. Where the live object was not redacted with
    the ledger's key (`same_key`), fingerprints say nothing and any two count as equal.
    """
    lives = [life for life in story(entries) if life.changes]
    life = _life(lives, live)
    if live is not None:
        return _Search(as_recorded(live), same_key).run(life.changes if life else ())
    if life is None or life.deleted:
        return []
    document = state(life.changes, _END).document
    if document is not None:
        return _Search(document, same_key=True).run(life.changes)
    updates = [entry for entry in life.changes if entry.operation == "UPDATE"]
    found = _Search(seen_fields(updates)[1], same_key=True).run(life.changes)
    # What no entry tells of, and what holds nothing, are places that were made for what they tell.
    return [each for each in found if each.entry_id is not None and each.value not in ({}, [])]


def _life(lives: Sequence[Life], live: dict[str, Any] | None) -> Life | None:
    """Return the life that the live object has, or else the last one."""
    uid = string(live, "metadata", "uid")
    if uid and any(life.uid == uid for life in lives):
        return next(life for life in reversed(lives) if life.uid == uid)
    return lives[-1] if lives and is_same_life(lives[-1], live) else None


class _Search:
    """Goes back in time from an object, and notes for each of its leaves which entry it came with."""

    def __init__(self, document: dict[str, Any], same_key: bool) -> None:
        self._leaves = list(leaves(document))
        self._found: dict[int, Blame] = {}
        self._same_key = same_key
        numbers = iter(range(len(self._leaves)))
        self._document = _numbered(document, numbers)

    def run(self, changes: Sequence[Entry]) -> list[Blame]:
        """Return what is found with the entries of one life, oldest first."""
        for entry in reversed(changes):
            if entry.operation == "CREATE":
                self._settle(self._document, kept_object(entry), entry)
                break
            if entry.operation == "UPDATE":
                for edit in reversed(edits(entry)):
                    self._undo(edit, entry)
        return [
            self._found.get(number) or Blame(path=render(path), value=value)
            for number, (path, value) in enumerate(self._leaves)
        ]

    def _undo(self, edit: Edit, entry: Entry) -> None:
        node = find(self._document, edit.path)
        if edit.is_order:
            perform(self._document, edit.backwards)
        elif edit.change.op == "remove":
            self._restore(edit, node, entry)
        elif node is not msgspec.UNSET and self._succeeded(edit, plain(node)):
            self._settle(node, edit.change.new, entry, old=edit.change.old)
            perform(self._document, edit.backwards)

    def _succeeded(self, edit: Edit, value: Any) -> bool:
        """Say whether a field can be what an attempt made of it, also if it was changed unseen since.

        Where it still is what it was, somebody else set it. An element without a key is known by its value alone.
        """
        if self._agree(value, edit.change.new):
            return True
        if edit.change.op == "add":
            return _has_own_place(edit)
        return not self._agree(value, edit.change.old)

    def _restore(self, edit: Edit, node: Any, entry: Entry) -> None:
        """Put back what was removed; if something is there, it came again unseen, or never went."""
        if node is not msgspec.UNSET and _has_own_place(edit):
            if self._agree(plain(node), edit.change.old):
                return
            self._settle(node, msgspec.UNSET, entry)
            perform(self._document, Operation("take", edit.path))
        self._open(edit, entry)
        perform(self._document, edit.backwards)

    def _open(self, edit: Edit, entry: Entry) -> None:
        """Let an empty map or list be one again, into which something can be put back: this entry emptied it."""
        for length in range(1, len(edit.path)):
            outer = edit.path[:length]
            node = find(self._document, outer)
            if type(node) is Leaf and type(node.value) in (dict, list):
                self._note(node, entry, node.value, msgspec.UNSET)
                perform(self._document, Operation("set", outer, node.value))

    def _settle(self, node: Any, recorded: Any, entry: Entry, *, old: Any = msgspec.UNSET, field: str = "") -> None:
        """Note the entry for every leaf that is as the entry left it, and that nobody knows of the others."""
        if type(node) is Leaf:
            self._note(node, entry, recorded, old)
        elif type(node) is dict:
            for key, inner in node.items():
                self._settle(inner, _inside(recorded, key, ""), entry, old=_inside(old, key, ""), field=key)
        elif type(node) is list:
            keys = keys_of(field, plain(node))
            for index, inner in enumerate(node):
                item = Item(index, keys[index] if keys else None)
                self._settle(inner, _inside(recorded, item, field), entry, old=_inside(old, item, field))

    def _note(self, leaf: Leaf, entry: Entry, recorded: Any, old: Any) -> None:
        path, value = self._leaves[leaf.number]
        if not self._agree(value, recorded):
            self._found.setdefault(leaf.number, Blame(path=render(path), value=value, origin="unseen"))
            return
        told = Blame(
            path=render(path),
            value=recorded if _is_hidden(recorded, value) else value,
            entry_id=entry.id,
            at=entry.at,
            user=entry.user.username,
            old=old,
            actor=entry.actor.kind,
            field_manager=entry.field_manager,
            operation=entry.operation,
            origin="entry",
        )
        self._found.setdefault(leaf.number, told)

    def _agree(self, value: Any, recorded: Any) -> bool:
        if recorded is msgspec.UNSET:
            return False
        if type(recorded) in (dict, list):
            return type(value) is type(recorded) and self._all_agree(value, recorded)
        if type(value) is not str or type(recorded) is not str:
            return _is_hidden(recorded, value) or identical(value, recorded)
        if not self._same_key:
            value, recorded = _FINGERPRINTS.sub(PREFIX, value), _FINGERPRINTS.sub(PREFIX, recorded)
        return value == recorded or _is_hidden(recorded, value)

    def _all_agree(self, value: Any, recorded: Any) -> bool:
        if len(value) != len(recorded):
            return False
        if type(value) is dict:
            return all(key in recorded and self._agree(inner, recorded[key]) for key, inner in value.items())
        return all(map(self._agree, value, recorded))


def _is_hidden(recorded: Any, value: Any) -> bool:
    """Say whether the ledger has a fingerprint of what is shown to us: rules hid it there that we do not know."""
    if type(recorded) is not str or not _FINGERPRINTS.fullmatch(recorded):
        return False
    return type(value) not in (dict, list) and not (type(value) is str and _FINGERPRINTS.search(value))


def _has_own_place(edit: Edit) -> bool:
    """Say whether nothing else can stand where this field stands: elements without a key only have positions."""
    last = edit.path[-1]
    return not isinstance(last, Item) or last.key is not None


def _inside(recorded: Any, segment: Segment, field: str) -> Any:
    step = step_to(recorded, segment, field) if type(recorded) in (dict, list) else None
    return msgspec.UNSET if step is None else recorded[step]


def _numbered(node: Any, numbers: Iterator[int]) -> Any:
    """Return a copy in which every leaf has its number, in the order of `leaves`."""
    if type(node) is dict and node:
        return {key: _numbered(inner, numbers) for key, inner in node.items()}
    if type(node) is list and node:
        return [_numbered(inner, numbers) for inner in node]
    return Leaf(node, next(numbers))
