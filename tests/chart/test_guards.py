"""Values that contradict each other or the cluster are refused, with words that say what to write instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.chart.helm import Helm, HelmError
from tests.chart.rendered import CI, values_of

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"


class Case(NamedTuple):
    values: dict[str, Any]
    said: str
    remedy: str
    kube_version: str = "1.34.0"


CASES = {
    "a name that Services cannot have": Case({"fullnameOverride": "1-audit"}, '"1-audit"', "begin with a letter"),
    "provided without a Secret": Case(
        {"certificates": {"mode": "provided", "provided": {"caBundle": CERTIFICATE}}},
        "certificates.provided.secretName: is missing",
        "kubewitness.kubewitness.svc",
    ),
    "provided without an authority": Case(
        {"certificates": {"mode": "provided", "provided": {"secretName": "tls"}}},
        "certificates.provided.caBundle: is no PEM certificate",
        "--set-file certificates.provided.caBundle=ca.crt",
    ),
    "an authority with its key": Case(
        {
            "certificates": {
                "mode": "provided",
                "provided": {"secretName": "tls", "caBundle": f"{CERTIFICATE}-----BEGIN PRIVATE KEY-----"},
            }
        },
        "holds a private key",
        "the authority's certificate alone",
    ),
    "provided in another mode": Case(
        {"certificates": {"provided": {"secretName": "tls"}}},
        "is not used while certificates.mode is managed",
        "certificates.mode: provided",
    ),
    "a leaf that outlives its authority": Case(
        {"certificates": {"managed": {"leafSeconds": 7200, "authoritySeconds": 3600}}},
        "leafSeconds: 7200",
        "authoritySeconds: 3600",
    ),
    "an overlap that does not fit": Case(
        {"certificates": {"managed": {"leafSeconds": 60, "authoritySeconds": 300, "overlapSeconds": 100}}},
        "overlapSeconds: 100",
        "write less than 100",
    ),
    "a test in an excluded namespace": Case(
        {"webhook": {"excludedNamespaces": ["default"]}}, "tests.namespace: default", "name a namespace that is shown"
    ),
    "Fail where the own namespace has no label": Case(
        {"webhook": {"failurePolicy": "Fail"}}, "Fail needs Kubernetes 1.21", "write Ignore", "1.20.15"
    ),
    "matchConditions before their time": Case(
        {"webhook": {"noise": "matchConditions"}}, "needs Kubernetes 1.28", "write auto or rules", "1.27.16"
    ),
    "claims that cannot go": Case(
        {"persistence": {"whenDeleted": "Delete"}}, "Delete needs Kubernetes 1.27", "write Retain", "1.26.15"
    ),
    "a journal larger than its volume": Case(
        {"persistence": {"size": "5Gi"}}, "retention.size: 5GiB", "persistence.size (5Gi)"
    ),
    "a journal larger than its volume, in other units": Case(
        {"persistence": {"size": "900M"}, "retention": {"size": 1000000000}}, "retention.size: 1000000000", "about half"
    ),
    "a budget for one replica": Case(
        {"podDisruptionBudget": {"enabled": True}}, "podDisruptionBudget.enabled", "write replicas: 2"
    ),
    "an Ingress for every name": Case({"console": {"ingress": {"enabled": True}}}, "console.ingress.host", "missing"),
    "a label that Services ask for": Case(
        {"podLabels": {"app.kubernetes.io/name": "auditor"}}, "podLabels: app.kubernetes.io/name", "leave it out"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_refused_with_what_to_write_instead(helm: Helm, case: Case) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.template(case.values, kube_version=case.kube_version)

    (line,) = [line for line in str(refusal.value).splitlines() if line.startswith("* ")]
    assert case.said in line
    assert case.remedy in line


def test_all_that_is_wrong_is_told_at_once(helm: Helm) -> None:
    values = {"podDisruptionBudget": {"enabled": True}, "webhook": {"excludedNamespaces": ["default"]}}

    with pytest.raises(HelmError) as refusal:
        helm.template(values)

    assert str(refusal.value).count("\n* ") == 2


@pytest.mark.parametrize(
    ("values", "kube_version"),
    [
        pytest.param({"webhook": {"failurePolicy": "Fail"}}, "1.21.0", id="Fail"),
        pytest.param({"webhook": {"failurePolicy": "Fail"}}, "1.21.0-gke.100", id="Fail, of a vendor"),
        pytest.param({"webhook": {"noise": "matchConditions"}}, "1.28.0", id="matchConditions"),
        pytest.param({"persistence": {"whenDeleted": "Delete"}}, "1.27.0", id="claims that go"),
        pytest.param({"retention": {"size": "7.9GiB"}}, "1.34.0", id="a journal below its volume"),
        pytest.param({"retention": {"size": "0"}}, "1.34.0", id="a journal without bounds"),
    ],
)
def test_what_is_just_possible_is_taken(helm: Helm, values: dict[str, Any], kube_version: str) -> None:
    assert helm.template(values, kube_version=kube_version)


@pytest.mark.parametrize("kube_version", ["1.20.0", "1.24.17-eks-1", "1.36.0"])
@pytest.mark.parametrize("name", CI)
def test_every_supported_cluster_takes_the_values(helm: Helm, name: str, kube_version: str) -> None:
    assert helm.template(values_of(name), kube_version=kube_version)


def test_an_older_cluster_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"1\.20"):
        helm.template(kube_version="1.19.16")
