"""Events of the sink in a real cluster: what `kubectl describe` shows, with the rights that the sink asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from app.core.change import Resource
from app.core.finding import Notification
from app.sinks.base import PermanentError
from app.sinks.kubernetes_event import KubernetesEventConfig, KubernetesEventSink
from tests.e2e.auditor import Auditor
from tests.e2e.webhooks import eventually
from tests.sinks import samples

pytestmark = pytest.mark.e2e

NAMESPACE: Final = "described"
RULE: Final = {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
PLAYBOOKS: Final = """
- kubernetes_event_sink: {name: events, kubeconfig: '%s'}
customPlaybooks:
- triggers:
  - on_configmap_all_changes: {}
  - on_event_all_changes: {}
  actions:
  - resource_babysitter: {}
  sinks: [events, everything]
"""


@pytest.fixture(scope="module")
def namespace(cluster: ControlPlane) -> str:
    cluster.kubectl("create", "namespace", NAMESPACE)
    return NAMESPACE


@pytest.fixture(scope="module")
def account(cluster: ControlPlane, namespace: str) -> Path:
    """Return the kubeconfig of an account that may do what the option's description says, and nothing else."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "event-writer"}
    subject = {"kind": "ServiceAccount", "name": "event-writer", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io/v1"
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "event-writer", "namespace": namespace}},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "event-writer"}, "rules": [RULE]},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "event-writer"},
            "roleRef": reference,
            "subjects": [subject],
        },
    ]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/event-writer/token"
    with cluster.client() as client:
        token = client.post(path, json={"spec": {"expirationSeconds": 3600}}).raise_for_status().json()
    document = msgspec.json.decode(cluster.kubeconfig().read_bytes())
    document["users"] = [{"name": "event-writer", "user": {"token": token["status"]["token"]}}]
    document["contexts"][0]["context"] |= {"user": "event-writer"}
    file = cluster.directory / "event-writer.kubeconfig"
    file.write_bytes(msgspec.json.encode(document))
    return file


async def sent(account: Path, *notifications: Notification) -> None:
    sink = KubernetesEventSink(KubernetesEventConfig(name="events", kubeconfig=account))
    try:
        for notification in notifications:
            await sink.send(notification)
    finally:
        await sink.aclose()


def seen(cluster: ControlPlane, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cluster.kubectl("get", *arguments, "--output=json").stdout)
    return document


async def test_kubectl_describe_tells_who_changed_the_object(
    cluster: ControlPlane, namespace: str, account: Path
) -> None:
    place = f"--namespace={namespace}"
    cluster.kubectl("create", "deployment", "web", "--image=nginx:1.27", place)
    uid = seen(cluster, "deployment", "web", place)["metadata"]["uid"]
    resource = Resource(group="apps", version="v1", kind="Deployment", namespace=namespace, name="web", uid=uid)
    told = samples.image(resource=resource)

    await sent(account, told, told)  # as after a crash between the write and its note

    described = cluster.kubectl("describe", "deployment", "web", place).stdout
    [line] = [each for each in described.splitlines() if "kubectl-set" in each]
    assert line.split()[:2] == ["Normal", "Changed"]
    assert "kubewitness" in line
    assert "alice with kubectl-set changed spec.template.spec.containers[nginx].image: nginx:1.27 -> nginx:1.28" in line


async def test_an_object_without_a_namespace_is_described_too(cluster: ControlPlane, account: Path) -> None:
    cluster.kubectl("create", "clusterrole", "reader", "--verb=get", "--resource=pods")
    uid = seen(cluster, "clusterrole", "reader")["metadata"]["uid"]
    group = "rbac.authorization.k8s.io"
    resource = Resource(group=group, version="v1", kind="ClusterRole", name="reader", uid=uid)

    await sent(account, samples.notification(resource=resource))

    found = seen(cluster, "events", "--namespace=default", f"--field-selector=involvedObject.uid={uid}")
    assert [each["message"] for each in found["items"]] == ["alice with kubectl-edit changed spec.replicas: 1 -> 3"]


async def test_megabytes_from_strangers_are_an_event_that_the_api_server_takes(
    cluster: ControlPlane, namespace: str, account: Path
) -> None:
    hostile = samples.hostile().finding
    told = samples.notification(*hostile.blocks, resource=Resource(kind="ConfigMap", namespace=namespace, name="big"))

    await sent(account, msgspec.structs.replace(told, delivery_id="d-2"))

    found = seen(cluster, "events", f"--namespace={namespace}", "--field-selector=involvedObject.name=big")
    assert len(found["items"][0]["message"].encode()) <= 1024


async def test_a_namespace_that_is_gone_is_said(account: Path) -> None:
    with pytest.raises(PermanentError, match="the namespace gone does not exist any more"):
        await sent(account, samples.notification(resource=Resource(kind="ConfigMap", namespace="gone", name="x")))


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, cluster: ControlPlane, namespace: str, account: Path
) -> Iterator[Auditor]:
    cluster.kubectl("label", "namespace", namespace, "witnessed=events")
    with Auditor(tmp_path_factory.mktemp("events"), PLAYBOOKS % account) as running:
        webhook = running.webhook("events", namespace_labels={"witnessed": "events"})
        webhook.register(cluster, namespace=namespace)
        yield running
        cluster.kubectl("delete", "validatingwebhookconfiguration", webhook.full_name)


def test_the_programs_own_events_are_seen_and_told_no_further(
    cluster: ControlPlane, namespace: str, program: Auditor
) -> None:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=mode=slow", f"--namespace={namespace}")

    def described() -> list[dict[str, Any]]:
        selector = "--field-selector=involvedObject.name=settings"
        items: list[dict[str, Any]] = seen(cluster, "events", f"--namespace={namespace}", selector)["items"]
        return items

    [event] = eventually(described, "an Event on the ConfigMap")
    seen_again = program.notification(event["metadata"]["name"])
    assert seen_again["entry"]["resource"]["kind"] == "Event"

    def refused() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = program.get("/api/v1/deliveries", state="dead").json()["items"]
        return [each for each in items if each["entry_id"] == seen_again["entry"]["id"]]

    [refusal] = eventually(refused, "the refusal")
    assert "an Event about an Event is not written" in json.dumps(refusal)
    about = "--field-selector=involvedObject.kind=Event"
    assert seen(cluster, "events", "--all-namespaces", about)["items"] == []
