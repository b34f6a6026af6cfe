"""Fills a control plane with Jobs that finished long ago and the Pods that failed ones left, and changes them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from app.kube.client import KubernetesApi
from tests.e2e.jobs import container, manifest

NAMESPACE: Final = "crowd"
CONNECTIONS: Final = 24
MERGE: Final = "application/merge-patch+json"
JOBS: Final = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
LONG_AGO: Final = "2026-01-02T03:04:05Z"
ENVIRONMENT: Final = [{"name": f"SETTING_{number}", "value": "x" * 40} for number in range(20)]
"""What makes a Job as large as Jobs are: 4 KB with what the API server adds."""


class Crowd:
    """Finished Jobs, half of them complete and half failed; the first failed ones have a failed Pod each."""

    def __init__(self, kubeconfig: Path, pods_at_most: int) -> None:
        self.jobs = 0
        self.pods = 0
        self._kubeconfig = kubeconfig
        self._pods_at_most = pods_at_most
        self._changes = itertools.count()

    def grow(self, jobs: int) -> None:
        """Add Jobs until there are as many as that."""
        numbers = range(self.jobs, jobs)
        with_pod = frozenset([number for number in numbers if number % 2][: self._pods_at_most - self.pods])
        self._do(lambda api: (_finished_job(api, number, with_pod=number in with_pod) for number in numbers))
        self.jobs = jobs
        self.pods += len(with_pod)

    def change(self, each_second: int, seconds: float) -> float:
        """Change Jobs and Pods in turns, nothing that matters; return how many changes came about each second."""
        begun, total = time.monotonic(), int(each_second * seconds)

        async def one(api: KubernetesApi, number: int) -> None:
            await asyncio.sleep(max(0.0, begun + number / each_second - time.monotonic()))
            patch = {"metadata": {"annotations": {"changed": str(next(self._changes))}}}
            await api.send("PATCH", self._path(number), msgspec.json.encode(patch), content_type=MERGE)

        self._do(lambda api: (one(api, number) for number in range(total)))
        return total / (time.monotonic() - begun)

    def _path(self, number: int) -> str:
        if number % 2 or not self.pods:
            return f"{JOBS}/job-{number % self.jobs}"
        return f"{PODS}/job-{number // 2 % self.pods * 2 + 1}"

    def _do(self, work: Callable[[KubernetesApi], Iterable[Awaitable[None]]]) -> None:
        asyncio.run(_at_once(self._kubeconfig, work))


async def _at_once(kubeconfig: Path, work: Callable[[KubernetesApi], Iterable[Awaitable[None]]]) -> None:
    """Do the work over a number of connections, in its order."""
    api = await KubernetesApi.connect(kubeconfig)
    rest = iter(work(api))

    async def lane() -> None:
        for each in rest:
            await each

    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(CONNECTIONS):
                lanes.create_task(lane())
    finally:
        await api.close()


async def _finished_job(api: KubernetesApi, number: int, *, with_pod: bool) -> None:
    name = f"job-{number}"
    job = manifest(name, containers=[container(env=ENVIRONMENT)])
    made = msgspec.json.decode(await api.send("POST", JOBS, msgspec.json.encode(job)))
    await _report(api, f"{JOBS}/{name}", _failed() if number % 2 else _complete())
    if with_pod:
        await api.send("POST", PODS, msgspec.json.encode(pod_of(made)))
        await _report(api, f"{PODS}/{name}", _failed_pod())


async def _report(api: KubernetesApi, path: str, status: dict[str, Any]) -> None:
    await api.send("PATCH", f"{path}/status", msgspec.json.encode({"status": status}), content_type=MERGE)


def pod_of(job: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return the Pod that the Job controller would make for a Job, under the Job's name."""
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": metadata["name"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {**template["spec"], **spec},
    }


def failed_condition(at: str) -> dict[str, Any]:
    """Return the condition that the Job controller sets when it gives up."""
    return {
        "type": "Failed",
        "status": "True",
        "lastProbeTime": at,
        "lastTransitionTime": at,
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }


def _complete() -> dict[str, Any]:
    times = {"lastProbeTime": LONG_AGO, "lastTransitionTime": LONG_AGO}
    done = {"type": "Complete", "status": "True", **times}
    return {"startTime": LONG_AGO, "completionTime": LONG_AGO, "succeeded": 1, "conditions": [done]}


def _failed() -> dict[str, Any]:
    return {"startTime": LONG_AGO, "failed": 1, "conditions": [failed_condition(LONG_AGO)]}


def _failed_pod() -> dict[str, Any]:
    ended = {"exitCode": 1, "reason": "Error", "startedAt": LONG_AGO, "finishedAt": LONG_AGO}
    status = {"name": "main", "image": "busybox:1.37.0", "imageID": "", "ready": False, "restartCount": 0}
    return {
        "phase": "Failed",
        "startTime": LONG_AGO,
        "containerStatuses": [{**status, "state": {"terminated": ended}}],
    }
