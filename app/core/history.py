"""An object's entries as one story: its lives, what happened in each, and what the object was at any moment.

Entries say what was attempted. Dry runs, and attempts that the API server repeated, are no part of an object's state.
The status is none either: it changes without being recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from app.core.change import Entry
from app.core.edits import OBJECTS, edits
from app.core.places import perform
from app.core.raw import items, mapping, moment, string
from app.core.review import GroupVersionKind, Request, Review, interpret

Event = Literal["created", "recreated", "changed", "deleted", "tried", "connected", "failed", "requested"]
"""`tried` is a dry run; `requested` what was asked through a subresource of something else, such as an eviction."""

Presence = Literal["there", "absent", "unknown"]

_RETRIED: Final = timedelta(seconds=60)
"""An API server gives up a request after this (its --request-timeout), and with it the repeats of an attempt."""


class Chapter(msgspec.Struct, frozen=True):
    """What one entry says about the object. `is_repeat` is an attempt that was made again: only the last one counts."""

    event: Event
    entry: Entry
    is_repeat: bool = False


class Life(msgspec.Struct, frozen=True):
    """Everything about one object between its creation and its deletion; `uid` is empty where no entry has one."""

    uid: str
    chapters: tuple[Chapter, ...]

    @property
    def created(self) -> Entry | None:
        """The entry of the creation, if it was recorded."""
        first = next((each for each in self.chapters if each.event in ("created", "recreated")), None)
        return first.entry if first else None

    @property
    def deleted(self) -> Entry | None:
        """The entry of the deletion, if the object is gone; one with finalizers is there until they are."""
        return _deletion(self.changes)

    @property
    def changes(self) -> tuple[Entry, ...]:
        """The entries that made the object what it is, oldest first."""
        return tuple(each.entry for each in self.chapters if is_effective(each.entry) and not each.is_repeat)


class State(msgspec.Struct, frozen=True):
    """What is known of an object at a moment; `document` is set where it was there and is known as a whole."""

    presence: Presence
    document: dict[str, Any] | None = None


UNKNOWN: Final = State("unknown")
ABSENT: Final = State("absent")


def story(entries: Iterable[Entry]) -> tuple[Life, ...]:
    """Return the lives of an object, oldest first; entries are of one object, oldest first. No entry is left out."""
    told = list(entries)
    lives: list[tuple[str, list[Entry]]] = []
    for entry in told:
        if not lives or _begins_anew(entry, *lives[-1]):
            lives.append((entry.resource.uid if is_effective(entry) else "", []))
        uid, life = lives[-1]
        life.append(entry)
        if not uid and is_effective(entry):
            lives[-1] = (entry.resource.uid, life)
    return tuple(_lives(lives, _repeated(told)))


def is_effective(entry: Entry) -> bool:
    """Say whether an entry makes the object other than it was, if the attempt succeeded."""
    if entry.dry_run or entry.operation not in ("CREATE", "UPDATE", "DELETE"):
        return False
    subresource = entry.resource.subresource
    return not subresource or (entry.operation == "UPDATE" and subresource in OBJECTS)


def state_at(entries: Iterable[Entry], at: datetime, live: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the object as it was at a moment; None where it was not there, or is not known as a whole.

    Without status and what every write changes. `live` is the object as it is now, redacted as entries are.
    """
    return state(entries, at, live).document


def state(entries: Iterable[Entry], at: datetime, live: dict[str, Any] | None = None) -> State:
    """Return what is known of the object at a moment, by the nearest recorded whole object before it, or after it."""
    lives = [life for life in story(entries) if life.changes]
    begun = [life for life in lives if is_by(life.changes[0], at)]
    if not begun:
        return _before_all(lives, live)
    life = begun[-1]
    past = tuple(entry for entry in life.changes if is_by(entry, at))
    future = life.changes[len(past) :]
    if not future and _deletion(past):
        return ABSENT
    document = _forwards(past)
    if document is None:
        is_last = life is lives[-1] and not life.deleted
        document = _backwards(future, live if is_last and is_same_life(life, live) else None)
    return State("there", document) if document is not None else UNKNOWN


def is_by(entry: Entry, at: datetime) -> bool:
    """Say whether an entry came at this moment or before."""
    came = moment(entry.at)
    return came is not None and came <= at


def is_same_life(life: Life, live: dict[str, Any] | None) -> bool:
    """Say whether the live object can be the one of this life."""
    uid = string(live, "metadata", "uid")
    return not uid or not life.uid or uid == life.uid


def as_recorded(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an object without status and what every write changes, as entries keep it."""
    # The group decides only how updates are compared.
    review = Review(Request(uid="", kind=GroupVersionKind(), operation="CREATE", object=document))
    kept = interpret(review).new or {}
    return copy.deepcopy({key: value for key, value in kept.items() if key != "status"})


def replay(document: dict[str, Any], entry: Entry, *, make: bool = False) -> bool:
    """Change a document as an update did; say whether every place was found."""
    done = [perform(document, edit.forwards, make=make) for edit in edits(entry)]
    return entry.truncated is not True and all(done)


def rewind(document: dict[str, Any], entry: Entry, *, make: bool = False) -> bool:
    """Change a document back to what it was before an update; say whether every place was found."""
    done = [perform(document, edit.backwards, make=make) for edit in reversed(edits(entry))]
    return entry.truncated is not True and all(done)


def _lives(lives: Iterable[tuple[str, list[Entry]]], repeated: set[str]) -> Iterator[Life]:
    was_there = False
    for uid, life in lives:
        events = [_event(entry, is_new=not was_there) for entry in life]
        yield Life(
            uid, tuple(Chapter(event, entry, entry.id in repeated) for event, entry in zip(events, life, strict=True))
        )
        # A creation of which nothing came may have been refused.
        was_there = was_there or any(is_effective(entry) and entry.operation != "CREATE" for entry in life)


def _event(entry: Entry, *, is_new: bool) -> Event:
    if entry.dry_run:
        return "tried"
    match entry.operation:
        case "CONNECT":
            return "connected"
        case "FAILED":
            return "failed"
        case _ if not is_effective(entry):
            return "requested"
        case "CREATE":
            return "created" if is_new else "recreated"
        case "DELETE":
            return "deleted"
    return "changed"


def _begins_anew(entry: Entry, uid: str, life: Sequence[Entry]) -> bool:
    if not is_effective(entry) or not any(map(is_effective, life)):
        return False
    is_same = bool(uid) and entry.resource.uid == uid
    differs = bool(uid and entry.resource.uid) and not is_same
    return differs or (entry.operation == "CREATE" and not is_same)


def _repeated(entries: Sequence[Entry]) -> set[str]:
    """Return the ids of updates that were attempted again before anybody else changed one of their fields."""
    found: set[str] = set()
    following: dict[str, Entry] = {}
    for entry in reversed(entries):
        if not is_effective(entry) or entry.operation != "UPDATE":
            following.clear()
            continue
        after = [following.get(change.path) for change in entry.changes]
        if after and all(each is not None and _is_attempt_of(entry, each) for each in after):
            found.add(entry.id)
        following.update(dict.fromkeys((change.path for change in entry.changes), entry))
    return found


def _is_attempt_of(entry: Entry, later: Entry) -> bool:
    if entry.user.username != later.user.username or entry.changes != later.changes or entry.patch != later.patch:
        return False
    first, second = moment(entry.at), moment(later.at)
    return first is not None and second is not None and second - first <= _RETRIED


def _deletion(changes: Sequence[Entry]) -> Entry | None:
    """Return the deletion by which an object is gone after these entries of one life."""
    deletions = [index for index, entry in enumerate(changes) if entry.operation == "DELETE"]
    if not deletions:
        return None
    last = deletions[-1]
    document = {"metadata": mapping(kept_object(changes[last]), "metadata")}
    is_held = bool(items(document, "metadata", "finalizers"))
    if not is_held:
        return changes[last] if last == len(changes) - 1 else None
    document = copy.deepcopy(document)
    for entry in changes[last + 1 :]:
        replay(document, entry)
    return None if items(document, "metadata", "finalizers") else changes[last]


def kept_object(entry: Entry) -> dict[str, Any] | None:
    """Return the whole object that an entry keeps, without its status; None if it keeps none."""
    if type(entry.object) is not dict or entry.truncated is True:
        return None
    return {key: value for key, value in entry.object.items() if key != "status"}


def _before_all(lives: Sequence[Life], live: dict[str, Any] | None) -> State:
    if not lives:
        return State("there", as_recorded(live)) if live is not None else UNKNOWN
    first = lives[0]
    if first.changes[0].operation == "CREATE":
        return ABSENT
    known = live if len(lives) == 1 and not first.deleted and is_same_life(first, live) else None
    document = _backwards(first.changes, known)
    return State("there", document) if document is not None else UNKNOWN


def _forwards(past: Sequence[Entry]) -> dict[str, Any] | None:
    document: dict[str, Any] | None = None
    for entry in past:
        whole = kept_object(entry) if entry.operation != "UPDATE" else None
        if entry.operation != "UPDATE":
            document = copy.deepcopy(whole)
        elif document is not None and not replay(document, entry):
            document = None
    return None if document is None else _tidy(document)


def _backwards(future: Sequence[Entry], live: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the object before these entries of one life, by the first that keeps it, or by the live one."""
    whole = next((index for index, entry in enumerate(future) if entry.operation == "DELETE"), None)
    document = None if live is None else as_recorded(live)
    if whole is not None:
        document = copy.deepcopy(kept_object(future[whole]))
    if document is None:
        return None
    for entry in reversed(future[:whole]):
        if not rewind(document, entry):
            return None
    return _tidy(document)


def _tidy(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out annotations of which none counts, as whole objects are kept."""
    metadata = document.get("metadata")
    if type(metadata) is dict and metadata.get("annotations") == {}:
        del metadata["annotations"]
    return document
