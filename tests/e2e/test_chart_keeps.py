"""`helm upgrade` and `helm rollback` keep what the program wrote into objects that the chart makes.

Helm 4 applies on the server's side, Helm 3 patches on the client's: both ways, since a lost authority would be a
webhook that nobody trusts. Without a node, so that the Pods stay pending: the test writes in the program's place.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from tests.chart.helm import CHART, Helm, HelmError
from tests.e2e.servers import Document

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NAME: Final = "keeps"
AUTHORITY: Final = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
OWN: Final = "-----BEGIN CERTIFICATE-----\nof one's own"
PROVIDED: Final = {"mode": "provided", "provided": {"secretName": "serving", "caBundle": OWN}}
WRITER: Final = {"fieldManager": "kubewitness"}
SECRET: Final = f"/api/v1/namespaces/{NAME}/secrets/{NAME}-kubewitness"
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAME}/leases/{NAME}-kubewitness-watcher"
WEBHOOK: Final = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{NAME}-kubewitness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The chart as a release, and the API server's view of its objects."""

    helm: Helm
    cluster: ControlPlane
    client: httpx.Client
    way: str

    def run(self, command: str, *options: str, **values: Any) -> str:
        return self.helm.run(
            *(command, NAME, str(CHART), f"--namespace={NAME}", self.way, *options, "--values=-"),
            stdin=msgspec.json.encode(values).decode(),
            kubeconfig=self.cluster.kubeconfig(),
        )

    def get(self, path: str) -> Document:
        return dict(self.client.get(path).raise_for_status().json())

    def put(self, path: str, change: Callable[[Document], object]) -> None:
        document = self.get(path)
        change(document)
        self.client.put(path, params=WRITER, json=document).raise_for_status()

    def webhook(self) -> Document:
        (webhook,) = self.get(WEBHOOK)["webhooks"]
        return dict(webhook)


@pytest.fixture(params=["--server-side=true", "--server-side=false"])
def installed(request: pytest.FixtureRequest, cluster: ControlPlane, helm: Helm) -> Iterator[Installed]:
    if cluster.kubectl("get", "namespace", NAME, check=False).returncode:
        cluster.kubectl("create", "namespace", NAME)
    with cluster.client() as client:
        made = Installed(helm=helm, cluster=cluster, client=client, way=request.param)
        made.run("install")
        yield made
        # The hook would wait for a Pod that no node runs.
        helm.run("uninstall", NAME, f"--namespace={NAME}", "--no-hooks", kubeconfig=cluster.kubeconfig())


def written_by_the_program(installed: Installed) -> None:
    installed.put(SECRET, lambda secret: secret.update(data={"ca.crt": AUTHORITY}))
    installed.put(
        SECRET, lambda secret: secret["metadata"].setdefault("annotations", {}).update({"kubewitness/a": "b"})
    )
    installed.put(LEASE, lambda lease: lease.update(spec={"holderIdentity": "replica"}))
    addition = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": AUTHORITY}]
    kind = {"Content-Type": "application/json-patch+json"}
    installed.client.patch(
        WEBHOOK, params=WRITER, content=msgspec.json.encode(addition), headers=kind
    ).raise_for_status()


def assert_kept(installed: Installed) -> None:
    secret = installed.get(SECRET)
    assert secret["data"] == {"ca.crt": AUTHORITY}
    assert secret["metadata"]["annotations"]["kubewitness/a"] == "b"
    assert installed.get(LEASE)["spec"]["holderIdentity"] == "replica"
    assert installed.webhook()["clientConfig"]["caBundle"] == AUTHORITY


def test_an_upgrade_and_a_rollback_keep_what_the_program_wrote(installed: Installed) -> None:
    written_by_the_program(installed)

    installed.run("upgrade", webhook={"operations": ["UPDATE", "DELETE"], "timeoutSeconds": 1}, image={"tag": "2"})

    assert_kept(installed)
    assert installed.webhook()["timeoutSeconds"] == 1
    assert installed.webhook()["rules"][0]["operations"] == ["UPDATE", "DELETE"]
    kubeconfig = installed.cluster.kubeconfig()
    installed.helm.run("rollback", NAME, "1", f"--namespace={NAME}", installed.way, kubeconfig=kubeconfig)
    assert_kept(installed)
    assert installed.webhook()["timeoutSeconds"] == 2


def test_an_authority_of_ones_own_replaces_the_programs_and_goes_again(installed: Installed) -> None:
    written_by_the_program(installed)
    force = ["--force-conflicts"] if installed.way == "--server-side=true" else []
    if force:
        with pytest.raises(HelmError, match=r'conflict with "kubewitness".*caBundle'):
            installed.run("upgrade", certificates=PROVIDED)

    installed.run("upgrade", *force, certificates=PROVIDED)

    assert base64.b64decode(installed.webhook()["clientConfig"]["caBundle"]).decode() == OWN
    installed.run("upgrade", "--reset-values")
    assert "caBundle" not in installed.webhook()["clientConfig"]


def test_claims_that_cannot_change_are_refused_with_what_to_do(installed: Installed) -> None:
    with pytest.raises(HelmError, match=f"kubectl delete statefulset {NAME}-kubewitness --namespace {NAME}"):
        installed.run("upgrade", persistence={"size": "16Gi"})
    with pytest.raises(HelmError, match="claims"):
        installed.run("upgrade", persistence={"enabled": False})

    installed.run("upgrade", persistence={"size": "10240Mi"})


def test_nothing_is_said_of_claims_whose_statefulset_goes(installed: Installed) -> None:
    installed.run("upgrade", watcher={"separate": True})

    with pytest.raises(HelmError) as refusal:
        installed.run("upgrade", persistence={"enabled": False})
    assert "delete statefulset keeps-kubewitness-watcher" not in str(refusal.value)
    with pytest.raises(HelmError, match=r"delete statefulset keeps-kubewitness-watcher --namespace"):
        installed.run("upgrade", watcher={"separate": True}, persistence={"enabled": False})


def test_the_notes_say_so_where_namespaces_have_no_label(installed: Installed) -> None:
    labels = installed.get(f"/api/v1/namespaces/{NAME}")["metadata"].get("labels", {})
    command = f"kubectl label namespace {NAME} kubernetes.io/metadata.name={NAME}"

    assert (command in installed.run("upgrade")) is not ("kubernetes.io/metadata.name" in labels)
