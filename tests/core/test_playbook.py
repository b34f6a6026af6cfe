from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.finding import Block, Finding, Severity, TextBlock
from app.core.matching import Facts
from app.core.playbook import FailedJobSituation, RoutedFinding
from app.sinks.base import SinkConfig
from tests.core.changes import REDACTOR, change, image_change, paths, playbooks, recorded, routed, told

TUTORIAL = """
- triggers:
    - on_deployment_update: {}
  actions:
    - resource_babysitter:
        omitted_fields: []
        fields_to_monitor: ["images"]
  sinks:
  - some_sink_name #Optional
"""
TWO = """
- name: first
  triggers: [on_deployment_update: {}]
  actions: [resource_babysitter: {fields_to_monitor: [images]}]
  stop: true
- {name: second, triggers: [on_deployment_update: {}], actions: [create_finding: {title: t, aggregation_key: k}]}
"""
JOB = {
    "name": "nightly",
    "namespace": "shop",
    "kind": "Job",
    "labels": {"team": "data"},
    "annotations": {},
    "operation": "UPDATE",
}


def sink(name: str, **options: Any) -> SinkConfig:
    return SinkConfig.model_validate({"name": name, **options})


def receivers(sinks: Sequence[SinkConfig], *, named: str = "null", severity: str = "HIGH") -> tuple[str, ...]:
    text = f"""
    - triggers: [on_deployment_update: {{}}]
      actions: [create_finding: {{title: Attention, aggregation_key: web, severity: {severity}}}]
      sinks: {named}
    """
    (each,) = routed(text, image_change(labels={"app": "web"}, groups=["admins"]), sinks)
    return each.sinks


def test_the_tutorial_tells_an_image_change() -> None:
    (each,) = routed(TUTORIAL, recorded("deployment-update-set-image"), [sink("other"), sink("some_sink_name")])

    assert each.sinks == ("some_sink_name",)
    assert each.finding.title == "Deployment/default/web updated"
    assert paths(each.finding) == ["spec.template.spec.containers[nginx].image"]


@pytest.mark.parametrize(
    "name",
    [
        "deployment-update-annotate",
        "deployment-update-label",
        "deployment-update-env-secretish",
        "deployment-update-rollout-restart",
        "deployment-update-managed-fields-only",
        "deployment-status-update-by-controller",
        "deployment-scale-subresource",
        "deployment-delete",
        "replicaset-create-by-controller",
        "configmap-update",
    ],
)
def test_the_tutorial_tells_nothing_else(name: str) -> None:
    assert told(TUTORIAL, recorded(name)) == []


def test_a_playbook_is_called_by_its_name_or_its_first_trigger() -> None:
    assert told(TUTORIAL, image_change())[0].playbook == "on_deployment_update"
    assert told(TWO, image_change())[0].playbook == "first"


def test_stop_keeps_a_told_change_from_later_playbooks() -> None:
    scaled = change(old={"spec": {"replicas": 1}}, new={"spec": {"replicas": 2}})

    assert [finding.playbook for finding in told(TWO, image_change())] == ["first"]
    assert [finding.playbook for finding in told(TWO, scaled)] == ["second"]


def test_playbooks_tell_in_their_order_whatever_their_triggers() -> None:
    say = "actions: [create_finding: {title: t, aggregation_key: k}]"
    text = f"""
    - {{name: a, triggers: [on_kubernetes_any_resource_update: {{}}], {say}}}
    - {{name: b, triggers: [on_deployment_update: {{}}], {say}}}
    - {{name: c, triggers: [on_kubernetes_resource_operation: {{}}], {say}}}
    """

    assert [finding.playbook for finding in told(text, image_change())] == ["a", "b", "c"]
    assert [finding.playbook for finding in told(text, image_change(kind="StatefulSet"))] == ["a", "c"]


def test_without_playbooks_nothing_is_told() -> None:
    assert told("[]", image_change()) == []


def test_a_finding_goes_to_the_default_sinks() -> None:
    assert receivers([sink("a"), sink("b", default=False), sink("c")]) == ("a", "c")


def test_a_finding_goes_to_the_named_sinks_alone() -> None:
    assert receivers([sink("a"), sink("b", default=False), sink("c")], named="[b, c]") == ("b", "c")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"severity": "high"}, True),
        ({"severity": "LOW"}, False),
        ({"identifier": "web"}, True),
        ({"title": "Att.*"}, True),
        ({"title": "Att"}, False),
        ({"type": "ISSUE", "source": "KUBERNETES_API_SERVER"}, True),
        ({"type": "CONF_CHANGE"}, False),
        ({"namespace": ["x", "sh.p"], "name": "web", "kind": "deployment"}, True),
        ({"namespace": "shop", "user": "bob"}, False),
        ({"group": "admins", "actor": "human", "operation": "update"}, True),
        ({"path": r".*\.image"}, True),
        ({"labels": "app=web"}, True),
        ({"labels": "app!=web"}, False),
        ({"field_manager": "kubectl-.*"}, True),
        ({"node": ".+"}, False),
    ],
)
def test_the_scope_of_a_sink_decides_what_it_takes(item: dict[str, Any], expected: bool) -> None:
    assert receivers([sink("a", scope={"include": [item]})]) == (("a",) if expected else ())
    assert receivers([sink("a", scope={"exclude": [item]})]) == (() if expected else ("a",))


def test_a_finding_goes_nowhere_if_no_sink_is_named_on_purpose() -> None:
    assert receivers([sink("a")], named="[]") == ()


def test_the_scope_of_a_named_sink_holds_too() -> None:
    assert receivers([sink("a", scope={"exclude": [{"name": "web"}]})], named="[a]") == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"match": {"namespace": "sh"}}, True),
        ({"match": {"namespace": "op"}}, False),
        ({"match": {"namespace": ["x", "shop"], "severity": "HIGH"}}, True),
        ({"match": {"labels": "app=web"}}, True),
        ({"match": {"labels": "app=w.*"}}, False),
        ({"match": {}}, True),
        ({"match": {"namespace": "x"}, "scope": {"include": [{"name": "web"}]}}, True),
        ({"match": {"namespace": "shop"}, "scope": {"include": [{"name": "x"}]}}, True),
        ({"match": {"namespace": "x"}, "scope": {"include": [{"name": "x"}]}}, False),
        ({"match": {"namespace": "shop"}, "scope": {"exclude": [{"name": "web"}]}}, False),
        ({"match": {"namespace": "x"}, "scope": {"exclude": [{"name": "x"}]}}, False),
    ],
)
def test_match_is_the_older_form_of_scope(options: dict[str, Any], expected: bool) -> None:
    assert receivers([sink("a", **options)]) == (("a",) if expected else ())


def test_a_sink_with_stop_keeps_what_it_took_from_later_sinks() -> None:
    urgent = sink("urgent", scope={"include": [{"severity": "HIGH"}]}, stop=True)

    assert receivers([urgent, sink("rest")]) == ("urgent",)
    assert receivers([urgent, sink("rest")], severity="LOW") == ("rest",)
    assert receivers([urgent, sink("rest")], named="[rest]") == ("rest",)


def test_a_finding_that_no_sink_takes_is_told_all_the_same() -> None:
    (each,) = routed(TUTORIAL, image_change(), [sink("other")])

    assert each.sinks == ()
    assert each.finding.title == "Deployment/shop/web updated"


ACCOUNT = "The Job failed for good: BackoffLimitExceeded."
JOB_PLAYBOOKS = """
- triggers:
  - on_job_failure: {}  # (1)
  actions:
  - create_finding: # (2)
      title: "Job Failed"
      aggregation_key: "job_failure"
  - job_info_enricher: {} # (3)
  - job_events_enricher: {} # (4)
  - job_pod_enricher: {} # (5)
  sinks:
  - some_sink_name
"""


def look(variable: str) -> str:
    return str(JOB.get(variable, ""))


def failed(
    text: str, job: Facts = JOB, sinks: Sequence[SinkConfig] = (), withheld: Collection[str] = ()
) -> list[RoutedFinding]:
    def enriched(enricher: JobEnricher) -> tuple[Block, ...]:
        return (TextBlock(type(enricher).__name__),)

    situation = FailedJobSituation(facts=job, look=look, account=ACCOUNT, enriched=enriched, withheld=withheld)
    return playbooks(text, sinks).evaluate_failed_job(situation, REDACTOR)


def test_a_failed_job_is_told_with_what_is_attached_to_it() -> None:
    (each,) = failed(JOB_PLAYBOOKS, sinks=[sink("some_sink_name"), sink("other")])

    assert each.sinks == ("some_sink_name",)
    assert each.finding.title == "Job Failed"
    assert each.finding.blocks == (
        TextBlock("JobInfoEnricher"),
        TextBlock("JobEventsEnricher"),
        TextBlock("JobPodEnricher"),
    )


def test_a_description_of_ones_own_comes_before_why_the_job_failed() -> None:
    described = JOB_PLAYBOOKS.replace(
        'title: "Job Failed"', 'title: "Job Failed"\n      description: Call the data team.'
    )

    (plain,), (own,) = failed(JOB_PLAYBOOKS), failed(described)

    assert (plain.finding.description, own.finding.description) == (ACCOUNT, "Call the data team.")


def test_a_playbook_whose_rate_limit_is_used_up_does_not_fire() -> None:
    first = JOB_PLAYBOOKS.replace("on_job_failure: {}", "on_job_failure: {rate_limit: 60}")
    text = first.replace("- triggers:", "- name: first\n  stop: true\n  triggers:") + JOB_PLAYBOOKS

    assert playbooks(text).rate_limits(JOB) == {"first": 60}
    assert [each.finding.playbook for each in failed(text)] == ["first"]
    assert [each.finding.playbook for each in failed(text, withheld={"first"})] == ["on_job_failure"]


def test_what_is_to_be_attached_is_known_before() -> None:
    wanted = playbooks(JOB_PLAYBOOKS + JOB_PLAYBOOKS).wanted_enrichers(JOB)

    assert wanted == (JobInfoEnricher(), JobEventsEnricher(), JobPodEnricher())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{name_prefix: night}", True),
        ("{name_prefix: day}", False),
        ("{namespace_prefix: shop, labels_selector: team=data}", True),
        ("{labels_selector: team=web}", False),
        ("{scope: {exclude: [{name: nightly}]}}", False),
    ],
)
def test_parameters_say_which_failed_jobs_are_meant(parameters: str, expected: bool) -> None:
    text = (
        f"[{{triggers: [on_job_failure: {parameters}], actions: [create_finding: {{title: t, aggregation_key: k}}]}}]"
    )

    assert bool(failed(text)) is expected


def test_an_enricher_alone_makes_a_finding_of_its_own() -> None:
    (each,) = failed("[{triggers: [on_job_failure: {}], actions: [job_info_enricher: {}]}]")

    expected = Finding(
        playbook="on_job_failure",
        title="Job shop/nightly failed",
        description=ACCOUNT,
        severity=Severity.HIGH,
        aggregation_key="job_failure",
        blocks=(TextBlock("JobInfoEnricher"),),
    )
    assert each.finding == expected


def test_stop_keeps_a_told_failure_from_later_playbooks() -> None:
    say = "actions: [create_finding: {title: t, aggregation_key: k}]"
    silent = "{triggers: [on_job_failure: {}, on_pod_update: {}], actions: [resource_babysitter: {}], stop: true}"

    stopped = failed(
        f"[{{triggers: [on_job_failure: {{}}], {say}, stop: true}}, {{triggers: [on_job_failure: {{}}], {say}}}]"
    )
    passed_on = failed(f"[{silent}, {{triggers: [on_job_failure: {{}}], {say}}}]")

    assert len(stopped) == 1
    assert len(passed_on) == 1


def test_a_change_of_a_job_does_not_fire_on_its_failure() -> None:
    assert told(JOB_PLAYBOOKS, change("UPDATE", "Job", old={"spec": {"a": 1}}, new={"spec": {"a": 2}})) == []
