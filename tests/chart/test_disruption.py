"""Evictions take one replica at a time."""

from __future__ import annotations

import pytest

from tests.chart.helm import Document, Helm, one


def budget(helm: Helm, kube_version: str = "1.34.0") -> Document:
    values = {"replicas": 3, "podDisruptionBudget": {"enabled": True}}
    return one(helm.template(values, kube_version=kube_version), "PodDisruptionBudget", "kubewitness")


def test_there_is_none_by_default(helm: Helm) -> None:
    assert not [each for each in helm.template({"replicas": 2}) if each["kind"] == "PodDisruptionBudget"]


def test_one_replica_at_a_time_may_go(helm: Helm) -> None:
    assert budget(helm)["spec"]["maxUnavailable"] == 1


def test_it_is_about_the_servers_alone(helm: Helm) -> None:
    values = {"replicas": 2, "podDisruptionBudget": {"enabled": True}, "watcher": {"separate": True}}
    documents = helm.template(values)
    chosen = one(documents, "PodDisruptionBudget")["spec"]["selector"]

    assert chosen == one(documents, "StatefulSet", "kubewitness")["spec"]["selector"]
    assert chosen != one(documents, "StatefulSet", "kubewitness-watcher")["spec"]["selector"]


@pytest.mark.parametrize(
    ("version", "api", "unhealthy"),
    [
        ("1.20.2", "policy/v1beta1", None),
        ("1.21.0", "policy/v1", None),
        ("1.26.9", "policy/v1", None),
        ("v1.27.1-gke.3", "policy/v1", "AlwaysAllow"),
        ("1.36.0", "policy/v1", "AlwaysAllow"),
    ],
)
def test_it_is_one_that_the_cluster_knows(helm: Helm, version: str, api: str, unhealthy: str | None) -> None:
    found = budget(helm, version)

    assert found["apiVersion"] == api
    assert found["spec"].get("unhealthyPodEvictionPolicy") == unhealthy
