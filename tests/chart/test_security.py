"""Every Pod meets the restricted Pod Security Standard, field by field, and more.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.chart.helm import Document, Helm, one
from tests.chart.rendered import CI, pod_templates, rendered

EVERY = pytest.mark.parametrize("name", CI)

VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
"""The kinds of volumes of the restricted profile."""


def pods(helm: Helm, name: str) -> list[Document]:
    found = [template["spec"] for _, template in pod_templates(rendered(helm, name))]
    assert len(found) >= 3  # the server, the hook and the test
    return found


@EVERY
def test_no_pod_shares_anything_with_its_host(helm: Helm, name: str) -> None:
    for pod in pods(helm, name):
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} & set(pod)
        assert not any("hostPort" in port for each in pod["containers"] for port in each.get("ports", ()))


@EVERY
def test_volumes_are_of_the_kinds_that_the_profile_allows(helm: Helm, name: str) -> None:
    for pod in pods(helm, name):
        assert {key for volume in pod["volumes"] for key in volume if key != "name"} <= VOLUMES


@EVERY
def test_every_pod_runs_as_a_user_and_group_without_rights(helm: Helm, name: str) -> None:
    for pod in pods(helm, name):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"sysctls", "supplementalGroups", "seLinuxOptions", "windowsOptions"} & set(context)


@EVERY
def test_no_container_can_gain_rights_or_write_its_root(helm: Helm, name: str) -> None:
    for pod in pods(helm, name):
        assert not {"initContainers", "ephemeralContainers"} & set(pod)
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@EVERY
def test_only_data_and_temporary_files_can_be_written(helm: Helm, name: str) -> None:
    ours = {"config", "data", "tmp", "tls", "secret"}
    for pod in pods(helm, name):
        mounts = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] in ours]
        writable = {each["mountPath"] for each in mounts if not each.get("readOnly")}
        assert writable <= {"/var/lib/kubewitness", "/tmp"}
        assert "/tmp" in writable


@EVERY
def test_the_token_of_an_account_is_mounted_where_it_is_needed_alone(helm: Helm, name: str) -> None:
    documents = rendered(helm, name)
    accounts = {each["metadata"]["name"]: each for each in documents if each["kind"] == "ServiceAccount"}

    used = [pod["serviceAccountName"] for pod in pods(helm, name)]

    assert sorted(used) == sorted(accounts)  # each has its own
    assert all(each["automountServiceAccountToken"] is False for each in accounts.values())
    assert all(pod["automountServiceAccountToken"] is True for pod in pods(helm, name))


@EVERY
def test_variables_of_services_cannot_be_taken_for_options(helm: Helm, name: str) -> None:
    assert all(pod["enableServiceLinks"] is False for pod in pods(helm, name))


@EVERY
def test_every_container_says_what_it_needs_and_at_most_uses(helm: Helm, name: str) -> None:
    for pod in pods(helm, name):
        resources = pod["containers"][0]["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"])
        assert "memory" in resources["limits"]


@EVERY
def test_no_pod_but_the_server_and_the_watcher_sees_more_of_the_secret_than_the_token(helm: Helm, name: str) -> None:
    documents = rendered(helm, name)
    label = one(documents, "Secret")["metadata"]["name"]
    mounted = [each["secret"] for pod in pods(helm, name) for each in pod["volumes"] if each.get("secret")]

    for secret in mounted:
        if secret["secretName"] == label:
            assert [item["key"] for item in secret["items"]] == ["console-token"]


def test_probes_ask_the_console_and_a_slow_start_is_not_killed(helm: Helm) -> None:
    for owner, template in pod_templates(rendered(helm, "separate-watcher")):
        if owner in {"witness", "witness-watcher"}:
            (only,) = template["spec"]["containers"]
            paths = {kind: only[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
            assert {kind: get["path"] for kind, get in paths.items()} == {
                "startup": "/livez",
                "liveness": "/livez",
                "readiness": "/readyz",
            }
            assert {get["port"] for get in paths.values()} == {"console"}
            assert only["startupProbe"]["periodSeconds"] * only["startupProbe"]["failureThreshold"] >= 300
