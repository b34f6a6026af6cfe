"""The Secret and the caBundle of an installation in a real API server, with rights to these objects alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from cryptography import x509

from app.bootstrap.auditor import Auditor
from app.cli.controlplane import ControlPlane
from app.settings import Settings
from app.tls.authorities import certificates
from app.tls.issue import issue_authority

pytestmark = pytest.mark.e2e

NAMESPACE: Final = "certificates"
NAME: Final = "audit"
CONFIGURATION: Final = "validatingwebhookconfigurations"
VERBS: Final = ["get", "list", "watch"]


def made(version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def rights(kind: str, group: str, resource: str, verbs: list[str]) -> list[dict[str, Any]]:
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [group], "resources": [resource], "resourceNames": [NAME], "verbs": verbs}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    reference = {"apiGroup": rbac, "kind": kind, "name": NAME}
    return [
        made(f"{rbac}/v1", kind, NAME, rules=[rule]),
        made(f"{rbac}/v1", f"{kind}Binding", NAME, roleRef=reference, subjects=[subject]),
    ]


def webhook(name: str) -> dict[str, Any]:
    rule = {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {
        "name": f"{name}.kubewitness.svc",
        "clientConfig": {"service": {"name": NAME, "namespace": NAMESPACE, "path": "/validate"}},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"nobody": "here"}},
        "failurePolicy": "Ignore",
        "sideEffects": "NoneOnDryRun",
        "admissionReviewVersions": ["v1"],
    }


OBJECTS: Final = [
    made("v1", "ServiceAccount", NAME),
    made("v1", "Secret", NAME, type="Opaque"),
    made(
        "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", NAME, webhooks=[webhook("a"), webhook("b")]
    ),
    *rights("Role", "", "secrets", [*VERBS, "update"]),
    *rights("ClusterRole", "admissionregistration.k8s.io", CONFIGURATION, [*VERBS, "patch"]),
]


@pytest.fixture
def account(cluster: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """Install the objects; give the kubeconfig of the account."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    apply(cluster, *OBJECTS)
    with cluster.client() as client:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
        answer = client.post(path, json={"spec": {"expirationSeconds": 3600}}).raise_for_status()
    document = msgspec.json.decode(cluster.kubeconfig().read_bytes())
    document["users"] = [{"name": NAME, "user": {"token": answer.json()["status"]["token"]}}]
    document["contexts"][0]["context"] |= {"user": NAME, "namespace": NAMESPACE}
    file = tmp_path / "kubeconfig"
    file.write_bytes(msgspec.json.encode(document))
    yield file
    cluster.kubectl("delete", CONFIGURATION, NAME)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def apply(cluster: ControlPlane, *documents: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(listed).decode())


def bundles(cluster: ControlPlane) -> list[frozenset[x509.Certificate]]:
    found = msgspec.json.decode(cluster.kubectl("get", CONFIGURATION, NAME, "-o", "json").stdout)
    texts = [each["clientConfig"].get("caBundle", "") for each in found["webhooks"]]
    return [frozenset(certificates(base64.b64decode(text))) for text in texts]


def secret(cluster: ControlPlane) -> dict[str, Any]:
    text = cluster.kubectl(f"--namespace={NAMESPACE}", "get", "secret", NAME, "-o", "json").stdout
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


@contextlib.asynccontextmanager
async def replica(account: Path, folder: Path) -> AsyncIterator[Auditor]:
    settings = Settings(
        kubeconfig=account,
        data_dir=folder,
        admission_host="127.0.0.1",
        admission_port=0,
        console_port=0,
        secret=NAME,
        tls_source="secret",
        tls_service=NAME,
        webhook_configuration=NAME,
        tls_leaf_seconds=30,
        tls_overlap_seconds=1,
    )
    auditor = Auditor(settings)
    await auditor.start()
    try:
        yield auditor
    finally:
        assert await auditor.stop(0) == 0


async def soon(attempt: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until it is so, while the replicas of this process go on."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(attempt):  # noqa: ASYNC110  another process has no event for us
            await asyncio.sleep(0.1)


async def test_two_replicas_share_an_authority_mend_the_bundle_and_rotate(
    cluster: ControlPlane, account: Path, tmp_path: Path
) -> None:
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    async with contextlib.AsyncExitStack() as stack:
        both = await asyncio.gather(
            *(stack.enter_async_context(replica(account, each)) for each in (first_folder, second_folder))
        )

        def all_ready() -> bool:
            return all(each.certificate.check().state == "ok" for each in both)

        await soon(all_ready)
        begun = bundles(cluster)
        assert (len(begun[0]), begun[0]) == (1, begun[1])
        assert set(secret(cluster)["data"]) == {"ca.crt", "ca.key", "fingerprint-key", "console-token"}

        foreign = base64.b64encode(issue_authority("foreign", now=datetime.now(UTC)).certificate_pem).decode()
        patch = [{"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": foreign}]
        cluster.kubectl("patch", CONFIGURATION, NAME, "--type=json", "-p", msgspec.json.encode(patch).decode())
        await soon(lambda: bundles(cluster) == begun)

        cluster.kubectl(f"--namespace={NAMESPACE}", "annotate", "secret", NAME, "kubewitness/rotate=now")
        await soon(lambda: "previous.crt" in secret(cluster)["data"])
        await soon(all_ready)

        assert [len(each) for each in bundles(cluster)] == [2, 2]
        assert "kubewitness/rotate" not in secret(cluster)["metadata"]["annotations"]
        counted = [
            each.metrics.registry.get_sample_value(f"kubewitness_{name}_total") or 0
            for name in ("authority_rotations", "ca_bundle_repairs")
            for each in both
        ]
        assert (sum(counted[:2]), sum(counted[2:])) == (1, 1)
