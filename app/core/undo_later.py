"""What the ledger tells of an object after an entry: whether it moved on, and by whom."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from app.core.change import Entry
from app.core.edits import Edit, edits
from app.core.history import is_effective
from app.core.paths import Item, Path
from app.core.places import identical
from app.core.undo_answers import Reason, Refusal

_GONE = "it was deleted since"
_ANOTHER = "it was deleted and created again since"


def following(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries after this one that made the object other than it was; `entries` are oldest first.

    What follows at once and is the same is no change of its own: the API server attempted it again.
    """
    after = [each for each in entries if each.id > entry.id and is_effective(each)]
    return list(itertools.dropwhile(lambda each: _says(each) == _says(entry), after))


def _says(entry: Entry) -> tuple[object, ...]:
    return entry.operation, entry.user.username, entry.resource, entry.changes, entry.patch


def replaced(entry: Entry, later: Sequence[Entry]) -> Refusal | None:
    """Refuse where the object was deleted, or is another one of the same name, as far as the ledger tells."""
    for each in later:
        uid, other = entry.resource.uid, each.resource.uid
        if each.operation == "CREATE" or (uid and other and uid != other):
            return refused_by(each, "gone", f"{entry.resource}: {_ANOTHER}")
    deletions = [each for each in later if each.operation == "DELETE"]
    # One with finalizers is changed once more before it goes.
    return refused_by(deletions[-1], "gone", f"{entry.resource}: {_GONE}") if deletions else None


def moved_on(edit: Edit, later: Sequence[Entry]) -> Entry | None:
    """Return the entry that left a field otherwise than this edit did; None where the last word on it is the same.

    The place of a list element without a key is that of the whole list.
    """
    place = edit.path[-1]
    if is_insertion(edit) and isinstance(place, Item) and place.key is None:
        last = last_on(edit.path[:-1], later)
        return last[0] if last else None
    last = last_on(edit.path, later)
    if last is None:
        return None
    entry, found = last
    is_same = _names(found.path) == _names(edit.path) and found.change.op == edit.change.op
    return None if is_same and identical(found.change.new, edit.change.new) else entry


def is_insertion(edit: Edit) -> bool:
    """Say whether to take the edit back inserts an element into a list."""
    return edit.change.op == "remove" and isinstance(edit.path[-1], Item)


def last_on(path: Path, later: Sequence[Entry]) -> tuple[Entry, Edit] | None:
    """Return the last edit of a field, of what is around it, or of what is in it."""
    return next(_on(path, later), None)


def refused_by(mover: Entry | None, reason: Reason, text: str, path: str = "") -> Refusal:
    """Return a refusal that says who is behind it, if that is known."""
    if mover is None:
        return Refusal(reason=reason, text=f"{text}.", path=path)
    who = mover.user.username or "somebody"
    told = f"{text}: by {who} at {mover.at} (entry {mover.id})."
    return Refusal(reason=reason, text=told, path=path, by=mover.user.username, at=mover.at, entry_id=mover.id)


def _on(path: Path, later: Sequence[Entry]) -> Iterator[tuple[Entry, Edit]]:
    names = _names(path)
    for entry in reversed(later):
        for edit in reversed(edits(entry) if entry.operation == "UPDATE" else ()):
            other = _names(edit.path)
            shorter = min(len(names), len(other))
            if names[:shorter] == other[:shorter]:
                yield entry, edit


def _names(path: Path) -> tuple[str, ...]:
    return tuple(str(each) if isinstance(each, Item) else each for each in path)
