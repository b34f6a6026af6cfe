"""One rollout is one story: what real controllers and a real API server make of a change is told once, and recorded."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from tests.e2e.auditor import Auditor, Document
from tests.e2e.program import PROGRAM
from tests.e2e.webhooks import eventually
from tests.system.receiver import Receiver

pytestmark = pytest.mark.e2e

NAMESPACE: Final = "noisy"
LABELS: Final = {"witnessed": "noise"}
RESOURCES: Final = ("deployments", "deployments/scale", "replicasets", "pods", "configmaps")
PATCH: Final = {"Content-Type": "application/merge-patch+json"}
WRITERS: Final = 6
ROUNDS: Final = 10

EVERYTHING: Final = """- webhook_sink: {name: people, url: "URL"}
customPlaybooks:
- triggers:
  - on_deployment_all_changes: {}
  - on_replicaset_all_changes: {}
  - on_pod_all_changes: {}
  - on_configmap_create: {name_prefix: end}
  actions:
  - resource_babysitter: {fields_to_monitor: [], omitted_fields: [status]}
"""


class Noisy:
    """A namespace about whose workloads a sink for people is told, and one that keeps records."""

    def __init__(self, cluster: ControlPlane, auditor: Auditor, receiver: Receiver) -> None:
        self.cluster = cluster
        self.auditor = auditor
        self.receiver = receiver

    def kubectl(self, *arguments: str, user: str = "admin") -> str:
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *arguments, user=user).stdout

    def create(self, name: str, replicas: int) -> None:
        """Create a Deployment that does not wait for new Pods to be ready: there is no kubelet."""
        labels = {"app": name}
        container = {"name": "nginx", "image": "nginx:1.24"}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        }
        self.cluster.kubectl("create", f"--namespace={NAMESPACE}", "-f", "-", stdin=json.dumps(document))

    def entries(self, **filters: str) -> list[Document]:
        return self.auditor.entries(namespace=NAMESPACE, **filters)

    def told_until_now(self, end: str) -> list[Document]:
        """What the sink was told, up to a change that is made now and told after everything before it."""
        self.kubectl("create", "configmap", end)
        eventually(lambda: any(each["resource"]["name"] == end for each in self.told()), f"a notification about {end}")
        return [each for each in self.told() if each["resource"]["kind"] != "ConfigMap"]

    def told(self) -> list[Document]:
        """The entries that people were told of, oldest first."""
        return [msgspec.json.decode(body)["entry"] for body in list(self.receiver.bodies)]

    def settled(self, app: str, replicas: int) -> None:
        """Return when the newest ReplicaSet alone has Pods."""

        def done() -> bool:
            sets = json.loads(self.kubectl("get", "replicasets", "-l", f"app={app}", "-o", "json"))["items"]
            pods = json.loads(self.kubectl("get", "pods", "-l", f"app={app}", "-o", "json"))["items"]
            newest = sorted(sets, key=_revision)[-1:]
            owners = [pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods]
            return bool(newest) and owners == [newest[0]["metadata"]["uid"]] * replicas

        eventually(done, f"{app} is rolled out")

    def withheld(self) -> list[dict[str, Any]]:
        """The deliveries that were withheld, as the command line lists them."""
        command = [str(PROGRAM), "deliveries", "list", "--state", "withheld", "--limit", "1000", "-o", "json"]
        options = [f"--data-dir={self.auditor.data}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


def _revision(replica_set: Document) -> int:
    return int(replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


@pytest.fixture(scope="module")
def noisy(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Noisy]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("label", "namespace", NAMESPACE, "witnessed=noise")
    folder = tmp_path_factory.mktemp("noisy")
    with Receiver() as receiver, Auditor(folder, EVERYTHING.replace("URL", receiver.url)) as auditor:
        webhook = auditor.webhook("noise", resources=RESOURCES, namespace_labels=LABELS)
        webhook.register(cluster, namespace=NAMESPACE)
        yield Noisy(cluster, auditor, receiver)
        cluster.kubectl("delete", "validatingwebhookconfiguration", webhook.full_name)


def test_a_new_image_is_one_notification_and_the_ledger_has_everything(noisy: Noisy) -> None:
    noisy.create("web", 2)
    noisy.settled("web", 2)
    noisy.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")
    noisy.settled("web", 2)

    created, image = (each for each in noisy.told_until_now("end-1"))
    assert (created["operation"], created["resource"]["kind"]) == ("CREATE", "Deployment")
    assert (image["user"]["username"], image["changes"][0]["new"]) == ("alice", "nginx:1.25")

    follows = [entry for entry in noisy.entries() if entry.get("story") == image["id"]]
    made = Counter((entry["operation"], entry["resource"]["kind"]) for entry in follows)
    assert made["CREATE", "ReplicaSet"] >= 1
    assert made["CREATE", "Pod"] >= 2
    assert made["DELETE", "Pod"] >= 2
    reasons = {each["entry_id"]: each["last_error"] for each in noisy.withheld()}
    assert {reasons[each["id"]] for each in follows if each["findings"] and "repeat_of" not in each} == {
        f"follows from entry {image['id']} (Deployment/{NAMESPACE}/web)"
    }


def test_a_deletion_is_one_notification(noisy: Noisy) -> None:
    noisy.create("gone", 2)
    noisy.settled("gone", 2)
    noisy.kubectl("delete", "deployment", "gone", user="alice")
    eventually(lambda: "gone" not in noisy.kubectl("get", "pods,replicasets", "-o", "name"), "all of it is gone")

    told = [each for each in noisy.told_until_now("end-2") if each["resource"]["name"].startswith("gone")]
    assert [(each["operation"], each["resource"]["kind"]) for each in told] == [
        ("CREATE", "Deployment"),
        ("DELETE", "Deployment"),
    ]
    removed = {entry["resource"]["kind"] for entry in noisy.entries(operation="DELETE") if "story" in entry}
    assert removed == {"ReplicaSet", "Pod"}


def test_a_write_that_meets_another_is_told_once(noisy: Noisy) -> None:
    noisy.create("busy", 0)
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/busy"

    def write(writer: int) -> None:
        with noisy.cluster.client("alice") as client:
            for number in range(ROUNDS):
                body = json.dumps({"metadata": {"labels": {f"writer-{writer}-{number}": "here"}}})
                assert client.patch(path, content=body, headers=PATCH).is_success

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()

    told = [each for each in noisy.told_until_now("end-3") if each["user"]["username"] == "alice"]
    changes = Counter(json.dumps(each["changes"]) for each in told if each["resource"]["name"] == "busy")
    reviews = noisy.entries(name="busy", user="alice")
    repeats = [each for each in reviews if "repeat_of" in each]
    assert len(reviews) > WRITERS * ROUNDS, "the API server reviewed no write twice"
    assert (len(changes), set(changes.values())) == (WRITERS * ROUNDS, {1})
    assert len(reviews) - len(repeats) == WRITERS * ROUNDS
