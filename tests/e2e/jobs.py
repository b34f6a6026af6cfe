"""Jobs in a namespace of their own, and what a node would report of their Pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import httpx
import msgspec

from app.cli.controlplane import ControlPlane
from tests.e2e.kubelet import Kubelet, Run, now
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

MERGE: Final = {"Content-Type": "application/merge-patch+json"}
AT_ONCE: Final = {"gracePeriodSeconds": 0}
SIGNAL: Final = 128
"""Exit codes above this are 128 and the number of the signal."""


def container(name: str = "main", *, image: str = "busybox:1.37.0", **fields: Any) -> Document:
    """Return a container of a Job's Pod; `fields` such as `env` go into it."""
    return {"name": name, "image": image, "command": ["/bin/false"], **fields}


def manifest(
    name: str,
    *,
    containers: Sequence[Document] = (),
    init: Sequence[Document] = (),
    restart_policy: str = "Never",
    owner: Document | None = None,
    **spec: Any,
) -> Document:
    """Return a Job; `spec` has fields of its spec, and its `backoffLimit` is 0 unless it says something else."""
    pod = {
        "restartPolicy": restart_policy,
        # Without a token no Pod has to wait for one, which would cost a Job ten seconds.
        "automountServiceAccountToken": False,
        "initContainers": list(init),
        "containers": list(containers) or [container()],
    }
    metadata: Document = {"name": name, "ownerReferences": [owner] if owner else []}
    template = {"spec": pod}
    body = {"backoffLimit": 0, "template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body}


class BoundPod:
    """A Pod on the test's node: each method reports to the API server what a kubelet would have seen."""

    def __init__(self, api: httpx.Client, kubelet: Kubelet, document: Document) -> None:
        metadata, spec = document["metadata"], document["spec"]
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self._api = api
        self._kubelet = kubelet
        self._init = [each["name"] for each in spec.get("initContainers", ())]
        self._containers = [each["name"] for each in spec["containers"]]
        images = {each["name"]: each["image"] for each in [*spec.get("initContainers", ()), *spec["containers"]]}
        self._statuses = {name: _status(name, images[name]) for name in [*self._init, *self._containers]}

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def write(self, text: str, *, container: str = "", previous: bool = False) -> Self:
        """Set what a container (default: the first) has printed, in this run or the one before."""
        name = container or self._containers[0]
        self._kubelet.write(Run(namespace=self.namespace, pod=self.name, container=name, previous=previous), text)
        return self

    def run(self) -> Self:
        """All init containers have ended well, and all others run."""
        for name in self._init:
            self._statuses[name] |= {"state": _terminated(0, "Completed")}
        for name in self._containers:
            self._statuses[name] |= {"ready": True, "state": {"running": {"startedAt": now()}}}
        return self._report("Running")

    def wait(self, reason: str, message: str = "") -> Self:
        """No container starts, such as for ImagePullBackOff."""
        for name in self._containers:
            self._statuses[name] |= {"state": {"waiting": {"reason": reason, "message": message}}}
        return self._report("Pending")

    def crash(self, exit_code: int = 1, *, container: str = "", reason: str = "Error", message: str = "") -> Self:
        """A container (default: the first) has failed, the others have ended well, and with them, for good, the Pod."""
        name = container or self._containers[0]
        for other in self._containers:
            self._statuses[other] |= {"ready": False, "state": _terminated(0, "Completed")}
        self._statuses[name] |= {"state": _terminated(exit_code, reason, message)}
        return self._report("Failed")

    def restart(self, exit_code: int = 1, *, container: str = "", reason: str = "Error") -> Self:
        """A container (default: the first) has ended, and runs again."""
        status = self._statuses[container or self._containers[0]]
        running = {"running": {"startedAt": now()}}
        ended = _terminated(exit_code, reason)
        status |= {"state": running, "lastState": ended, "restartCount": status["restartCount"] + 1}
        return self._report("Running")

    def back_off(self, exit_code: int = 1, *, container: str = "", reason: str = "Error") -> Self:
        """A container (default: the first) has ended, and waits to be started again."""
        status = self._statuses[container or self._containers[0]]
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        status |= {"ready": False, "state": waiting, "lastState": _terminated(exit_code, reason)}
        return self._report("Running")

    def succeed(self) -> Self:
        """All containers have ended well."""
        for name in self._containers:
            self._statuses[name] |= {"ready": False, "state": _terminated(0, "Completed")}
        return self._report("Succeeded")

    def delete(self) -> None:
        """Delete the Pod at once, as `kubectl delete --force` does, or a kubelet when all containers have stopped."""
        answer = self._api.request("DELETE", self.path, json=AT_ONCE)
        assert answer.is_success or answer.status_code == 404, answer.text

    def finish_deletion(self) -> None:
        """Wait until somebody asks for the Pod's deletion, and finish it as a kubelet does."""

        def asked() -> bool:
            return "deletionTimestamp" in _read(self._api, self.path)["metadata"]

        eventually(asked, f"a deletion of {self.name}")
        self.delete()

    def _report(self, phase: str) -> Self:
        names = {"initContainerStatuses": self._init, "containerStatuses": self._containers}
        statuses = {key: [self._statuses[name] for name in each] for key, each in names.items() if each}
        body = {"status": {"phase": phase, "startTime": now(), **statuses}}
        self._api.patch(f"{self.path}/status", json=body, headers=MERGE).raise_for_status()
        return self


class Jobs:
    """The Jobs of one namespace. The Job controller is real; the node is the test."""

    def __init__(self, cluster: ControlPlane, kubelet: Kubelet, namespace: str) -> None:
        self.namespace = namespace
        self._cluster = cluster
        self._kubelet = kubelet
        self._api = cluster.client()
        self._bound: set[str] = set()
        cluster.kubectl("create", "namespace", namespace)
        # Before it has one no Pod is accepted, and the Job controller would wait long for its next try.
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        eventually(lambda: self._api.get(account).is_success, f"the service account of {namespace}")

    def close(self) -> None:
        """Give back the connections; the Jobs stay."""
        self._api.close()

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl in this namespace and return what it printed."""
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments, **options).stdout

    def create(self, *manifests: Document) -> dict[str, str]:
        """Create Jobs with kubectl and return the uid of each by its name."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        template = 'go-template={{.metadata.name}} {{.metadata.uid}}{{"\\n"}}'
        printed = self.kubectl("create", "-f", "-", "-o", template, stdin=msgspec.json.encode(items).decode())
        return dict(line.split() for line in printed.splitlines())

    def job(self, name: str) -> Document:
        """Return a Job as it is stored."""
        return _read(self._api, f"{self._jobs}/{name}")

    def create_cron_job(self, name: str, image: str) -> None:
        """Create a CronJob that makes no Job within a test; its container has its name."""
        spec = manifest("", containers=[container(name, image=image)])["spec"]
        # Up to Kubernetes 1.20 there is no other version.
        beta = "batch/v1beta1" in self.kubectl("api-versions").split()
        document = {
            "apiVersion": "batch/v1beta1" if beta else "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": name},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": spec}},
        }
        self.kubectl("create", "-f", "-", stdin=msgspec.json.encode(document).decode())

    def owner(self, resource: str, name: str) -> Document:
        """Return the reference to an object that controls a Job."""
        owner = msgspec.json.decode(self.kubectl("get", resource, name, "-o", "json"))
        fields = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
        return {**fields, "name": name, "uid": owner["metadata"]["uid"]}

    def next_pod(self, job: str) -> BoundPod:
        """Wait for the next Pod of a Job that is on no node, and bind it to the test's."""
        document = eventually(lambda: self._unbound(job), f"a new Pod of {job}")
        name = document["metadata"]["name"]
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": self._kubelet.name}}
        self._api.post(f"{self._pods}/{name}/binding", json=binding).raise_for_status()
        self._bound.add(document["metadata"]["uid"])
        return BoundPod(self._api, self._kubelet, document)

    def pods(self, job: str) -> list[Document]:
        """Return the Pods of a Job."""
        items: list[Document] = _read(self._api, self._pods, labelSelector=f"job-name={job}")["items"]
        return items

    def fail(self, name: str, log: str = "", **options: Any) -> str:
        """Create a Job whose only Pod prints `log` and exits with 1; return its uid when the Job has failed."""
        uid = self.create(manifest(name, **options))[name]
        self.next_pod(name).write(log).run().crash()
        self.failed(name)
        return uid

    def begin(self, count: int) -> dict[str, str]:
        """Create Jobs whose Pods are on no node; return their uids by their names when all have begun."""
        created = self.create(*(manifest(f"hopeless-{number}") for number in range(count)))
        eventually(lambda: self._begun().issuperset(created), f"{count} Jobs have begun")
        return created

    def expire(self, *names: str) -> None:
        """End the time of Jobs: the Job controller fails them, and deletes their Pods.

        It may overlook a deadline that a Job has from the beginning, if it sees an old state of the Job meanwhile.
        """
        eventually(lambda: self._begun().issuperset(names), f"{', '.join(names)} begin")
        for name in names:
            body = {"spec": {"activeDeadlineSeconds": 1}}
            self._api.patch(f"{self._jobs}/{name}", json=body, headers=MERGE).raise_for_status()

    def failed(self, *names: str) -> Document:
        """Wait until the Job controller has given up on all of them; return the condition `Failed` of the last."""
        return [eventually(lambda name=name: self._failure(name), f"{name} fails") for name in names][-1]  # type: ignore[misc]

    def _begun(self) -> set[str]:
        items = _read(self._api, self._jobs)["items"]
        return {job["metadata"]["name"] for job in items if "startTime" in job["status"]}

    def _failure(self, name: str) -> Document | None:
        conditions = self.job(name)["status"].get("conditions", ())
        return next((each for each in conditions if (each["type"], each["status"]) == ("Failed", "True")), None)

    def _unbound(self, job: str) -> Document | None:
        return next((pod for pod in self.pods(job) if pod["metadata"]["uid"] not in self._bound), None)

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"


def _read(api: httpx.Client, path: str, **parameters: str) -> Document:
    document: Document = api.get(path, params=parameters).raise_for_status().json()
    return document


def _status(name: str, image: str) -> Document:
    waiting = {"waiting": {"reason": "PodInitializing"}}
    return {"name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": waiting}


def _terminated(exit_code: int, reason: str, message: str = "") -> Mapping[str, Document]:
    ended: Document = {"exitCode": exit_code, "reason": reason, "startedAt": now(), "finishedAt": now()}
    ended |= {"signal": exit_code - SIGNAL} if exit_code > SIGNAL else {}
    ended |= {"message": message} if message else {}
    return {"terminated": ended}
