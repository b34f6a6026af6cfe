"""Explanations say what the evaluation does, and why it does no more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.change import Entry, FieldChange
from app.core.explanation import Explanation, PlaybookVerdict, SinkVerdict, explain, explain_failed_job
from app.core.matching import CompiledScope
from app.core.playbook import FailedJobSituation, Playbook, Playbooks
from app.core.retold import retold
from app.core.review import Change, interpret
from app.core.scope import Scope
from app.sinks.base import SinkConfig
from tests.builders import about as about_kind
from tests.builders import entry_of, make_review, recorded_review
from tests.core.changes import RECORDED, REDACTOR, change, image_change, recorded

SILENT = {"deployment-status-update-by-controller", "deployment-update-managed-fields-only"}
"""Reviews that leave no entry."""

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEAMS = {"shop": {"team": "sales"}, "default": {"team": "money"}}
REVIEWS = sorted(path.stem for path in RECORDED.glob("*.json"))


def compiled(playbooks: str, sinks: str = "[]") -> Playbooks:
    return Playbooks.compile(
        [Playbook.model_validate(each) for each in yaml.safe_load(playbooks)],
        [SinkConfig.model_validate(each) for each in yaml.safe_load(sinks)],
        TEAMS.get,
    )


def explained(playbooks: str, about: Change, sinks: str = "[]") -> Explanation:
    return explain(compiled(playbooks, sinks), about, REDACTOR, "production", NOON)


def playbook(trigger: str, *, actions: str = "create_finding: {title: t, aggregation_key: k}", more: str = "") -> str:
    return f"[{{triggers: [{trigger}], actions: [{actions}]{more}}}]"


ITEMS: Sequence[dict[str, Any]] = [
    {"namespace": "shop"},
    {"namespace": ["default", "x"], "kind": "deployment"},
    {"labels": "app=web"},
    {"annotations": "owner!=ann"},
    {"namespace_labels": "team=money"},
    {"operation": "update", "actor": "human"},
    {"path": r".*\.image"},
    {"attributes": "spec.replicas!=1"},
]
TRIGGERS = (
    "on_deployment_update",
    "on_deployment_all_changes",
    "on_configmap_all_changes",
    "on_kubernetes_any_resource_update",
    "on_kubernetes_any_resource_all_changes",
    "on_pod_delete",
    "on_kubernetes_resource_operation",
    "on_job_failure",
)
scopes = st.fixed_dictionaries(
    {},
    optional={
        "include": st.lists(st.sampled_from(ITEMS), min_size=1, max_size=2),
        "exclude": st.lists(st.sampled_from(ITEMS), min_size=1, max_size=1),
    },
)
triggers = st.builds(
    lambda name, scope, prefix: {name: {"scope": scope} | ({"name_prefix": prefix} if prefix else {})},
    st.sampled_from(TRIGGERS),
    scopes,
    st.sampled_from(["", "", "w"]),
)
tell = {"create_finding": {"title": "$name", "aggregation_key": "k"}}
playbook_options = st.builds(
    lambda chosen, babysits, stop, sinks: {
        "triggers": [*chosen, {"on_secret_update": {}}],
        "actions": [{"resource_babysitter": {"fields_to_monitor": ["images"]}} if babysits else tell],
        "stop": stop,
        "sinks": sinks,
    },
    st.lists(triggers, min_size=1, max_size=2),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, [], ["a"], ["b", "c"]]),
)
sink_options = st.fixed_dictionaries(
    {"default": st.booleans(), "stop": st.booleans(), "scope": scopes},
    optional={
        "match": st.sampled_from([{"namespace": "sh"}, {"labels": "app=web"}]),
        "activity": st.sampled_from([{"intervals": [{"days": [day]}]} for day in ("mon", "tue")]),
    },
)
changes = st.one_of(
    st.sampled_from([recorded(name) for name in REVIEWS]),
    st.builds(lambda labels: image_change(labels=labels), st.sampled_from([{}, {"app": "web"}])),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(playbook_options, min_size=1, max_size=4),
    st.lists(sink_options, min_size=3, max_size=3),
    changes,
    st.integers(0, 2),
)
def test_explanation_and_evaluation_agree(playbooks: list[Any], options: list[Any], about: Change, days: int) -> None:
    sinks = [SinkConfig(name=name, **each) for name, each in zip("abc", options, strict=True)]
    now = NOON + timedelta(days=days)
    for each in playbooks:
        babysits = "resource_babysitter" in each["actions"][0]
        each["actions"] = each["actions"] if babysits else [tell]
    both = Playbooks.compile([Playbook.model_validate(each) for each in playbooks], sinks, TEAMS.get)

    explanation = explain(both, about, REDACTOR, "production", now)

    assert explanation.told == both.evaluate(about, REDACTOR, "production", now)
    assert len(explanation.playbooks) == len(playbooks)
    assert all(_is_whole(each) for each in explanation.playbooks)


def _is_whole(verdict: PlaybookVerdict) -> bool:
    """Whatever does not happen has a reason, and whatever happens has none."""
    sinks = [sink for finding in verdict.findings for sink in finding.sinks]
    return (
        all((sink.refusal is None) is sink.takes for sink in sinks)
        and all((trigger.refusal is None) is trigger.fires for trigger in verdict.triggers)
        and verdict.fires is (any(each.fires for each in verdict.triggers) and not _was_stopped(verdict))
        and bool(verdict.refusals) is (not verdict.findings and (verdict.fires or _was_stopped(verdict)))
    )


def _was_stopped(verdict: PlaybookVerdict) -> bool:
    return any(each.rule == "stop" for each in verdict.refusals)


@pytest.mark.parametrize("withheld", [(), ("on_job_failure",)])
def test_explanation_and_evaluation_of_a_failed_job_agree(withheld: Sequence[str]) -> None:
    text = """
    - {triggers: [on_job_failure: {name_prefix: day}], actions: [job_info_enricher: {}]}
    - {triggers: [on_deployment_update: {}], actions: [create_finding: {title: t, aggregation_key: k}]}
    - {triggers: [on_job_failure: {labels_selector: a=b}], actions: [create_finding: {title: t, aggregation_key: k}]}
    - {name: x, triggers: [on_job_failure: {}], actions: [create_finding: {title: t, aggregation_key: k}], stop: true}
    - {triggers: [on_job_failure: {}], actions: [create_finding: {title: t, aggregation_key: k}]}
    """
    facts = {"name": "nightly", "namespace": "shop", "kind": "Job", "labels": {}, "annotations": {}}
    both = compiled(text, "[{name: a, scope: {include: [{namespace_labels: team=sales}]}}, {name: b, default: false}]")
    situation = FailedJobSituation(
        facts=facts, look=lambda _: "", account="It failed.", enriched=lambda _: (), withheld=withheld, at=NOON
    )

    explanation = explain_failed_job(both, situation, REDACTOR)

    assert explanation.told == both.evaluate_failed_job(situation, REDACTOR)
    assert [each.fires for each in explanation.playbooks] == [False, False, False, True, False]
    assert reasons(explanation) == [
        ("name_prefix", "the name does not begin with 'day'"),
        ("operation", "it is about changes, and this is a Job that failed"),
        ("labels_selector", "the object does not have the labels a=b"),
        ("stop", "x told it, and has stop: true"),
    ]


def reasons(explanation: Explanation) -> list[tuple[str, str]]:
    """The first reason of each playbook that did not tell anything."""
    found = []
    for each in explanation.playbooks:
        refused = [*each.refusals, *(trigger.refusal for trigger in each.triggers if trigger.refusal)]
        if not each.findings and refused:
            found.append((refused[0].rule, refused[0].text))
    return found


SCALED = change(old={"spec": {"replicas": 1}}, new={"spec": {"replicas": 2}})


@pytest.mark.parametrize(
    ("text", "about", "expected"),
    [
        (playbook("on_pod_update: {}"), image_change(), ("kind", "it is about Pod, and this is Deployment")),
        (
            playbook("on_deployment_create: {}"),
            image_change(),
            ("operation", "it is about CREATE, and this is UPDATE"),
        ),
        (
            playbook("on_job_failure: {}"),
            image_change(),
            ("operation", "it is about failed Jobs, and this is a change"),
        ),
        (
            playbook("on_deployment_update: {name_prefix: api}"),
            image_change(),
            ("name_prefix", "the name does not begin with 'api'"),
        ),
        (
            playbook("on_deployment_update: {namespace_prefix: prod}"),
            image_change(),
            ("namespace_prefix", "the namespace does not begin with 'prod'"),
        ),
        (
            playbook("on_deployment_update: {labels_selector: app=x}"),
            image_change(),
            ("labels_selector", "the object does not have the labels app=x"),
        ),
        (
            playbook("on_deployment_update: {scope: {exclude: [{user: al.*}]}}"),
            image_change(),
            ("scope.exclude[0]", "scope.exclude[0] matches: user 'alice' matches 'al.*'"),
        ),
        (
            playbook("on_deployment_update: {scope: {include: [{user: bob, name: web}, {namespace_labels: team=x}]}}"),
            image_change(),
            (
                "scope.include",
                (
                    "no item of scope.include matches: [0] user 'alice' does not match 'bob';"
                    " [1] namespace_labels team=sales does not match 'team=x'"
                ),
            ),
        ),
        (
            playbook("on_deployment_update: {change_filters: {include: [images]}}"),
            SCALED,
            ("change_filters", "no field changed that change_filters lets through"),
        ),
        (
            playbook("on_deployment_update: {}"),
            change(old={"status": {"a": 1}}, new={"status": {"a": 2}}),
            ("fields", "no field changed but those of the status"),
        ),
        (
            playbook("on_deployment_update: {}", actions="resource_babysitter: {fields_to_monitor: [images]}"),
            SCALED,
            ("fields_to_monitor", "no field changed that resource_babysitter monitors"),
        ),
        (
            playbook("on_deployment_update: {}", actions="resource_babysitter: {ignored_namespaces: [shop]}"),
            image_change(),
            ("ignored_namespaces", "resource_babysitter ignores the namespace"),
        ),
        (
            playbook("on_pod_create: {}"),
            change("CREATE", "Pod", subresource="eviction"),
            ("subresource", "it creates or deletes only a subresource, such as an eviction, a token or a binding"),
        ),
        (
            playbook("on_kubernetes_any_resource_update: {}"),
            change(kind="Lease", old={"a": 1}, new={"a": 2}),
            ("upkeep", "it is the cluster's own upkeep, such as a lease, an event or an endpoint"),
        ),
        (
            playbook("on_kubernetes_resource_operation: {resources: [pods/exec]}"),
            change("CREATE", "Pod"),
            ("resources", "it is none of pods/exec"),
        ),
        (
            playbook("on_resource_update: {group: apps, kind: Deployment, version: v2}"),
            image_change(),
            ("version", "its API version is not v2"),
        ),
    ],
)
def test_a_playbook_that_does_not_tell_says_why(text: str, about: Change, expected: tuple[str, str]) -> None:
    assert reasons(explained(text, about)) == [expected]


def test_a_playbook_that_is_stopped_says_by_whom() -> None:
    first = playbook("on_deployment_update: {}", more=", name: first, stop: true")[:-1]

    (found,) = reasons(explained(f"{first}, {playbook('on_deployment_update: {}')[1:]}", image_change()))

    assert found == ("stop", "first told it, and has stop: true")


@pytest.mark.parametrize(
    ("named", "sink", "expected"),
    [
        ("[b]", "", ("sinks", "the playbook names other sinks")),
        ("[]", "", ("sinks", "the playbook has sinks: []")),
        ("null", "default: false", ("default", "the playbook names no sinks, and this one has default: false")),
        ("null", "activity: {intervals: [{days: [tue]}]}", ("activity", "not active on mon at 12:00 UTC")),
        (
            "null",
            "mute_intervals: [{start_date: 2026-11-23 00:00, end_date: 2026-11-23 23:59}]",
            ("mute_intervals", "muted from 2026-11-23 00:00 to 2026-11-23 23:59 UTC"),
        ),
        (
            "null",
            "match: {name: [api, db]}, scope: {include: [{name: x}]}",
            (
                "scope.include",
                (
                    "no item of scope.include matches: [0] name 'web' does not match 'x'; and match does not take it:"
                    " name 'web' does not match 'api' or 'db' at its beginning"
                ),
            ),
        ),
        (
            "null",
            "scope: {exclude: [{kind: deployment, severity: high}]}",
            (
                "scope.exclude[0]",
                "scope.exclude[0] matches: kind 'Deployment' matches 'deployment' and severity 'HIGH' matches 'high'",
            ),
        ),
        (
            "null",
            "scope: {include: [{group: [x, y]}]}",
            ("scope.include", "no item of scope.include matches: [0] group 'dev', 'ops' does not match 'x' or 'y'"),
        ),
        (
            "null",
            "match: {namespace: ba}",
            ("match", "match does not take it: namespace 'shop' does not match 'ba' at its beginning"),
        ),
    ],
)
def test_a_sink_that_is_not_told_says_why(named: str, sink: str, expected: tuple[str, str]) -> None:
    text = playbook("on_deployment_update: {}", more=f", sinks: {named}")

    explanation = explained(text, image_change(groups=["dev", "ops"]), f"[{{name: a, {sink}}}, {{name: b}}]")

    (first, _) = explanation.playbooks[0].findings[0].sinks
    assert first.refusal is not None
    assert (first.refusal.rule, first.refusal.text) == expected


def test_a_sink_that_comes_too_late_says_who_was_first() -> None:
    (finding,) = explained(playbook("on_deployment_update: {}"), image_change(), TWO_SINKS).playbooks[0].findings

    assert [sink.refusal and sink.refusal.text for sink in finding.sinks] == [None, "a took it, and has stop: true"]


TWO_SINKS = "[{name: a, stop: true}, {name: b}]"


def test_what_may_be_secret_is_not_in_a_reason() -> None:
    scope = "scope: {include: [{annotations: token=x}, {attributes: spec.token=x}, {title: x}]}"
    text = playbook("on_deployment_update: {}", actions="create_finding: {title: 'https://a:pw@b', aggregation_key: k}")
    old, new = {"spec": {"token": "s3cret"}}, {"spec": {"token": "s4cret"}}
    about = change(old=old, new=new, annotations={"token": "s5cret"})

    found = str(explained(text, about, f"[{{name: a, {scope}}}]").playbooks[0].findings[0].sinks)

    assert not [secret for secret in ("s3cret", "s4cret", "s5cret", "pw@b") if secret in found]


FACTS = {"name": "web", "namespace": "shop", "labels": None, "user": None}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"include": [{"name": "web"}]}, ()),
        ({"include": [{"labels": "a=b"}]}, ("labels",)),
        ({"include": [{"labels": "a=b", "name": "api"}]}, ()),
        ({"include": [{"labels": "a=b"}, {"name": "web"}]}, ()),
        ({"include": [{"labels": "a=b"}, {"user": "x"}]}, ("labels", "user")),
        ({"exclude": [{"labels": "a=b"}]}, ("labels",)),
        ({"exclude": [{"labels": "a=b"}, {"name": "web"}]}, ()),
        ({"exclude": [{"labels": "a=b", "name": "api"}]}, ()),
        ({"include": [{"name": "web"}], "exclude": [{"labels": "a=b"}]}, ("labels",)),
        ({"include": [{"name": "api"}], "exclude": [{"labels": "a=b"}]}, ()),
        ({"include": [{"user": "x"}], "exclude": [{"labels": "a=b"}]}, ("user", "labels")),
    ],
)
def test_a_scope_is_open_only_where_what_is_not_known_decides(scope: dict[str, Any], expected: tuple[str, ...]) -> None:
    compiled: CompiledScope = Scope.model_validate(scope).compile()

    assert compiled.open(FACTS) == expected


@pytest.mark.parametrize("name", [name for name in REVIEWS if name not in SILENT])
def test_an_entry_retells_its_change(name: str) -> None:
    change, told = recorded(name), retold(entry_of(recorded_review(name)))

    assert [each.path for each in told.deltas] == [each.path for each in change.deltas if each.path[0] != "status"]
    assert (told.operation, told.resource, told.labels) == (change.operation, change.resource, change.labels)


@pytest.mark.parametrize(
    ("path", "pointer", "expected"),
    [
        ("spec.ports[80/TCP].port", "/spec/ports/2/port", ["spec", "ports", "80/TCP", "port"]),
        ("data.8080", "/data/8080", ["data", "8080"]),
        ("spec.args[0]", "/spec/args/0", ["spec", "args", "0"]),
        ("", "", []),
    ],
)
def test_a_path_of_an_entry_reads_as_it_was_written(path: str, pointer: str, expected: list[str]) -> None:
    entry = entry_of(recorded_review("deployment-update-set-image"))
    changed = FieldChange(path, "replace", 1, 2)
    patch = ({"op": "replace", "path": pointer, "value": 2},)

    (delta,) = retold(replaced(entry, changes=(changed,), patch=patch)).deltas

    assert [str(segment) for segment in delta.path] == expected
    assert delta.pointer == pointer


def replaced(entry: Entry, **fields: Any) -> Entry:
    return msgspec.structs.replace(entry, **fields)


def test_what_an_entry_does_not_hold_is_undecided() -> None:
    about = retold(entry_of(recorded_review("deployment-update-set-image")))
    text = playbook("on_deployment_update: {scope: {exclude: [{annotations: a=b}]}}")

    verdict = explained(text, about, "[{name: a, scope: {include: [{attributes: spec.paused=true}]}}]").playbooks[0]

    assert verdict.triggers[0].fires
    assert verdict.triggers[0].undecided == ("annotations",)
    (sink,) = verdict.findings[0].sinks
    assert sink == SinkVerdict(sink="a", takes=False, refusal=sink.refusal, undecided=("attributes",))


def test_the_new_order_of_a_list_is_retold_as_one_change() -> None:
    old, new = ([{"name": name} for name in names] for names in ("abcd", "dbca"))
    review = make_review(
        oldObject={"spec": {"containers": old, "paused": True}}, object={"spec": {"containers": new, "paused": False}}
    )

    assert [each.path for each in retold(entry_of(review)).deltas] == [each.path for each in interpret(review).deltas]


def test_an_entry_of_a_failed_job_is_no_change() -> None:
    entry = replaced(entry_of(recorded_review("deployment-delete")), operation="FAILED")

    with pytest.raises(ValueError, match="about a failed Job"):
        retold(entry)


@pytest.mark.parametrize(
    ("kind", "resource", "expected"),
    [("ConfigMap", "configmaps", True), ("Deployment", "deployments", False), ("Widget", "widgets", False)],
)
def test_fields_of_an_object_without_a_spec_are_told_from_its_entry(kind: str, resource: str, expected: bool) -> None:
    group = {"Deployment": "apps", "Widget": "example.com"}.get(kind, "")
    review = make_review(
        **about_kind(kind, resource, group), oldObject={"data": {"a": "1"}}, object={"data": {"a": "2"}}
    )
    text = playbook("on_kubernetes_any_resource_update: {}", actions="resource_babysitter: {}")

    (verdict,) = explained(text, retold(entry_of(review))).playbooks

    assert bool(verdict.findings) is expected
    assert verdict.undecided == (("spec",) if kind == "Widget" else ())
