"""The notes after `helm install`: the limits of what was installed, and commands that show it works."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.chart.helm import CHART, Helm, HelmError
from tests.chart.rendered import CI, values_of

LIMIT = "Limits of this installation:"


def notes(helm: Helm, values: dict[str, Any] | None = None, namespace: str = "kubewitness") -> str:
    arguments = ("install", "kubewitness", str(CHART), f"--namespace={namespace}", "--dry-run=client", "--values=-")
    try:
        printed = helm.run(*arguments, stdin=msgspec.json.encode(values or {}).decode())
    except HelmError as error:
        if "cluster unreachable" not in str(error):
            raise
        pytest.skip("only helm 4 shows the notes without a cluster")
    return printed.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("name", CI)
def test_they_fit_a_terminal(helm: Helm, name: str) -> None:
    said = notes(helm, values_of(name))

    assert LIMIT in said
    assert max(map(len, said.splitlines())) <= 100
    assert "\n\n\n" not in said


def test_they_say_how_to_see_that_it_works(helm: Helm) -> None:
    said = notes(helm)

    assert "kubectl --namespace kubewitness rollout status statefulset/kubewitness\n" in said
    assert "helm --namespace kubewitness test kubewitness\n" in said
    assert "set image deployment/witness" in said
    assert "exec kubewitness-0 -- kubewitness entries list\n" in said
    assert "kubectl --namespace kubewitness port-forward pod/kubewitness-0 8080\n" in said


def test_they_say_what_one_replica_loses(helm: Helm) -> None:
    assert "One replica: changes during its restart are not recorded." in notes(helm)
    assert "One replica: changes during its restart are forbidden." in notes(
        helm, {"webhook": {"failurePolicy": "Fail"}}
    )


def test_they_say_the_way_out_where_changes_can_be_forbidden(helm: Helm) -> None:
    command = "kubectl delete validatingwebhookconfiguration kubewitness\n"

    assert command in notes(helm, {"webhook": {"failurePolicy": "Fail"}})
    assert command not in notes(helm)


def test_they_ask_each_replica_for_its_ledger(helm: Helm) -> None:
    said = notes(helm, {"replicas": 2})

    assert "2 replicas: each has a ledger of its own" in said
    assert "exec kubewitness-0" in said
    assert "exec kubewitness-1" in said
    assert "One replica" not in said


def test_they_say_what_ends_with_the_pod(helm: Helm) -> None:
    assert "No persistence" in notes(helm, values_of("no-persistence"))
    assert "No persistence" not in notes(helm)


def test_they_say_what_rules_cannot_know(helm: Helm) -> None:
    assert "the next `helm upgrade`" in notes(helm, {"webhook": {"noise": "rules"}})
    assert "the next `helm upgrade`" not in notes(helm, {"webhook": {"noise": "matchConditions"}})


def test_they_say_what_is_shown(helm: Helm) -> None:
    assert "every UPDATE, except in namespace kubewitness.\n" in notes(helm)
    assert "What the playbooks ask for is shown, too.\n" in notes(helm, values_of("seed"))
    assert "What the playbooks ask for" not in notes(helm)
    assert "every UPDATE, CREATE, DELETE, CONNECT, except" in notes(helm, values_of("operations"))
    assert "what the playbooks and record.include ask for" in notes(helm, {"webhook": {"scope": "playbooks"}})
    assert "It does not show: ci, load.\n" in notes(helm, {"webhook": {"excludedNamespaces": ["ci", "load"]}})


def test_they_say_who_is_not_told(helm: Helm) -> None:
    assert "nobody is told" in notes(helm)
    assert "nobody is told" not in notes(helm, values_of("seed"))
    assert "failed Jobs are not told" in notes(helm, {"watcher": {"enabled": False}})


def test_they_do_not_offer_a_test_that_is_not_there(helm: Helm) -> None:
    said = notes(helm, {"webhook": {"operations": ["DELETE"]}})

    assert "helm --namespace" not in said
    assert "There is no `helm test`" in said


def test_they_do_not_change_anything_in_the_own_namespace(helm: Helm) -> None:
    said = notes(helm, namespace="default")

    assert "kubectl --namespace default create" not in said
    assert "kubectl --namespace ANOTHER create" in said


def test_they_say_nothing_of_rules_that_list_what_the_playbooks_ask_for(helm: Helm) -> None:
    assert "API groups" not in notes(helm, {"webhook": {"noise": "rules", "scope": "playbooks"}})
