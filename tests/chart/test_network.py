"""The NetworkPolicy lets in whom the auditor needs, and to the console nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.chart.helm import Document, Helm, one
from tests.chart.rendered import rendered

SAME_RELEASE: Final = {
    "podSelector": {
        "matchLabels": {"app.kubernetes.io/name": "kubewitness", "app.kubernetes.io/instance": "kubewitness"}
    }
}


def ports(policy: Document) -> dict[int, Any]:
    """Return who may reach which port; None is anybody."""
    return {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}


def ports_of_containers(documents: Sequence[Document], name: str) -> dict[str, int]:
    containers = one(documents, "StatefulSet", name)["spec"]["template"]["spec"]["containers"]
    return {port["name"]: port["containerPort"] for container in containers for port in container["ports"]}


def from_example(helm: Helm) -> Sequence[Document]:
    return rendered(helm, "network-policy")


def test_there_is_none_by_default(helm: Helm) -> None:
    assert not [each for each in rendered(helm, "default") if each["kind"] == "NetworkPolicy"]


def test_reviews_come_from_anywhere(helm: Helm) -> None:
    documents = helm.template({"networkPolicy": {"enabled": True}})
    allowed = ports(one(documents, "NetworkPolicy", "kubewitness"))

    assert allowed[ports_of_containers(documents, "kubewitness")["admission"]] is None


def test_the_console_is_for_the_namespace_of_the_release_by_default(helm: Helm) -> None:
    documents = helm.template({"networkPolicy": {"enabled": True}})
    allowed = ports(one(documents, "NetworkPolicy", "kubewitness"))

    assert allowed[ports_of_containers(documents, "kubewitness")["console"]] == [SAME_RELEASE, {"podSelector": {}}]


def test_peers_of_the_values_replace_the_namespace_and_not_the_pods_of_the_release(helm: Helm) -> None:
    documents = from_example(helm)
    peers = ports(one(documents, "NetworkPolicy", "kubewitness"))[8080]

    assert SAME_RELEASE in peers
    assert {"podSelector": {}} not in peers
    assert len(peers) == 3
    assert all("namespaceSelector" in peer for peer in peers if peer != SAME_RELEASE)


def test_a_watcher_of_its_own_has_one_of_its_own(helm: Helm) -> None:
    documents = from_example(helm)
    allowed = ports(one(documents, "NetworkPolicy", "kubewitness-watcher"))

    assert set(allowed) == set(ports_of_containers(documents, "kubewitness-watcher").values())


def test_policies_choose_the_pods_of_their_component(helm: Helm) -> None:
    documents = from_example(helm)

    for name in ("kubewitness", "kubewitness-watcher"):
        policy, pods = one(documents, "NetworkPolicy", name), one(documents, "StatefulSet", name)["spec"]
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert chosen == pods["selector"]["matchLabels"]
        assert policy["metadata"]["namespace"] == "kubewitness"


def test_the_test_pod_is_among_those_that_are_let_in(helm: Helm) -> None:
    pod = one(from_example(helm), "Pod")

    assert SAME_RELEASE["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_what_leaves_is_not_restricted(helm: Helm) -> None:
    for policy in from_example(helm):
        if policy["kind"] == "NetworkPolicy":
            assert policy["spec"]["policyTypes"] == ["Ingress"]
            assert "egress" not in policy["spec"]
