"""Every object that the chart can make is one that the API server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
import yaml

from app.cli.controlplane import ControlPlane
from tests.chart.helm import CHART, NAMESPACE, ROOT, Document, Helm

pytestmark = pytest.mark.e2e

EXAMPLES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
MANIFESTS: Final = sorted((ROOT / "deploy" / "manifests").glob("*.yaml"))
DEFINITIONS: Final = ROOT / "tests" / "data" / "crds"
"""The parts of the definitions of cert-manager and the Prometheus Operator that the chart's objects have."""


@pytest.fixture(scope="module")
def ready(cluster: ControlPlane) -> ControlPlane:
    """The control plane with the namespace, and with what other projects define."""
    if cluster.kubectl("get", "namespace", NAMESPACE, check=False).returncode:
        cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", f"--filename={DEFINITIONS}")
    cluster.kubectl("wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=20s")
    return cluster


def versions(cluster: ControlPlane) -> tuple[str, list[str]]:
    server = yaml.safe_load(cluster.kubectl("version", "--output=yaml").stdout)["serverVersion"]["gitVersion"]
    return server.removeprefix("v"), cluster.kubectl("api-versions").stdout.split()


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))
def test_the_api_server_takes_every_object(ready: ControlPlane, helm: Helm, values: Path) -> None:
    kube_version, api_versions = versions(ready)
    documents = helm.template(
        yaml.safe_load(values.read_text()) or {}, kube_version=kube_version, api_versions=api_versions
    )

    accepted = dry_run(ready, yaml.safe_dump_all(map(with_an_account_that_exists, documents)))

    assert len(accepted) == len(documents) > 10


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_api_server_takes_every_manifest(ready: ControlPlane, manifest: Path) -> None:
    documents = [document for document in yaml.safe_load_all(manifest.read_text()) if document]
    if "policy/v1" not in versions(ready)[1]:
        documents = [as_before(document) for document in documents]

    accepted = dry_run(ready, yaml.safe_dump_all(documents))

    assert len(accepted) == len(documents) > 10


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))
def test_helm_lint_has_nothing_to_say(helm: Helm, values: Path) -> None:
    printed = helm.run("lint", str(CHART), "--strict", f"--values={values}")

    assert "1 chart(s) linted, 0 chart(s) failed" in printed
    assert "[WARNING]" not in printed


def as_before(document: Document) -> Document:
    """Return an object of the manifests, which are for Kubernetes 1.28 and later, as servers before 1.21 know it."""
    if document["kind"] == "PodDisruptionBudget":
        spec = {key: value for key, value in document["spec"].items() if key != "unhealthyPodEvictionPolicy"}
        return document | {"apiVersion": "policy/v1beta1", "spec": spec}
    if document["kind"] == "ValidatingWebhookConfiguration":
        (webhook,) = document["webhooks"]
        return document | {"webhooks": [{key: webhook[key] for key in webhook if key != "matchConditions"}]}
    return document


def with_an_account_that_exists(document: Document) -> Document:
    """Return the object; a Pod that stands alone is refused while its account is only tried out."""
    if document["kind"] != "Pod":
        return document
    return document | {"spec": document["spec"] | {"serviceAccountName": "default"}}


def dry_run(cluster: ControlPlane, manifests: str) -> list[str]:
    """Have the API server check the manifests, unknown fields too; return what it says of each."""
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=true", "--filename=-", stdin=manifests)
    return [line for line in done.stdout.splitlines() if line.endswith("(server dry run)")]
