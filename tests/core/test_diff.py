"""The diff finds what changed, tells list elements apart as Kubernetes does, and is a patch that works."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.diff import diff, patch
from app.core.paths import render


def told(old: Any, new: Any) -> list[tuple[str, str]]:
    return [(delta.op, render(delta.path)) for delta in diff(old, new)]


def applied(old: Any, new: Any) -> str:
    result = jsonpatch.apply_patch(old, list(patch(diff(old, new))))
    return json.dumps(result, sort_keys=True)


def container(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", **fields}


CASES = [
    pytest.param({"a": 1}, {"a": 2}, [("replace", "a")], id="a scalar"),
    pytest.param({"a": True}, {"a": 1}, [("replace", "a")], id="true is not 1"),
    pytest.param({"a": {"b": [True]}}, {"a": {"b": [1]}}, [("replace", "a.b[0]")], id="true is not 1, deep inside"),
    pytest.param({"a": 1}, {"a": 1.0}, [("replace", "a")], id="1 is not 1.0"),
    pytest.param({"a": None}, {}, [("remove", "a")], id="null is not absent"),
    pytest.param({}, {"a": None}, [("add", "a")], id="absent is not null"),
    pytest.param({"a": {}}, {"a": []}, [("replace", "a")], id="a map is not a list"),
    pytest.param({"b": 1, "a": 1}, {"a": 2, "b": 2}, [("replace", "a"), ("replace", "b")], id="keys are sorted"),
    pytest.param({"a": {"x.y/z": "1"}}, {"a": {"x.y/z": "2"}}, [("replace", "a[x.y/z]")], id="a key with dots"),
    pytest.param(
        {"containers": [container("a"), container("b")]},
        {"containers": [container("b", image="b:2"), container("a")]},
        [("replace", "containers"), ("replace", "containers[b].image")],
        id="reordered containers and an image",
    ),
    pytest.param(
        {"containers": [container("a"), container("b")]},
        {"containers": [container("new"), container("b")]},
        [("remove", "containers[a]"), ("add", "containers[new]")],
        id="one container for another",
    ),
    pytest.param(
        {"ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP", "name": "d"}]},
        {"ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP", "name": "e"}]},
        [("replace", "ports[53/UDP].name")],
        id="ports by number and protocol",
    ),
    pytest.param(
        {"env": [container("A", value="1"), container("A", value="2")]},
        {"env": [container("A", value="1"), container("A", value="3")]},
        [("replace", "env[1].value")],
        id="a name used twice falls back to the index",
    ),
    pytest.param(
        {"finalizers": ["a", "b", "c"]}, {"finalizers": ["a", "c"]}, [("remove", "finalizers[b]")], id="finalizers"
    ),
    pytest.param({"args": ["a", "c"]}, {"args": ["a", "b", "c"]}, [("add", "args[1]")], id="inserted in the middle"),
    pytest.param({"args": ["a", "b", "c"]}, {"args": ["c"]}, [("remove", "args[1]"), ("remove", "args[0]")], id="cut"),
    pytest.param(
        {"rules": [{"hosts": ["a", "b"]}]}, {"rules": [{"hosts": ["a", "x"]}]}, [("replace", "rules[0].hosts[1]")],
        id="a list in a list without keys",
    ),
    pytest.param([1], [1, 2], [("add", "[1]")], id="a document that is a list"),
    pytest.param({"a": 1}, [1], [("replace", "")], id="a document that changes its type"),
    pytest.param({"a": {"b": 1}}, {"a": {"b": 1}}, [], id="nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_differences_are_told_by_field_and_apply_as_a_patch(
    old: Any, new: Any, expected: list[tuple[str, str]]
) -> None:
    assert told(old, new) == expected
    assert applied(old, new) == json.dumps(new, sort_keys=True)


scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.text("ab/~.", max_size=3)
)
names = st.sampled_from(["a", "b", "c", "d", "e"])
field_names = st.sampled_from(["name", "value", "ports", "finalizers", "containers", "env", "args", "a~b", "x/y", ""])


def element(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"name": names},
        optional={
            "value": inner,
            "containerPort": st.integers(1, 3),
            "protocol": st.sampled_from(["TCP", "UDP"]),
        },
    )


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keyed = st.lists(element(inner), max_size=4, unique_by=lambda item: item["name"])
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(field_names, inner | keyed, max_size=4), keyed)


documents = st.deferred(lambda: scalars | grown(scalars) | grown(grown(scalars)))


@given(documents, documents)
def test_applying_the_patch_to_the_old_document_gives_the_new_one_exactly(old: Any, new: Any) -> None:
    assert applied(old, new) == json.dumps(new, sort_keys=True)


@given(st.lists(element(scalars), unique_by=lambda item: item["name"]), st.data())
def test_keyed_lists_survive_any_reordering_removal_and_addition(items: list[Any], data: st.DataObject) -> None:
    kept = data.draw(st.permutations(items)) if items else []
    new = kept[: data.draw(st.integers(0, len(kept)))]
    new.insert(data.draw(st.integers(0, len(new))), {"name": "new"})

    assert applied({"containers": items}, {"containers": new}) == json.dumps({"containers": new}, sort_keys=True)


@given(documents)
def test_equal_documents_have_no_difference(document: Any) -> None:
    assert diff(document, json.loads(json.dumps(document))) == []


@given(documents, documents)
def test_the_order_of_keys_in_the_input_does_not_matter(old: Any, new: Any) -> None:
    shuffled = json.loads(json.dumps(new), object_pairs_hook=lambda pairs: dict(reversed(pairs)))

    assert told(old, new) == told(old, shuffled)


def test_what_names_a_value_is_known_of_every_element_inside_it() -> None:
    old, new = ([{"name": "part", "text": text}] for text in ("old", "new"))

    (delta,) = diff({"name": "DB_PASSWORD", "value": old}, {"name": "DB_PASSWORD", "value": new})

    assert "DB_PASSWORD" in delta.context


def test_a_very_long_list_in_another_order_is_told_as_a_whole() -> None:
    old = {"items": [{"name": str(number)} for number in range(1001)]}
    new = {"items": old["items"][::-1]}

    assert [(delta.op, delta.old, delta.new) for delta in diff(old, new)] == [("replace", old["items"], new["items"])]
    assert applied(old, new) == json.dumps(new, sort_keys=True)


def test_a_long_list_in_another_order_is_told_by_its_keys() -> None:
    old = {"items": [{"name": str(number)} for number in range(1000)]}
    new = {"items": old["items"][::-1]}

    (delta,) = diff(old, new)

    assert delta.new == [str(number) for number in range(999, -1, -1)]
    assert applied(old, new) == json.dumps(new, sort_keys=True)
