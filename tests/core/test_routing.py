"""Routing as Robusta documents it, sentence by sentence (docs/notification-routing of robusta-dev/robusta).

Each case says what it proves. The subject is a finding about Deployment shop/web, which alice changed with
kubectl-edit, unless the case bends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
import yaml

from app.core.facts import NamespaceLabels
from app.core.playbook import Playbook, Playbooks
from app.core.review import Change
from app.sinks.base import SinkConfig
from tests.core.changes import REDACTOR, change, image_change

IDENTIFIER = "web_changed"
NOON = datetime.fromisoformat("2026-11-23T12:00:00Z")
"""A Monday."""

TEAMS = {"shop": {"team": "sales", "env": "prod"}, "bank": {"team": "money"}, "bare": {}}


def subject(**options: Any) -> Change:
    labels, annotations = {"instance": "1", "app": "web"}, {"owner": "ann", "example.com/on-call": "yes "}
    return image_change(**{"labels": labels, "annotations": annotations, "groups": ["dev", "ops"], **options})


def sinks(text: str) -> list[SinkConfig]:
    return [SinkConfig.model_validate(each) for each in yaml.safe_load(text)]


def takes(
    declared: str,
    about: Change | None = None,
    *,
    named: str = "null",
    severity: str = "HIGH",
    namespaces: NamespaceLabels = TEAMS.get,
    now: datetime | None = NOON,
) -> list[str]:
    """Return the names of the sinks that are told of a finding about the change."""
    told = {"title": "Attention $namespace", "aggregation_key": IDENTIFIER, "severity": severity}
    playbook = {
        "triggers": [{"on_kubernetes_any_resource_all_changes": {}}],
        "actions": [{"create_finding": told}],
        "sinks": yaml.safe_load(named),
    }
    playbooks = Playbooks.compile([Playbook.model_validate(playbook)], sinks(declared), namespaces)
    (each,) = playbooks.evaluate(about or subject(), REDACTOR, "production", now)
    return list(each.sinks)


def taken(scope: str, about: Change | None = None, **options: Any) -> bool:
    return takes(f"[{{name: a, scope: {scope}}}]", about, **options) == ["a"]


SENTENCES: Sequence[tuple[str, str, Sequence[str]]] = [
    # routing-with-scopes: inclusion, exclusion
    ("If scope.include is defined, sinks will only receive matching notifications",
     "[{name: a, scope: {include: [{severity: HIGH}]}}, {name: b, scope: {include: [{severity: LOW}]}}]", ["a"]),
    ("An undefined include section will effectively include all alerts",
     "[{name: a, scope: {exclude: [{severity: LOW}]}}, {name: b}]", ["a", "b"]),
    ("If scope.exclude is defined, sinks will skip matching notifications",
     "[{name: a, scope: {exclude: [{namespace: shop}]}}, {name: b, scope: {exclude: [{namespace: x}]}}]", ["b"]),
    ("This can be combined with scope.include; regardless of the include sections, this will drop",
     "[{name: a, scope: {include: [{namespace: shop}], exclude: [{identifier: [x, web_changed]}]}}]", []),
    ("A notification must match one of the include sections",
     ("[{name: a, scope: {include: [{namespace: x}, {namespace: shop}]}},"
     " {name: b, scope: {include: [{namespace: x}, {namespace: y}]}}]"), ["a"]),
    ("and must not match all the exclude sections: any of them excludes",
     "[{name: a, scope: {exclude: [{namespace: x}, {namespace: shop}]}}]", []),
    ("An undefined exclude section will not exclude anything",
     "[{name: a, scope: {include: [{namespace: shop}]}}]", ["a"]),
    ("scope: {} is optional: filter notifications sent to this sink", "[{name: a, scope: {}, activity: {}}]", ["a"]),
    # stop
    ("When using multiple sinks, notifications are sent to all matching sinks by default",
     "[{name: a}, {name: b}, {name: c, scope: {include: [{namespace: x}]}}]", ["a", "b"]),
    ("To stop sending notifications after a match, set stop: true", "[{name: a, stop: true}, {name: b}]", ["a"]),
    ("This sink will only receive alerts not matched by the previous sink",
     "[{name: a, scope: {include: [{namespace: production}]}, stop: true}, {name: fallback}]", ["fallback"]),
    ("The order of sinks matters", "[{name: b}, {name: a, stop: true}, {name: c}]", ["b", "a"]),
    ("A sink that is not a default one does not stop what it does not get",
     "[{name: a, stop: true, default: false}, {name: b}]", ["b"]),
    ("A muted sink does not stop what it does not get",
     ("[{name: a, stop: true, mute_intervals: [{start_date: '2026-11-23 00:00', end_date: '2026-11-23 23:59'}]},"
     " {name: b}]"), ["b"]),
    ("An inactive sink does not stop what it does not get",
     "[{name: a, stop: true, activity: {intervals: [{days: [tue]}]}}, {name: b}]", ["b"]),
    # AND, OR, lists
    ("Both high-severity and in namespace: AND within an item",
     ("[{name: a, scope: {include: [{namespace: shop, severity: HIGH}]}},"
     " {name: b, scope: {include: [{namespace: shop, severity: LOW}]}}]"), ["a"]),
    ("OR between the items of a list",
     "[{name: a, scope: {include: [{namespace: x}, {severity: HIGH}]}}]", ["a"]),
    ("HIGH severity notifications from staging + all alerts from prod",
     ("[{name: a, scope: {include: [{namespace: shop, severity: LOW}, {namespace: prod}]}},"
     " {name: b, scope: {include: [{namespace: prod, severity: LOW}, {namespace: shop}]}}]"), ["b"]),
    ("Match any value in the list", "[{name: a, scope: {include: [{namespace: [prod, shop]}]}}]", ["a"]),
    ("You can also use regexes", "[{name: a, scope: {include: [{namespace: sh.*}]}}]", ["a"]),
    ("namespace: prod does not mean production", "[{name: a, scope: {include: [{namespace: sho}]}}]", []),
    # the rules, and match
    ("If the notification is excluded by any of the sink scope excludes, drop it",
     "[{name: a, match: {namespace: shop}, scope: {exclude: [{name: web}]}}]", []),
    ("If the notification is included by any of the sink scope includes, accept it",
     "[{name: a, match: {namespace: x}, scope: {include: [{name: web}]}}]", ["a"]),
    ("If the notification is included by any of the sink matchers (deprecated), accept it",
     ("[{name: a, match: {namespace: shop}, scope: {include: [{name: x}]}},"
     " {name: b, match: {namespace: x}, scope: {include: [{name: x}]}},"
     " {name: c, match: {namespace: shop}}, {name: d, match: {namespace: x}}]"), ["a", "c"]),
    ("match begins at the beginning and need not reach the end", "[{name: a, match: {namespace: sh}}]", ["a"]),
    ("match: all attributes, any of a list",
     "[{name: a, match: {name: [x, web], severity: HIGH}}, {name: b, match: {name: web, severity: LOW}}]", ["a"]),
    ("match: labels are no expressions",
     "[{name: a, match: {labels: 'app=web'}}, {name: b, match: {labels: 'app=w.b'}}, {name: c, match: {}}]",
     ["a", "c"]),
    # default
    ("Is this sink enabled by default? When false, it only accepts from playbooks which explicitly named it",
     "[{name: a, default: false}, {name: b, default: true}]", ["b"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "expected"), [case[1:] for case in SENTENCES], ids=[case[0] for case in SENTENCES]
)
def test_the_sentence_holds(declared: str, expected: Sequence[str]) -> None:
    assert takes(declared) == list(expected)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("[b]", ["b"]),  # sent exclusively to the specified sinks
        ("[c, b]", ["b", "c"]),  # in the order of the configuration
        ("[d]", []),  # they will still be filtered by matchers
        ("[]", []),
        ("null", ["a"]),
        ("[a, b, c]", ["a", "b", "c"]),
    ],
)
def test_a_playbook_names_its_sinks_and_their_scopes_still_hold(named: str, expected: list[str]) -> None:
    declared = (
        "[{name: a}, {name: b, default: false}, {name: c, default: false}, {name: d, scope: {include: [{name: x}]}}]"
    )

    assert takes(declared, named=named) == expected


def test_a_named_sink_stops_later_named_ones() -> None:
    assert takes("[{name: a, stop: true}, {name: b}]", named="[a, b]") == ["a"]
    assert takes("[{name: a, stop: true}, {name: b}]", named="[b]") == ["b"]


POD = change("CREATE", "Pod", new={"spec": {"nodeName": "node-7"}})
ATTRIBUTES: Sequence[tuple[str, Change, bool]] = [
    ("identifier: web_.*", subject(), True),
    ("identifier: WEB_.*", subject(), False),
    ("title: Attention shop", subject(), True),
    ("title: Attention", subject(), False),
    ("name: web", subject(), True),
    ("name: WEB", subject(), False),
    ("namespace: shop", subject(), True),
    ("namespace: ''", change("CREATE", "ClusterRole", namespace=""), True),
    ("node: node-.", POD, True),
    ("node: node-7", change("UPDATE", "Node", name="node-7", namespace="", old={"a": 1}, new={"a": 2}), True),
    ("node: .+", subject(), False),
    ("severity: HIGH", subject(), True),
    ("severity: high", subject(), True),
    ("severity: [INFO, LOW, MEDIUM]", subject(), False),
    ("type: ISSUE", subject(), True),
    ("type: issue", subject(), True),
    ("type: [CONF_CHANGE, HEALTH_CHECK, REPORT]", subject(), False),
    ("kind: deployment", subject(), True),
    ("kind: Deployment", subject(), True),
    ("kind: [node, pod, job, daemonset]", subject(), False),
    ("source: KUBERNETES_API_SERVER", subject(), True),
    ("source: [NONE, PROMETHEUS, MANUAL, CALLBACK]", subject(), False),
    ("labels: 'instance=1'", subject(), True),
    ("labels: 'instance=1,foo!=x.*'", subject(), True),  # interpreted like Kubernetes: an absent label is not x
    ("labels: 'instance=1,app!=w.*'", subject(), False),
    ("labels: 'instance=1,app=x'", subject(), False),
    ("labels: ['app=x', 'app=w.b']", subject(), True),
    ("labels: ' app = web , instance = 1 '", subject(), True),
    ("labels: 'foo=.*'", subject(), False),
    ("annotations: 'owner=a.n'", subject(), True),
    ("annotations: 'example.com/on-call=yes'", subject(), True),
    ("annotations: 'owner!=ann'", subject(), False),
    ("namespace_labels: 'team=sales'", subject(), True),
    ("namespace_labels: 'team=s.*,env!=test'", subject(), True),
    ("namespace_labels: 'team=money'", subject(), False),
    ("namespace_labels: 'team=money'", subject(namespace="bank"), True),
    ("namespace_labels: 'team!=money'", subject(namespace="bare"), True),
    ("namespace_labels: 'team=.*'", change("CREATE", "ClusterRole", namespace=""), False),
    ("namespace_labels: 'own=yes'", change("CREATE", "Namespace", namespace="", labels={"own": "yes"}), True),
    ("user: al.*", subject(), True),
    ("user: bob", subject(), False),
    ("group: ops", subject(), True),
    ("group: op", subject(), False),
    ("operation: [create, UPDATE]", subject(), True),
    ("operation: delete", subject(), False),
    (r"path: .*\.image", subject(), True),
    ("path: spec", subject(), False),
    ("field_manager: kubectl-.*", subject(), True),
    ("field_manager: helm", subject(), False),
    ("actor: human", subject(), True),
    ("actor: controller", subject(user="system:serviceaccount:kube-system:deployment-controller"), True),
    ("actor: human", subject(user="system:serviceaccount:kube-system:deployment-controller"), False),
    ("api_group: apps", subject(), True),
    ("resource: deployments", subject(), True),
    ("subresource: ''", subject(), True),
    ("attributes: spec.replicas=1", subject(), True),
    ("attributes: spec.replicas!=1", subject(), False),
]


@pytest.mark.parametrize(("attribute", "about", "expected"), ATTRIBUTES, ids=[case[0] for case in ATTRIBUTES])
def test_every_attribute_includes_and_excludes(attribute: str, about: Change, expected: bool) -> None:
    assert taken(f"{{include: [{{{attribute}}}]}}", about) is expected
    assert taken(f"{{exclude: [{{{attribute}}}]}}", about) is not expected


def unknown(_name: str) -> Mapping[str, str] | None:
    return None


@pytest.mark.parametrize("selector", ["team=sales", "team!=sales", "team!=x"])
def test_labels_of_an_unknown_namespace_neither_include_nor_exclude(selector: str) -> None:
    assert not taken(f"{{include: [{{namespace_labels: '{selector}'}}]}}", namespaces=unknown)
    assert taken(f"{{exclude: [{{namespace_labels: '{selector}'}}]}}", namespaces=unknown)


def test_a_trigger_asks_for_the_labels_of_the_namespace_too() -> None:
    text = {
        "triggers": [{"on_deployment_update": {"scope": {"include": [{"namespace_labels": "team=sales"}]}}}],
        "actions": [{"create_finding": {"title": "t", "aggregation_key": "k"}}],
    }
    playbooks = Playbooks.compile([Playbook.model_validate(text)], sinks("[{name: a}]"), TEAMS.get)

    assert playbooks.evaluate(subject(), REDACTOR, "")
    assert not playbooks.evaluate(subject(namespace="bank"), REDACTOR, "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("activity: {intervals: [{days: [mon]}]}", True),
        ("activity: {intervals: [{days: [tue]}]}", False),
        ("activity: {timezone: Pacific/Auckland, intervals: [{days: [tue]}]}", True),  # tomorrow already
        ("activity: {intervals: [{days: [mon], hours: [{start: 10:00, end: 12:00}]}]}", True),
        ("activity: {intervals: [{days: [mon], hours: [{start: 10:00, end: 11:59}]}]}", False),
        ("mute_intervals: [{start_date: 2026-11-23 12:00, end_date: 2026-11-23 12:00}]", False),
        ("mute_intervals: [{start_date: 2026-11-23 12:01, end_date: 2026-11-23 13:00}]", True),
        (("activity: {intervals: [{days: [mon]}]}, mute_intervals: [{start_date: 2026-11-23 00:00,"
         " end_date: 2026-11-24 00:00}]"), False),
    ],
)  # fmt: skip
def test_a_sink_is_told_only_when_it_is_active_and_not_muted(options: str, expected: bool) -> None:
    declared = f"[{{name: a, {options}}}]"

    assert takes(declared) == (["a"] if expected else [])
    assert takes(declared, now=None) == ["a"]
