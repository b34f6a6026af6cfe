"""What custom resources were, what changed, who set it and how it is undone, whatever their keys and values are."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.core.blame import Blame, blame
from app.core.comparison import compare, differences
from app.core.history import as_recorded, state
from app.core.paths import Item, render
from app.core.places import leaves
from app.core.undo import Refusal, undo
from tests.core.lives import Document, between, introduced, moment_of
from tests.core.odd_lives import odd_histories, odd_life_of, written
from tests.core.patched import patched


def stored(document: Document) -> str:
    """Return what an API server would keep: it stores no empty labels or annotations."""
    kept = as_recorded(document)
    return json.dumps(kept | {"metadata": {k: v for k, v in kept["metadata"].items() if v != {}}}, sort_keys=True)


@given(odd_histories, st.booleans())
def test_an_undo_gives_the_old_object_back(states: list[Document], is_seen: bool) -> None:
    for old, new in itertools.pairwise(states):
        for entry in odd_life_of([old, new]):
            found = undo(entry, new if is_seen else None)

            assert not isinstance(found, Refusal), found
            assert stored(patched(new, found.patch)) == stored(old)


@given(odd_histories, odd_histories)
def test_an_undo_of_whatever_became_of_the_object_is_done_once_or_refused(
    states: list[Document], others: list[Document]
) -> None:
    for entry in odd_life_of(states):
        found = undo(entry, others[-1])

        if not isinstance(found, Refusal):
            again = undo(entry, patched(others[-1], found.patch))
            assert isinstance(again, Refusal)
            assert again.reason in ("undone", "moved")


@given(odd_histories, st.data())
def test_the_state_at_any_moment_is_what_the_object_was(states: list[Document], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(states) - 1))

    forwards = state(odd_life_of([None, *states]), between(number))
    backwards = state(odd_life_of(states), between(number - 1), states[-1])

    assert written(forwards.document) == written(backwards.document) == written(states[number])


@given(odd_histories, st.data())
def test_a_comparison_is_the_difference_of_what_was_there(states: list[Document], data: st.DataObject) -> None:
    whole = [None, *states, None]
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(states) + 1)] * 2)))

    found = compare(odd_life_of(whole), between(first - 1), between(last - 1))

    assert in_any_order(found) == in_any_order(differences(recorded(whole[first]), recorded(whole[last])))


def recorded(document: Document | None) -> Document | None:
    return None if document is None else as_recorded(document)


def in_any_order(found: Any) -> str:
    return json.dumps(msgspec.to_builtins(found), sort_keys=True)


@given(odd_histories)
def test_each_field_was_set_by_the_entry_since_which_it_has_been_so(states: list[Document]) -> None:
    found = blame(odd_life_of([None, *states]), states[-1])

    fields = list(leaves(as_recorded(states[-1])))
    assert [each.path for each in found] == [render(path) for path, _ in fields]
    for each, (path, value) in zip(found, fields, strict=True):
        if not any(isinstance(segment, Item) and segment.key is None for segment in path):
            assert _step(each) == introduced(states, path, value), each


def _step(found: Blame) -> int:
    return (datetime.fromisoformat(found.at) - moment_of(0)) // (moment_of(1) - moment_of(0))
