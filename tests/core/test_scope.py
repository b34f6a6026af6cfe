from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.core.scope import ChangeScope, Scope

FACTS = {
    "name": "web-1",
    "namespace": "shop",
    "kind": "Deployment",
    "severity": "HIGH",
    "labels": {"app": "web", "tier": "front "},
    "annotations": {},
    "group": ("developers", "admins"),
    "attributes": {
        "spec": {
            "replicas": 3,
            "paused": False,
            "containers": [{"name": "nginx", "image": "nginx:1"}, {"name": "envoy"}],
        },
        "metadata": {"annotations": {"example.com/owner": "ann"}},
    },
}


def within(**scope: Any) -> bool:
    model = ChangeScope if "attributes" in str(scope) else Scope
    return model.model_validate(scope).compile()(FACTS)


def test_an_attribute_matches_by_its_whole_value() -> None:
    assert within(include=[{"name": "web-.*"}])
    assert not within(include=[{"name": "web"}])


def test_values_of_an_attribute_are_alternatives() -> None:
    assert within(include=[{"name": ["db-.*", "web-.*"]}])


def test_attributes_of_an_item_must_all_match() -> None:
    assert within(include=[{"name": "web-1", "namespace": "shop"}])
    assert not within(include=[{"name": "web-1", "namespace": "bank"}])


def test_items_of_a_list_are_alternatives() -> None:
    assert within(include=[{"namespace": "bank"}, {"name": "web-1"}])


def test_what_is_excluded_is_not_included() -> None:
    assert not within(include=[{"name": "web-1"}], exclude=[{"namespace": "shop"}])
    assert within(exclude=[{"namespace": "bank"}])


def test_any_element_of_a_list_may_match() -> None:
    assert within(include=[{"group": "admins"}])
    assert not within(include=[{"group": "admin"}])


@pytest.mark.parametrize("spelling", ["deployment", "DEPLOYMENT", "Deploy.*"])
def test_kinds_match_in_any_case(spelling: str) -> None:
    assert within(include=[{"kind": spelling}])


def test_names_match_in_their_own_case() -> None:
    assert not within(include=[{"name": "WEB-1"}])


def test_an_unknown_fact_matches_nothing() -> None:
    assert not within(include=[{"node": ".*"}])
    assert within(exclude=[{"node": ".*"}])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", True),
        ("app = w.b , tier=front", True),
        ("app=web,tier=back", False),
        ("tier!=back", True),
        ("app!=web", False),
        ("other!=x", True),
        ("other=", False),
    ],
)
def test_labels_are_matched_by_selectors(selector: str, expected: bool) -> None:
    assert within(include=[{"labels": selector}]) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spec.replicas=3", True),
        ("spec.replicas=30", False),
        ("spec.paused=false", True),
        ("spec.containers[0].name=NGINX", True),
        ("spec.containers[nginx].image=nginx:1, spec.containers[1].name=envoy", True),
        ("spec.containers[7].name=nginx", False),
        ("spec.containers[nginx].image!=nginx:2", True),
        ("spec.absent!=x", True),
        ("spec.absent=x", False),
        ("spec.replicas.deeper=x", False),
        ("metadata.annotations[example.com/owner]=ann", True),
    ],
)
def test_attributes_are_fields_of_the_object(text: str, expected: bool) -> None:
    assert within(include=[{"attributes": text}]) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"namespace": "sh"}, True),
        ({"namespace": "hop"}, False),
        ({"name": ["db", "web"]}, True),
        ({"name": "db|web"}, True),
        ({"severity": "HIGH", "namespace": "shop"}, True),
        ({"severity": "LOW", "namespace": "shop"}, False),
        ({"labels": "app=web"}, True),
        ({"labels": "app=w.b"}, False),
        ({"labels": ["app=db", "app=web"]}, True),
    ],
)
def test_the_older_match_begins_at_the_beginning(match: dict[str, Any], expected: bool) -> None:
    assert Scope.model_validate(Scope.from_match(match)).compile()(FACTS) is expected


def test_an_empty_match_means_nothing_in_particular() -> None:
    assert Scope.from_match({}) is None
    assert Scope.from_match(None) is None


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"include": []}, "needs include or exclude"),
        ({"include": [{}]}, "names no attribute"),
        ({"include": [{"name": None}]}, "names no attribute"),
        ({"include": [{"name": "("}]}, "not a regular expression"),
        ({"include": [{"name": []}]}, "at least 1 item"),
        ({"include": [{"labels": "app"}]}, "write key=value or key!=value"),
        ({"include": [{"labels": "=x"}]}, "write key=value or key!=value"),
        ({"include": [{"attributes": "spec"}]}, "write path=value or path!=value"),
        ({"include": [{"attributes": "a..b=1"}]}, "not a field pattern"),
        ({"include": [{"nmae": "x"}]}, "Extra inputs are not permitted"),
        ({"include": [{"namespace_labels": "x"}]}, "write key=value or key!=value"),
    ],
)
def test_a_malformed_scope_is_refused_with_a_reason(scope: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Scope.model_validate(scope)


@pytest.mark.parametrize("attribute", ["title", "severity", "identifier", "type", "source"])
def test_what_only_findings_have_is_refused_in_the_scope_of_changes(attribute: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ChangeScope.model_validate({"include": [{attribute: "x"}]})
