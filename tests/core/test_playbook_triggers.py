from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from app.core.playbook import Playbook
from app.core.triggers import TRIGGERS, target
from tests.core.changes import change, fires, image_change, recorded, told, workload


@pytest.mark.parametrize(
    ("trigger", "operation", "expected"),
    [
        ("on_deployment_create", "CREATE", True),
        ("on_deployment_create", "UPDATE", False),
        ("on_deployment_update", "UPDATE", True),
        ("on_deployment_update", "CREATE", False),
        ("on_deployment_delete", "DELETE", True),
        ("on_deployment_delete", "UPDATE", False),
        ("on_deployment_all_changes", "CREATE", True),
        ("on_deployment_all_changes", "UPDATE", True),
        ("on_deployment_all_changes", "DELETE", True),
        ("on_deployment_all_changes", "CONNECT", False),
        ("on_kubernetes_any_resource_update", "UPDATE", True),
        ("on_kubernetes_any_resource_all_changes", "DELETE", True),
        ("on_kubernetes_any_resource_all_changes", "CONNECT", False),
        ("on_pod_update", "UPDATE", False),
        ("on_replicaset_all_changes", "UPDATE", False),
    ],
)
def test_a_trigger_fires_on_its_kind_and_operation_alone(trigger: str, operation: str, expected: bool) -> None:
    assert fires(f"{trigger}: {{}}", image_change(operation=operation)) is expected


def test_null_parameters_mean_the_defaults() -> None:
    assert fires("on_deployment_update: null", image_change())


def test_every_built_in_kind_has_four_triggers() -> None:
    for operation in ("create", "update", "delete", "all_changes"):
        assert f"on_ingress_{operation}" in TRIGGERS
        assert f"on_horizontalpodautoscaler_{operation}" in TRIGGERS


def test_a_custom_kind_with_the_name_of_a_built_in_one_does_not_fire_its_trigger() -> None:
    about = change("CREATE", "Service", group="serving.knative.dev")

    assert not fires("on_service_create: {}", about)


def test_an_ingress_of_the_old_group_is_an_ingress() -> None:
    assert fires("on_ingress_create: {}", change("CREATE", "Ingress", group="extensions"))


@pytest.mark.parametrize("name", ["deployment-update-managed-fields-only", "deployment-status-update-by-controller"])
def test_an_update_that_changes_nothing_or_only_the_status_does_not_fire(name: str) -> None:
    assert not fires("on_deployment_update: {}", recorded(name))


def test_a_status_change_fires_where_the_filter_names_the_status() -> None:
    about = recorded("deployment-status-update-by-controller")

    assert fires("on_deployment_update: {change_filters: {include: [status]}}", about)
    assert fires("on_deployment_update: {change_filters: {include: [status.conditions]}}", about)
    assert not fires("on_deployment_update: {change_filters: {include: [message]}}", about)
    assert not fires("on_deployment_update: {change_filters: {ignore: [spec]}}", about)


def test_scaling_is_an_update_of_the_deployment() -> None:
    about = recorded("deployment-scale-subresource")

    assert fires("on_deployment_update: {change_filters: {include: [spec.replicas]}}", about)
    assert not fires("on_deployment_create: {}", about)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("{include: [image]}", True),
        ("{include: [images]}", True),
        ("{include: ['spec.template.spec.containers[0]']}", True),
        ("{include: ['spec.template.spec.containers[*].image']}", True),
        ("{include: ['containers[nginx]']}", True),
        ("{include: ['containers[envoy]']}", False),
        ("{include: [imagePullPolicy]}", False),
        ("{include: [spec.replicas]}", False),
        ("{include: [spec], ignore: [image]}", False),
        ("{ignore: [spec.template]}", False),
        ("{ignore: [spec.replicas]}", True),
        ("{}", True),
    ],
)
def test_change_filters_decide_by_the_changed_fields(filters: str, expected: bool) -> None:
    assert fires(f"on_deployment_update: {{change_filters: {filters}}}", image_change()) is expected


def test_change_filters_do_not_filter_creations_and_deletions() -> None:
    trigger = "on_deployment_all_changes: {change_filters: {include: [nothing]}}"

    assert fires(trigger, image_change(operation="CREATE"))
    assert fires(trigger, image_change(operation="DELETE"))
    assert not fires(trigger, image_change())


def test_an_ignored_field_from_the_top_leaves_the_same_field_further_down() -> None:
    restart = recorded("deployment-update-rollout-restart")

    assert fires("on_deployment_update: {change_filters: {ignore: [metadata.annotations]}}", restart)
    assert not fires("on_deployment_update: {change_filters: {ignore: [template.metadata.annotations]}}", restart)


def test_an_ignored_field_is_ignored_when_it_comes_with_the_map_around_it() -> None:
    about = change(old={"metadata": {}}, new={"metadata": {"annotations": {"a": "1"}}})

    assert not fires("on_deployment_update: {change_filters: {ignore: [metadata.annotations.a]}}", about)
    assert fires("on_deployment_update: {change_filters: {ignore: [metadata.annotations.b]}}", about)


def test_an_included_field_counts_when_the_map_around_it_goes() -> None:
    about = change(old={"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1}}}}, new={"spec": {}})

    assert fires("on_deployment_update: {change_filters: {include: [maxSurge]}}", about)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{name_prefix: we}", True),
        ("{name_prefix: eb}", False),
        ("{namespace_prefix: sh}", True),
        ("{namespace_prefix: x}", False),
        ("{labels_selector: 'app=web, tier=front'}", True),
        ("{labels_selector: app=web}", True),
        ("{labels_selector: 'app=web,tier=back'}", False),
        ("{labels_selector: other=web}", False),
        ("{scope: {include: [{user: alice}]}}", True),
        ("{scope: {include: [{user: ali}]}}", False),
        ("{scope: {include: [{group: admins}]}}", True),
        ("{scope: {include: [{kind: deployment, operation: update}]}}", True),
        ("{scope: {include: [{path: 'spec\\.template\\..*image'}]}}", True),
        ("{scope: {include: [{path: image}]}}", False),
        ("{scope: {include: [{field_manager: kubectl-.*}]}}", True),
        ("{scope: {include: [{actor: controller}]}}", False),
        ("{scope: {include: [{resource: deployments, api_group: apps, subresource: ''}]}}", True),
        ("{scope: {include: [{attributes: 'spec.replicas=1, spec.template.spec.containers[0].name!=envoy'}]}}", True),
        ("{scope: {exclude: [{attributes: 'spec.template.spec.containers[nginx].image=NGINX:2'}]}}", False),
        ("{scope: {exclude: [{labels: app=w.*}]}}", False),
    ],
)
def test_parameters_say_which_objects_are_meant(parameters: str, expected: bool) -> None:
    about = image_change(labels={"app": "web", "tier": "front"}, groups=["admins"])

    assert fires(f"on_deployment_update: {parameters}", about) is expected


@pytest.mark.parametrize(
    ("trigger", "subresource", "operation", "expected"),
    [
        ("on_pod_create: {}", "eviction", "CREATE", False),
        ("on_pod_create: {}", "binding", "CREATE", False),
        ("on_pod_delete: {}", "eviction", "DELETE", False),
        ("on_pod_update: {}", "ephemeralcontainers", "UPDATE", True),
        ("on_pod_all_changes: {}", "exec", "CONNECT", False),
        ("OPERATION: {}", "eviction", "CREATE", False),
        ("OPERATION: {}", "exec", "CONNECT", False),
        ("OPERATION: {operations: [connect]}", "exec", "CONNECT", True),
        ("OPERATION: {operations: [Connect], resources: [pod]}", "exec", "CONNECT", True),
        ("OPERATION: {operations: [connect], resources: [pods/exec]}", "exec", "CONNECT", True),
        ("OPERATION: {operations: [connect], resources: [pod/exec]}", "attach", "CONNECT", False),
        ("OPERATION: {operations: [create], resources: [pods/eviction]}", "eviction", "CREATE", True),
        ("OPERATION: {operations: [create], resources: [pods]}", "eviction", "CREATE", False),
        ("OPERATION: {operations: [connect], resources: [service]}", "exec", "CONNECT", False),
    ],
)
def test_subresources_fire_only_what_means_them(trigger: str, subresource: str, operation: str, expected: bool) -> None:
    about = change(operation, "Pod", subresource=subresource, old=workload("a"), new=workload("b"))

    trigger = trigger.replace("OPERATION", "on_kubernetes_resource_operation")

    assert fires(trigger, about) is expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{resources: [deployment], operations: [update]}", True),
        ("{resources: [Deployments]}", True),
        ("{resources: [deployments.apps]}", True),
        ("{resources: [deployments.extensions]}", False),
        ("{resources: [pod, job], operations: [update]}", False),
        ("{resources: [deployment], operations: [create, delete]}", False),
        ("{resources: [deployments/scale]}", False),
        ("{resources: [], operations: []}", True),
        ("{resources: null, operations: null}", True),
        ("{resources: [deployment], change_filters: {include: [spec.replicas]}}", False),
    ],
)
def test_resource_operations_name_kinds_or_plurals(parameters: str, expected: bool) -> None:
    assert fires(f"on_kubernetes_resource_operation: {parameters}", image_change()) is expected


def test_custom_resources_are_named_by_group_and_kind_or_plural() -> None:
    about = change("UPDATE", "Widget", old={"spec": {"a": 1}}, new={"spec": {"a": 2}})

    assert fires("on_resource_update: {group: example.com, kind: widget}", about)
    assert fires("on_resource_all_changes: {group: example.com, kind: Widget, version: v1}", about)
    assert fires("on_kubernetes_resource_operation: {resources: [widgets.example.com]}", about)
    assert fires("on_kubernetes_any_resource_update: {}", about)
    assert not fires("on_resource_update: {group: example.com, kind: Widget, version: v2}", about)
    assert not fires("on_resource_update: {group: example.org, kind: Widget}", about)
    assert not fires("on_kubernetes_resource_operation: {resources: [widgets.example.org]}", about)


@pytest.mark.parametrize(("kind", "group"), [("Lease", None), ("Event", ""), ("Endpoints", None)])
def test_upkeep_of_the_cluster_fires_only_what_names_it(kind: str, group: str | None) -> None:
    about = change("CREATE", kind, group=group)

    assert not fires("on_kubernetes_any_resource_all_changes: {}", about)
    assert not fires("on_kubernetes_resource_operation: {}", about)
    assert fires(f"on_{kind.lower()}_create: {{}}", about)
    assert fires(f"on_kubernetes_resource_operation: {{resources: [{kind.lower()}]}}", about)


def test_an_update_that_was_too_large_to_be_read_fires() -> None:
    about = msgspec.structs.replace(change(), old=None, new=None, truncated=True)

    assert fires("on_deployment_update: {change_filters: {include: [images]}}", about)


def test_any_of_the_triggers_fires_the_playbook_once() -> None:
    text = """
    - triggers: [on_deployment_update: {}, on_kubernetes_any_resource_update: {}]
      actions: [create_finding: {title: t, aggregation_key: k}]
    """

    assert len(told(text, image_change())) == 1


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ({}, "exactly one trigger, found 0"),
        ({"on_pod_update": {}, "name_prefix": "x"}, "exactly one trigger, found 2"),
        ("on_pod_update", "write on_pod_update: {}"),
        (3, "must be the name of one trigger"),
        ({"on_pod_updat": {}}, "Extra inputs are not permitted"),
        ({"on_pod_update": {"labels_selector": "a"}}, "write key=value,key=value"),
        ({"on_pod_update": {"labels_selector": "a!=b"}}, "write key=value,key=value"),
        ({"on_pod_update": {"change_filters": {"include": ["a..b"]}}}, "not a field pattern"),
        ({"on_resource_update": {"kind": "Widget"}}, "Field required"),
        ({"on_job_failure": {"change_filters": {}}}, "Extra inputs are not permitted"),
    ],
)
def test_a_malformed_trigger_is_refused_with_a_reason(trigger: Any, message: str) -> None:
    action = {"create_finding": {"title": "t", "aggregation_key": "k"}}

    with pytest.raises(ValidationError, match=message.replace("{", r"\{").replace("}", r"\}")):
        Playbook.model_validate({"triggers": [trigger], "actions": [action]})


def test_an_unknown_resource_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown resource 'deploymnet/scale'") as caught:
        target("deploymnet/scale")

    assert caught.value.suggestion == "deployment/scale"  # type: ignore[attr-defined]
