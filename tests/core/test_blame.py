"""Blame says of every field of an object who set it last, and says so where nobody knows."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.core.blame import Blame, blame
from app.core.change import Entry
from app.core.history import as_recorded
from app.core.paths import Item, render
from app.core.places import leaves
from app.core.redact import Redactor
from tests.builders import KEY, about
from tests.core.lives import Document, deployment, histories, introduced, keyed_histories, life_of, told

ONE, TWO, THREE = (deployment(replicas=number) for number in (1, 2, 3))
REPLICAS = "spec.replicas"


def fields(found: list[Blame]) -> dict[str, Blame]:
    return {each.path: each for each in found}


def setter(entries: list[Entry], live: Document | None, path: str = REPLICAS) -> str | None:
    """Return who set a field: the user, or the origin where no entry tells."""
    found = fields(blame(entries, live)).get(path)
    return (found.user or found.origin) if found else None


@given(histories, st.booleans())
def test_it_has_every_field_of_the_live_object_with_its_value(states: list[Document], created: bool) -> None:
    found = blame(life_of([*[None] * created, *states]), states[-1])

    assert [(each.path, each.value) for each in found] == [
        (render(path), value) for path, value in leaves(as_recorded(states[-1]))
    ]
    assert {each.origin for each in found} <= ({"entry"} if created else {"entry", "before"})


@given(histories, histories)
def test_whatever_the_live_object_is_its_values_are_told(states: list[Document], others: list[Document]) -> None:
    found = blame(life_of([None, *states]), others[-1])

    assert [(each.path, each.value) for each in found] == [
        (render(path), value) for path, value in leaves(as_recorded(others[-1]))
    ]


@given(histories)
def test_without_a_live_object_it_is_told_of_the_recorded_one(states: list[Document]) -> None:
    entries = life_of([None, *states])

    assert fields(blame(entries, None)) == fields(blame(entries, states[-1]))


@given(keyed_histories)
def test_of_an_object_that_is_not_known_the_fields_that_changed_are_told(states: list[Document]) -> None:
    entries = life_of(states)
    known = fields(blame(entries, states[-1]))

    for each in blame(entries, None):
        assert known.get(each.path) == each


@given(keyed_histories)
def test_each_field_was_set_by_the_entry_since_which_it_has_been_so(states: list[Document]) -> None:
    entries = {entry.id: entry for entry in life_of([None, *states])}
    numbers = {entry.id: index for index, entry in zip(_numbers([None, *states]), entries.values(), strict=True)}

    found = fields(blame(entries.values(), states[-1]))

    for path, value in leaves(as_recorded(states[-1])):
        if not any(isinstance(segment, Item) and segment.key is None for segment in path):
            assert numbers[found[render(path)].entry_id or ""] == introduced(states, path, value), path


def _numbers(states: list[Document | None]) -> list[int]:
    """Return which of the steps between states have an entry."""
    recorded = [None if each is None else as_recorded(each) for each in states]
    return [index for index in range(len(states) - 1) if recorded[index] != recorded[index + 1]]


def test_it_says_who_when_how_and_from_what() -> None:
    created, scaled = entries = [told(None, ONE, user="bob"), told(ONE, TWO, number=1)]

    found = fields(blame(entries, TWO))

    assert found[REPLICAS] == Blame(
        path=REPLICAS,
        value=2,
        entry_id=scaled.id,
        at="2026-01-02T03:06:05.000000Z",
        user="alice",
        old=1,
        actor="human",
        field_manager="kubectl-edit",
        operation="UPDATE",
        origin="entry",
    )
    assert found["kind"] == Blame(
        path="kind",
        value="Deployment",
        entry_id=created.id,
        at=created.at,
        user="bob",
        actor="human",
        field_manager="kubectl-edit",
        operation="CREATE",
        origin="entry",
    )


def test_what_was_there_before_the_ledger_is_said_to_be() -> None:
    entries = [told(ONE, deployment(replicas=1, paused=True))]
    live = deployment(replicas=1, paused=True)

    assert setter(entries, live) == "before"
    assert setter(entries, live, "spec.paused") == "alice"
    assert setter([], live) == "before"


def test_an_attempt_that_did_not_succeed_set_nothing() -> None:
    entries = [told(None, ONE, user="bob"), told(ONE, THREE, number=1)]

    assert setter(entries, ONE) == "bob"
    assert setter([*entries, told(ONE, TWO, number=2, user="carol")], TWO) == "carol"


def test_what_is_not_as_the_entries_left_it_was_set_unseen() -> None:
    assert setter([told(None, ONE), told(ONE, TWO, number=1)], THREE) == "unseen"
    assert setter([told(None, ONE)], THREE) == "unseen"


def test_arguments_are_followed_where_others_moved_them() -> None:
    states = [deployment(args=args) for args in (["serve"], ["serve", "-v"], ["-x", "serve", "-v"])]
    entries = life_of([None, *states])

    found = fields(blame(entries, states[-1]))

    assert {path: each.user for path, each in found.items() if "args" in path} == {
        "spec.args[0]": entries[2].user.username,
        "spec.args[1]": entries[0].user.username,
        "spec.args[2]": entries[1].user.username,
    }


def test_only_the_life_of_the_live_object_counts() -> None:
    again = deployment("u-2", replicas=1)
    entries = [*life_of([None, ONE, None]), told(None, again, number=3, user="carol")]

    assert setter(entries, again) == "carol"
    assert setter(entries, deployment("u-3", replicas=1)) == "before"


def test_of_an_object_that_is_gone_there_is_nothing_to_tell() -> None:
    assert blame(life_of([None, ONE, None]), None) == []
    assert blame([], None) == []


def test_who_emptied_a_map_is_blamed_for_it() -> None:
    states = [deployment(selector={"app": "web"}), deployment(selector={})]
    entries = life_of([None, *states])

    assert setter(entries, states[-1], "spec.selector") == entries[1].user.username


SECRETS = [{"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": value}} for value in ("MQ==", "Mg==")]
ABOUT_SECRETS = about("Secret", "secrets", name="s")


def secret_entries() -> list[Entry]:
    return [told(None, SECRETS[0], user="bob", **ABOUT_SECRETS), told(*SECRETS, number=1, **ABOUT_SECRETS)]


def test_a_secret_is_compared_by_its_fingerprint() -> None:
    shown = [Redactor(KEY).object("Secret", each) for each in SECRETS]

    assert setter(secret_entries(), shown[1], "data.a") == "alice"
    assert setter(secret_entries(), shown[0], "data.a") == "bob"


def test_fingerprints_of_another_key_count_as_equal() -> None:
    shown = Redactor(b"x" * 32).object("Secret", SECRETS[1])

    [found] = [each for each in blame(secret_entries(), shown, same_key=False) if each.path == "data.a"]

    assert found.user == "alice"


def test_what_the_ledger_hides_is_not_shown_by_the_live_object() -> None:
    [found] = [each for each in blame(secret_entries(), SECRETS[1]) if each.path == "data.a"]

    assert found.user == "alice"
    assert found.value == Redactor(KEY).fingerprint("Mg==")
    assert found.old == Redactor(KEY).fingerprint("MQ==")


def test_an_element_that_was_removed_and_came_again_was_set_by_who_brought_it_again() -> None:
    full, less = deployment(containers=[{"name": "a"}, {"name": "b"}]), deployment(containers=[{"name": "a"}])
    entries = life_of([None, full, less, full])

    assert setter(entries, full, "spec.containers[b].name") == entries[2].user.username


def test_a_mount_named_as_the_path_of_another_is_not_taken_for_it() -> None:
    data, logs = {"name": "logs", "mountPath": "data"}, {"name": "x", "mountPath": "logs"}
    read_only = {**logs, "readOnly": True}
    entry = told(deployment(volumeMounts=[logs]), deployment(volumeMounts=[read_only]))

    assert setter([entry], deployment(volumeMounts=[data, read_only]), "spec.volumeMounts[logs].readOnly") == "alice"


def test_a_list_is_told_by_positions_where_its_names_are_numbers() -> None:
    found = blame(life_of([None, deployment(rules=[{"name": 1}, {"name": 2}])]), None)

    assert [each.path for each in found if "rules" in each.path] == ["spec.rules[0].name", "spec.rules[1].name"]


def test_an_update_of_another_field_while_an_attempt_waits_leaves_both_known() -> None:
    other = deployment(replicas=1, paused=True)
    entries = [told(None, ONE, user="bob"), told(ONE, other, number=1), told(ONE, TWO, number=2, user="carol")]
    live = msgspec.json.decode(msgspec.json.encode(deployment(replicas=2, paused=True)))

    assert (setter(entries, live), setter(entries, live, "spec.paused")) == ("carol", "alice")
