from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import Actor
from app.core.finding import DiffBlock, Finding, JsonBlock, Severity, TextBlock
from app.core.playbook import Playbook
from tests.core.changes import change, image_change, paths, recorded, routed, told, workload

EVERY = "on_kubernetes_any_resource_all_changes: {}"


def babysat(parameters: str, about: Any, trigger: str = EVERY) -> list[Finding]:
    return told(f"[{{triggers: [{trigger}], actions: [resource_babysitter: {parameters}]}}]", about)


def created(parameters: str, about: Any) -> Finding:
    (finding,) = told(f"[{{triggers: [{EVERY}], actions: [create_finding: {parameters}]}}]", about)
    return finding


def test_babysitter_tells_what_changed_by_whom_and_with_what() -> None:
    (finding,) = babysat("{fields_to_monitor: [images], omitted_fields: []}", image_change())

    assert finding.title == "Deployment/shop/web updated"
    assert finding.description == "Updated by alice with kubectl-edit."
    assert finding.severity is Severity.INFO
    (block,) = finding.blocks
    assert isinstance(block, DiffBlock)
    assert (block.changes[0].old, block.changes[0].new) == ("nginx:1", "nginx:2")
    assert block.changes[0].path == "spec.template.spec.containers[nginx].image"


def test_babysitter_names_the_pod_that_used_a_service_account() -> None:
    about = msgspec.structs.replace(image_change(), actor=Actor(kind="controller", pod="argocd-0"))

    assert babysat("{}", about)[0].description == "Updated by alice (Pod argocd-0) with kubectl-edit."


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{}", ["spec.template.spec.containers[nginx].image"]),
        ("null", ["spec.template.spec.containers[nginx].image"]),
        ("{fields_to_monitor: [spec.replicas]}", ["spec.replicas"]),
        ("{fields_to_monitor: [replicas]}", ["spec.replicas"]),
        ("{fields_to_monitor: [metadata]}", ["metadata.labels.app"]),
        ("{fields_to_monitor: [spec.strategy]}", []),
        ("{fields_to_monitor: [status]}", ["status.replicas"]),
        (
            "{fields_to_monitor: [], omitted_fields: []}",
            ["metadata.labels.app", "spec.replicas", "spec.template.spec.containers[nginx].image"],
        ),
        ("{omitted_fields: []}", ["spec.replicas", "spec.template.spec.containers[nginx].image"]),
        ("{omitted_fields: [spec.template]}", ["spec.replicas"]),
    ],
)
def test_babysitter_tells_the_monitored_fields_that_are_not_omitted(parameters: str, expected: list[str]) -> None:
    old = workload("nginx:1", 1) | {"status": {"replicas": 1}, "metadata": {"labels": {"app": "a"}}}
    new = workload("nginx:2", 2) | {"status": {"replicas": 2}, "metadata": {"labels": {"app": "b"}}}

    findings = babysat(parameters, change(old=old, new=new))

    assert [path for finding in findings for path in paths(finding)] == expected
    assert len(findings) == (1 if expected else 0)


@pytest.mark.parametrize(
    ("filters", "parameters", "expected"),
    [
        ("{include: [metadata.labels]}", "{}", ["metadata.labels.app"]),
        ("{include: [spec.replicas]}", "{}", ["spec.replicas"]),
        ("{include: [status]}", "{}", ["status.replicas"]),
        ("{include: [spec]}", "{omitted_fields: [spec.template]}", ["spec.replicas"]),
        ("{include: [spec]}", "{fields_to_monitor: [images]}", ["spec.template.spec.containers[nginx].image"]),
        ("{include: [spec.replicas]}", "{fields_to_monitor: [images]}", []),
    ],
)
def test_babysitter_takes_from_the_trigger_what_it_does_not_say_itself(
    filters: str, parameters: str, expected: list[str]
) -> None:
    old = workload("nginx:1", 1) | {"status": {"replicas": 1}, "metadata": {"labels": {"app": "a"}}}
    new = workload("nginx:2", 2) | {"status": {"replicas": 2}, "metadata": {"labels": {"app": "b"}}}
    trigger = f"on_deployment_update: {{change_filters: {filters}}}"

    findings = babysat(parameters, change(old=old, new=new), trigger)

    assert [path for finding in findings for path in paths(finding)] == expected


def test_babysitter_tells_every_field_of_an_object_without_a_spec() -> None:
    (finding,) = babysat("{}", recorded("configmap-update"))

    assert finding.title.startswith("ConfigMap/default/")
    assert paths(finding)


def test_an_image_is_told_when_its_container_is_added_or_removed() -> None:
    bare: dict[str, Any] = {"spec": {"template": {"spec": {"containers": []}}}}

    assert len(babysat("{fields_to_monitor: [images]}", change(old=bare, new=workload("a")))) == 1
    assert len(babysat("{fields_to_monitor: [images]}", change(old=workload("a"), new=bare))) == 1


@pytest.mark.parametrize(("operation", "past"), [("CREATE", "created"), ("DELETE", "deleted")])
def test_babysitter_shows_the_whole_object_that_came_or_went(operation: str, past: str) -> None:
    (finding,) = babysat("{fields_to_monitor: [images]}", image_change(operation=operation))

    assert finding.title == f"Deployment/shop/web {past}"
    (block,) = finding.blocks
    assert isinstance(block, JsonBlock)
    assert block.value["spec"]["replicas"] == 1


def test_babysitter_ignores_namespaces() -> None:
    assert babysat("{ignored_namespaces: [shop]}", image_change()) == []
    assert babysat("{ignored_namespaces: [sho]}", image_change()) != []


def test_babysitter_shows_no_secret() -> None:
    updated = babysat("{fields_to_monitor: []}", recorded("secret-update"))
    made = babysat("{}", recorded("secret-create"))

    changes = [change for block in updated[0].blocks if isinstance(block, DiffBlock) for change in block.changes]
    values = [
        value for block in made[0].blocks if isinstance(block, JsonBlock) for value in block.value["data"].values()
    ]
    assert changes
    assert all(change.new.startswith("redacted:") for change in changes)
    assert all(value.startswith("redacted:") for value in values)


def test_babysitter_says_when_the_objects_were_too_large() -> None:
    about = msgspec.structs.replace(change(), old=None, new=None, truncated=True)

    (finding,) = babysat("{}", about)

    assert isinstance(finding.blocks[0], TextBlock)


def test_a_finding_can_be_put_in_your_own_words() -> None:
    about = image_change(labels={"app": "web"}, annotations={"example.com/owner": "ann"})
    text = "$kind $namespace/$name: $operation by $user in $cluster, $labels.app ${annotations.example.com/owner}"

    finding = created(f'{{title: "{text}", aggregation_key: "k-$name", description: "$$5"}}', about)

    assert finding.title == "Deployment shop/web: update by alice in production, web ann"
    assert finding.aggregation_key == "k-web"
    assert finding.description == "$5"
    assert finding.severity is Severity.HIGH


def test_a_finding_of_an_update_has_every_change_but_that_of_the_status() -> None:
    about = change(old={"spec": {"a": 1}, "status": {"b": 1}}, new={"spec": {"a": 2}, "status": {"b": 2}})

    assert paths(created("{title: t, aggregation_key: k}", about)) == ["spec.a"]
    assert created("{title: t, aggregation_key: k}", image_change(operation="CREATE")).blocks == ()


def test_what_the_object_does_not_have_reads_missing() -> None:
    about = change("CREATE", "ClusterRole", namespace="")

    title = created('{title: "$namespace $node $labels.x", aggregation_key: k}', about).title

    assert title == "<missing> <missing> <missing>"


def test_the_node_is_that_of_the_pod_or_the_node_itself() -> None:
    title = '{title: "$node", aggregation_key: k}'

    assert created(title, change("CREATE", "Pod", new={"spec": {"nodeName": "n1"}})).title == "n1"
    assert created(title, change("CREATE", "Node", name="n2", namespace="")).title == "n2"


def test_values_of_the_cluster_are_never_read_as_templates() -> None:
    about = image_change(labels={"app": "$user ${name} $$"}, user="$name")

    assert created('{title: "$labels.app $user", aggregation_key: k}', about).title == "$user ${name} $$ $name"


def test_credentials_in_annotations_do_not_reach_a_title() -> None:
    about = image_change(annotations={"example.com/api-token": "hunter2"})

    finding = created('{title: "${annotations.example.com/api-token}", aggregation_key: k}', about)

    assert finding.title.startswith("redacted:")


def test_customise_finding_overrides_what_earlier_actions_said() -> None:
    text = f"""
    - triggers: [{EVERY}]
      actions:
      - resource_babysitter: {{}}
      - customise_finding: {{title: "New changes in $kind/$namespace/$name", severity: high, aggregation_key: k}}
      - create_finding: {{title: later, aggregation_key: l}}
    """

    first, second = told(text, image_change())

    assert first.title == "New changes in Deployment/shop/web"
    assert (first.severity, first.aggregation_key) == (Severity.HIGH, "k")
    assert first.description == "Updated by alice with kubectl-edit."
    assert paths(first)
    assert second.title == "later"


def test_json_change_tracker_posts_the_redacted_object_to_a_sink_of_its_own() -> None:
    text = f"""
    - triggers: [{EVERY}]
      actions: [json_change_tracker: {{url: "https://example.com/a"}}, json_change_tracker: {{url: "https://example.com/b"}}]
      sinks: [elsewhere]
    """

    first, second = routed(text, recorded("secret-update"))

    assert (first.sinks, second.sinks) == (("json_change_tracker:2dce0a4c",), ("json_change_tracker:d7fe568b",))
    (block,) = first.finding.blocks
    assert isinstance(block, JsonBlock)
    assert block.value["operation"] == "update"
    assert all(value.startswith("redacted:") for value in block.value["data"].values())


def test_json_change_tracker_posts_what_was_deleted() -> None:
    text = f"[{{triggers: [{EVERY}], actions: [json_change_tracker: {{url: 'https://example.com'}}]}}]"

    (block,) = told(text, image_change(operation="DELETE"))[0].blocks

    assert isinstance(block, JsonBlock)
    assert block.value["operation"] == "delete"
    assert block.value["spec"]["replicas"] == 1


def test_a_connection_is_told_with_its_subresource() -> None:
    trigger = "on_kubernetes_resource_operation: {resources: [pods/exec], operations: [connect]}"
    about = change("CONNECT", "Pod", subresource="exec", new={"command": ["sh"]})

    (finding,) = babysat("{}", about, trigger)

    assert finding.title == "Pod/shop/web connected (exec)"


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([{"customise_finding": {"title": "x"}}], "customise_finding comes first"),
        ([{"job_info_enricher": {}}], "job_info_enricher needs the trigger on_job_failure"),
        ([{"create_finding": {"title": "$nmae", "aggregation_key": "k"}}], "unknown variable .nmae"),
        ([{"create_finding": {"title": "", "aggregation_key": "k"}}], "at least 1 character"),
        ([{"create_finding": {"title": "t", "aggregation_key": "k", "severity": "x"}}], "should be 'DEBUG'"),
        ([{"resource_babysitter": {"fields_to_monitor": ["a["]}}], "not a field pattern"),
        ([{"json_change_tracker": {"url": "nowhere"}}], "valid URL"),
        ([], "at least 1 item"),
    ],
)
def test_a_malformed_action_is_refused_with_a_reason(actions: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Playbook.model_validate({"triggers": [{"on_pod_update": {}}], "actions": actions})


def test_a_change_action_needs_a_trigger_on_changes() -> None:
    with pytest.raises(ValidationError, match="on_job_failure is none"):
        Playbook.model_validate({"triggers": [{"on_job_failure": {}}], "actions": [{"resource_babysitter": {}}]})
