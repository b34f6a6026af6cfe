"""Two replicas: nodes, zones and rollouts do not take them at once, unless the values say otherwise."""

from __future__ import annotations

from typing import Any

from tests.chart.helm import Helm, one
from tests.chart.rendered import rendered, values_of


def spec(helm: Helm, **values: Any) -> dict[str, Any]:
    return dict(one(helm.template({"replicas": 2, **values}), "StatefulSet")["spec"])


def test_replicas_prefer_nodes_of_their_own(helm: Helm) -> None:
    found = spec(helm)

    (preferred,) = found["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert preferred["podAffinityTerm"]["labelSelector"] == found["selector"]


def test_replicas_spread_over_zones_where_they_can(helm: Helm) -> None:
    found = spec(helm)

    (constraint,) = found["template"]["spec"]["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "topology.kubernetes.io/zone"
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["labelSelector"] == found["selector"]


def test_the_values_replace_both(helm: Helm) -> None:
    affinity: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    constraints = [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]

    pod = spec(helm, affinity=affinity, topologySpreadConstraints=constraints)["template"]["spec"]

    assert pod["affinity"] == affinity
    assert pod["topologySpreadConstraints"] == constraints


def test_one_replica_needs_neither(helm: Helm) -> None:
    pod = one(rendered(helm, "default"), "StatefulSet")["spec"]["template"]["spec"]

    assert not {"affinity", "topologySpreadConstraints"} & set(pod)


def test_replicas_start_together_and_are_replaced_one_after_another(helm: Helm) -> None:
    found = spec(helm)

    assert found["replicas"] == 2
    assert found["podManagementPolicy"] == "Parallel"
    assert found["updateStrategy"] == {"type": "RollingUpdate"}


def test_a_replica_has_time_to_drain_and_to_deliver(helm: Helm) -> None:
    assert spec(helm)["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_an_eviction_takes_one_at_a_time(helm: Helm) -> None:
    documents = rendered(helm, "high-availability")

    budget = one(documents, "PodDisruptionBudget")

    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == one(documents, "StatefulSet")["spec"]["selector"]


def test_claims_go_with_the_release_where_the_values_say_so(helm: Helm) -> None:
    policy = spec(helm, persistence={"whenDeleted": "Delete"})["persistentVolumeClaimRetentionPolicy"]

    assert policy == {"whenDeleted": "Delete", "whenScaled": "Retain"}


def test_a_separate_watcher_is_one_and_runs_on_nodes_that_the_values_name(helm: Helm) -> None:
    watcher = one(rendered(helm, "separate-watcher"), "StatefulSet", "witness-watcher")["spec"]

    assert watcher["replicas"] == 1
    assert watcher["template"]["spec"]["affinity"] == values_of("separate-watcher")["affinity"]
    assert "topologySpreadConstraints" not in watcher["template"]["spec"]
