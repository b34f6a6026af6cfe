"""What Helm does on occasions: `helm uninstall` removes the webhook first, `helm test` changes something."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chart.helm import Document, Helm, one
from tests.chart.rendered import CI, container, is_hook, options, rendered

EVERY = pytest.mark.parametrize("name", CI)


def hooks(documents: Sequence[Document], occasion: str) -> list[Document]:
    found = [each for each in documents if is_hook(each)]
    return [each for each in found if each["metadata"]["annotations"]["helm.sh/hook"] == occasion]


@EVERY
def test_every_hook_is_removed_when_it_succeeded(helm: Helm, name: str) -> None:
    for hook in filter(is_hook, rendered(helm, name)):
        policies = hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
        assert set(policies) == {"before-hook-creation", "hook-succeeded"}


@EVERY
@pytest.mark.parametrize("occasion", ["pre-delete", "test"])
def test_who_acts_comes_after_its_rights(helm: Helm, name: str, occasion: str) -> None:
    found = hooks(rendered(helm, name), occasion)
    weights = {each["kind"]: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in found}
    last = weights.pop("Job", weights.pop("Pod", None))

    assert last is not None
    assert {"ServiceAccount"} < set(weights)
    assert max(weights.values()) < last


@EVERY
def test_the_webhook_is_removed_before_anything_else_goes(helm: Helm, name: str) -> None:
    documents = rendered(helm, name)
    label = one(documents, "ValidatingWebhookConfiguration")["metadata"]["name"]
    job = one(documents, "Job", f"{label}-remove-webhook")

    assert job in hooks(documents, "pre-delete")
    assert container(documents, f"{label}-remove-webhook")["args"] == ["webhook", "remove", f"--name={label}"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["activeDeadlineSeconds"] < 300  # the patience of `helm uninstall`


def test_who_removes_the_webhook_can_do_nothing_else(helm: Helm) -> None:
    role = one(rendered(helm, "default"), "ClusterRole", "kubewitness-remove-webhook")

    assert role["rules"] == [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "resourceNames": ["kubewitness"],
            "verbs": ["get", "delete"],
        }
    ]


def test_helm_test_changes_a_config_map_and_asks_all_replicas_for_it(helm: Helm) -> None:
    documents = helm.template({"tests": {"namespace": "playground"}})
    only = container(documents, "kubewitness-test")
    role = one(documents, "Role", "kubewitness-test")

    assert only["args"][0] == "verify"
    assert options(only["args"]) == {
        "namespace": "playground",
        "console-url": "http://kubewitness-replicas.kubewitness.svc:8080",
        "console-token-file": "/etc/kubewitness/secret/console-token",
    }
    assert role["metadata"]["namespace"] == "playground"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch", "delete"]}]
    assert one(documents, "RoleBinding", "kubewitness-test")["metadata"]["namespace"] == "playground"


@pytest.mark.parametrize(
    ("values", "namespace"),
    [
        pytest.param({}, "default", id="its namespace is the release's own"),
        pytest.param({"webhook": {"operations": ["DELETE"]}}, "kubewitness", id="updates are not shown"),
        pytest.param({"webhook": {"scope": "playbooks"}}, "kubewitness", id="no playbook asks for ConfigMaps"),
    ],
)
def test_there_is_no_helm_test_that_could_not_pass(helm: Helm, values: Document, namespace: str) -> None:
    assert not hooks(helm.template(values, namespace=namespace), "test")


def test_there_is_one_where_a_playbook_asks_for_config_maps(helm: Helm) -> None:
    playbook: Document = {"triggers": [{"on_configmap_update": {}}], "actions": [{"resource_babysitter": {}}]}

    assert hooks(helm.template({"webhook": {"scope": "playbooks"}, "customPlaybooks": [playbook]}), "test")
