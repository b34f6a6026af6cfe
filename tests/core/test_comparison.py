"""What changed between two moments is the difference of what was there, also where only the changes are known."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.core.change import Entry, FieldChange
from app.core.comparison import compare, differences
from app.core.history import as_recorded, state
from app.core.places import NOT_RECORDED
from tests.core.lives import Document, between, deployment, histories, keyed_histories, life_of, told

ONE, TWO, THREE = (deployment(replicas=number) for number in (1, 2, 3))


def compared(entries: list[Entry], first: int, last: int) -> list[FieldChange]:
    return compare(entries, between(first), between(last))


@given(histories, st.booleans(), st.booleans(), st.data())
def test_it_is_the_difference_of_the_two_states_where_both_are_known(
    states: list[Document], created: bool, deleted: bool, data: st.DataObject
) -> None:
    entries = life_of([*[None] * created, *states, *[None] * deleted])
    first, last = sorted(data.draw(st.tuples(*[st.integers(-1, len(states) + 1)] * 2)))
    before, after = state(entries, between(first)), state(entries, between(last))

    found = compared(entries, first, last)

    if "unknown" not in (before.presence, after.presence):
        assert found == differences(before.document, after.document)


@given(keyed_histories)
def test_it_is_the_same_where_only_the_changes_are_known(states: list[Document]) -> None:
    found = compared(life_of(states), -1, len(states))

    assert found == differences(as_recorded(states[0]), as_recorded(states[-1]))


@given(histories, st.data())
def test_nothing_changed_between_a_moment_and_itself(states: list[Document], data: st.DataObject) -> None:
    number = data.draw(st.integers(-1, len(states)))

    assert compared(life_of(states), number, number) == []


@given(histories)
def test_what_goes_all_the_way_back_is_no_change(states: list[Document]) -> None:
    there_and_back = [*states, *states[-2::-1]]

    assert compared(life_of(there_and_back), -1, len(there_and_back)) == []


def test_several_changes_of_a_field_are_one() -> None:
    assert compared(life_of([ONE, TWO, THREE]), -1, 1) == [FieldChange("spec.replicas", "replace", 1, 3)]
    assert compared(life_of([ONE, TWO, THREE]), 0, 1) == [FieldChange("spec.replicas", "replace", 2, 3)]


def test_a_field_inside_what_was_added_is_part_of_it() -> None:
    states = [
        deployment(containers=[{"name": "a"}]),
        deployment(containers=[{"name": "a"}, {"name": "b", "image": "1"}]),
        deployment(containers=[{"name": "a"}, {"name": "b", "image": "2"}]),
    ]

    assert compared(life_of(states), -1, 1) == [
        FieldChange("spec.containers[b]", "add", msgspec.UNSET, {"name": "b", "image": "2"})
    ]


def test_what_is_removed_was_as_it_was_at_first() -> None:
    first, second = ([{"name": "a"}, {"name": "b", "image": image}] for image in "12")
    states = [deployment(containers=first), deployment(containers=second), deployment(containers=first[:1])]

    assert compared(life_of(states), -1, 1) == [
        FieldChange("spec.containers[b]", "remove", {"name": "b", "image": "1"}, msgspec.UNSET)
    ]


def test_an_object_that_came_was_added_from_the_top() -> None:
    found = compared(life_of([None, ONE, TWO]), -1, 1)

    assert [(change.path, change.op) for change in found] == [
        ("apiVersion", "add"),
        ("kind", "add"),
        ("metadata", "add"),
        ("spec", "add"),
    ]
    assert found[-1].new == {"replicas": 2}


def test_an_object_that_was_made_again_is_compared_with_the_one_before() -> None:
    entries = [*life_of([None, ONE, None]), told(None, deployment("u-2", replicas=3), number=3)]

    assert compared(entries, 0, 3) == [FieldChange("spec.replicas", "replace", 1, 3)]


def test_what_no_entry_tells_is_said_to_be_unknown() -> None:
    states = [deployment(args=["p", "a", "q"]), deployment(args=["p", "b", "q"]), deployment(args=["x", "p", "b", "q"])]

    assert compared(life_of(states), -1, 1) == [
        FieldChange("spec.args[0]", "replace", NOT_RECORDED, "x"),
        FieldChange("spec.args[1]", "replace", "a", NOT_RECORDED),
        FieldChange("spec.args[2]", "add", msgspec.UNSET, "b"),
    ]


def test_an_unread_update_leaves_out_what_only_it_knows() -> None:
    unread = msgspec.structs.replace(told(ONE, TWO, number=1), truncated=True, changes=(), patch=())
    paused = deployment(replicas=2, paused=True)

    assert compared([told(None, ONE), unread, told(TWO, paused, number=2)], 0, 2) == [
        FieldChange("spec.paused", "add", msgspec.UNSET, True)
    ]


def test_an_order_that_changed_is_told_also_where_only_the_changes_are_known() -> None:
    names = [["a", "b"], ["b", "a"], ["b", "a", "c"]]
    states = [deployment(containers=[{"name": name} for name in each]) for each in names]

    order = FieldChange("spec.containers", "replace", ["a", "b"], ["b", "a"])
    assert compared(life_of(states[:2]), -1, 1) == [order]
    assert compared(life_of(states), -1, 1) == [
        order,
        FieldChange("spec.containers[c]", "add", msgspec.UNSET, {"name": "c"}),
    ]
