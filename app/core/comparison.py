"""What an object's changes come to between two moments: the net difference, whatever went back and forth."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from app.core.change import Entry, FieldChange
from app.core.diff import Delta, diff
from app.core.history import Life, State, is_by, kept_object, replay, rewind, state, story
from app.core.paths import render
from app.core.places import known


def compare(entries: Iterable[Entry], since: datetime, until: datetime) -> list[FieldChange]:
    """Return the net field changes after `since`, up to and with `until`; entries are of one object, oldest first.

    What went back and forth is no change. Where the object is known at both moments, this is the difference of the two;
    else it is what the entries between them tell, and an old value that none of them tells is NOT_RECORDED. An object
    that came or went in between is added or removed as a whole, field by field from the top.
    """
    told = list(entries)
    before, after = state(told, since), state(told, until)
    if "unknown" not in (before.presence, after.presence):
        return differences(before.document, after.document)
    window = _window(story(told), since, until)
    return differences(*_sparse(window, before, after))


def differences(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[FieldChange]:
    """Return the field changes from one redacted object to another; None is one that was not there."""
    return [_change(delta) for delta in diff(before or {}, after or {})]


def seen_fields(changes: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what updates tell of an object before the first and after the last of them: only what they changed."""
    before: dict[str, Any] = {}
    for entry in reversed(changes):
        rewind(before, entry, make=True)
    after = copy.deepcopy(before)
    for entry in changes:
        replay(after, entry, make=True)
    return before, after


def _change(delta: Delta) -> FieldChange:
    return FieldChange(render(delta.path), delta.op, known(delta.old), known(delta.new))


def _window(lives: Sequence[Life], since: datetime, until: datetime) -> list[Entry]:
    """Return the changes between the moments, of the last life that has any."""
    windows = ([each for each in life.changes if is_by(each, until) and not is_by(each, since)] for life in lives)
    return next((window for window in reversed(list(windows)) if window), [])


def _sparse(
    window: Sequence[Entry], before: State, after: State
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    created = [index for index, entry in enumerate(window) if entry.operation == "CREATE"]
    if created:
        # Right before it there was none, whatever had been there earlier.
        document = copy.deepcopy(kept_object(window[created[-1]]) or {})
        return None, after.document if after.presence != "unknown" else _replayed(document, window[created[-1] + 1 :])
    updates = [entry for entry in window if entry.operation == "UPDATE"]
    if before.document is not None:
        return before.document, _replayed(copy.deepcopy(before.document), updates)
    if after.document is not None:
        document = copy.deepcopy(after.document)
        for entry in reversed(updates):
            rewind(document, entry)
        return document, after.document
    return seen_fields(updates)


def _replayed(document: dict[str, Any], updates: Sequence[Entry]) -> dict[str, Any]:
    for entry in updates:
        replay(document, entry)
    return document
