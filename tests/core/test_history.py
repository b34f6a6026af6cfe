"""An object's entries are one story, and tell what it was at any moment that they cover."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.change import Entry
from app.core.history import as_recorded, state, state_at, story
from app.core.paths import render
from app.core.places import leaves
from tests.core.lives import BEGINNING, Document, between, deployment, histories, keyed_histories, life_of, told

BEFORE = BEGINNING - timedelta(minutes=1)
ONE, TWO, THREE = (deployment(replicas=number) for number in (1, 2, 3))


def events(*entries: Entry) -> list[list[str]]:
    return [[each.event for each in life.chapters] for life in story(entries)]


def replicas(entries: list[Entry], number: int, live: Document | None = None) -> Any:
    found = state_at(entries, between(number), live)
    return found and found["spec"]["replicas"]


@given(histories, st.data())
def test_the_state_at_any_moment_is_what_the_object_was(states: list[Document], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(states) - 1))

    found = state_at(life_of([None, *states]), between(number))

    assert found == as_recorded(states[number])


@given(histories, st.data())
def test_without_its_creation_the_state_is_found_backwards_from_its_deletion(
    states: list[Document], data: st.DataObject
) -> None:
    number = data.draw(st.integers(-1, len(states) - 2))

    found = state_at(life_of([*states, None]), between(number))

    assert found == as_recorded(states[number + 1])


@given(histories, st.data())
def test_without_either_the_state_is_found_backwards_from_the_live_object(
    states: list[Document], data: st.DataObject
) -> None:
    number = data.draw(st.integers(-1, len(states) - 2))

    found = state_at(life_of(states), between(number), states[-1])

    assert found == as_recorded(states[number + 1])


def test_updates_alone_do_not_tell_the_whole_object() -> None:
    entries = life_of([ONE, TWO, THREE])

    assert [state(entries, between(number)).presence for number in (-1, 0, 1)] == ["unknown"] * 3


def test_an_object_is_absent_before_its_creation_and_after_its_deletion() -> None:
    entries = life_of([None, ONE, TWO, None])

    assert [state(entries, between(number)).presence for number in (-1, 0, 1, 2)] == [
        "absent",
        "there",
        "there",
        "absent",
    ]


def test_of_an_object_without_entries_nothing_is_known_but_what_it_is() -> None:
    assert state([], BEFORE).presence == "unknown"
    assert state_at([], BEFORE, ONE) == as_recorded(ONE)


def test_a_story_tells_of_lives() -> None:
    again = deployment("u-2", replicas=5)
    entries = [*life_of([None, ONE, TWO, None]), *life_of([None, again], first=5)]

    first, second = story(entries)

    assert events(*entries) == [["created", "changed", "deleted"], ["recreated"]]
    assert (first.uid, first.created, first.deleted) == ("u-1", entries[0], entries[2])
    assert (second.uid, second.created, second.deleted) == ("u-2", entries[3], None)
    assert replicas(entries, 5) == 5


def test_an_object_with_another_uid_is_another_one_even_if_nobody_saw_the_first_one_go() -> None:
    again = deployment("u-2", replicas=5)

    assert events(*life_of([ONE, TWO]), *life_of([again, THREE | again], first=3)) == [["changed"]]
    assert events(*life_of([ONE, TWO]), told(again, deployment("u-2"), number=3)) == [["changed"], ["changed"]]


def test_a_creation_that_is_asked_for_again_was_refused_at_first() -> None:
    entries = [told(None, ONE), told(None, deployment("u-2", replicas=1), number=1)]

    assert events(*entries) == [["created"], ["created"]]


def test_dry_runs_connections_and_evictions_are_told_and_change_nothing() -> None:
    dry_run = told(ONE, THREE, number=1, dryRun=True)
    attach = told(None, None, number=2, operation="CONNECT", subResource="exec")
    evict = told(None, deployment("u-9"), number=3, subResource="eviction")
    entries = [told(None, ONE), dry_run, attach, evict]

    assert events(*entries) == [["created", "tried", "connected", "requested"]]
    assert replicas(entries, 3) == 1


def test_a_dry_run_of_a_creation_begins_no_life() -> None:
    entries = [told(None, deployment("u-0"), dryRun=True), told(None, ONE, number=1)]

    assert events(*entries) == [["tried", "created"]]
    assert story(entries)[0].uid == "u-1"


def test_scale_is_an_update_of_the_replicas() -> None:
    scales = [{"kind": "Scale", "spec": {"replicas": number}, "status": {"replicas": 1}} for number in (1, 3)]
    scale = told(*scales, number=1, subResource="scale")

    assert replicas([told(None, ONE), scale], 1) == 3


def test_what_has_finalizers_is_there_after_its_deletion_until_they_are_gone() -> None:
    held = deployment(replicas=1)
    held["metadata"]["finalizers"] = ["a", "b"]
    less, free = (msgspec.json.decode(msgspec.json.encode(held)) for _ in range(2))
    less["metadata"]["finalizers"] = ["b"]
    del free["metadata"]["finalizers"]
    entries = [told(held, None), told(held, less, number=1), told(less, free, number=2)]

    assert [state(entries, between(number)).presence for number in range(3)] == ["there", "there", "absent"]
    assert story(entries)[0].deleted == entries[0]


def test_an_object_that_changes_after_its_deletion_was_not_gone() -> None:
    entries = [told(None, ONE), told(ONE, None, number=1), told(ONE, TWO, number=2)]

    assert [replicas(entries, number) for number in range(3)] == [1, 1, 2]
    assert story(entries)[0].deleted is None


def test_an_attempt_that_was_repeated_counts_once_and_where_it_succeeded() -> None:
    one, two = deployment(args=["a"]), deployment(args=["a", "b"])
    first = told(one, two, number=1)
    second = msgspec.structs.replace(told(one, two, number=2), at=first.at)
    entries = [told(None, one), first, second]

    assert [each.is_repeat for each in story(entries)[0].chapters] == [False, True, False]
    assert state_at(entries, between(2)) == as_recorded(two)


def test_after_an_update_that_could_not_be_read_the_state_is_unknown() -> None:
    unread = msgspec.structs.replace(told(ONE, TWO, number=1), truncated=True, changes=(), patch=())
    entries = [told(None, ONE), unread, told(TWO, THREE, number=2)]

    assert [replicas(entries, number) for number in range(3)] == [1, None, None]
    assert replicas([*entries, told(THREE, None, number=3)], 1) == 2


def test_an_attempt_that_was_refused_does_not_hide_what_came_then() -> None:
    other = deployment(replicas=1, paused=True)
    entries = [told(None, ONE), told(ONE, THREE, number=1), told(ONE, other, number=2), told(other, TWO, number=3)]

    assert state_at(entries, between(3)) == as_recorded(TWO)


def test_a_live_object_of_another_life_says_nothing_of_this_one() -> None:
    assert state_at(life_of([ONE, TWO]), BEFORE, deployment("u-2", replicas=2)) is None


def test_an_element_is_found_by_its_key_where_others_moved_it_unseen() -> None:
    containers = [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]
    updated = told(
        deployment(containers=containers[1:]), deployment(containers=[{"name": "b", "image": "2"}]), number=1
    )

    found = state_at([told(None, deployment(containers=containers)), updated], between(1))

    assert found is not None
    assert found["spec"]["containers"] == [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]


@pytest.mark.parametrize("path", ["", "[", "spec..replicas"])
def test_a_malformed_path_is_passed_over(path: str) -> None:
    entry = told(ONE, TWO, number=1)
    broken = msgspec.structs.replace(entry, changes=(msgspec.structs.replace(entry.changes[0], path=path),))

    assert replicas([told(None, ONE), broken], 1) == 1


@given(keyed_histories)
def test_an_entry_without_its_patch_is_replayed_by_the_keys_of_its_paths(states: list[Document]) -> None:
    entries = [msgspec.structs.replace(entry, patch=()) for entry in life_of([None, *states])]

    found = state_at(entries, between(len(states)))

    # Where a new element stands is told by the patch alone.
    assert found is None or leaves_of(found) == leaves_of(as_recorded(states[-1]))


def leaves_of(document: Document) -> dict[str, Any]:
    return {render(path): value for path, value in leaves(document)}
