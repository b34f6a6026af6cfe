"""A node for a control plane without nodes, which runs Pods as processes of this machine."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from typing_extensions import override

from app.cli.controlplane import ControlPlane
from tests.e2e.kubelet import Kubelet, LogRequest, Run
from tests.e2e.node.api import Api
from tests.e2e.node.commands import NodeError, missing
from tests.e2e.node.network import Network
from tests.e2e.node.pod import Pod, Site
from tests.e2e.node.services import Services
from tests.e2e.servers import Document

START_SECONDS: Final = 10.0
EXECUTE_SECONDS: Final = 30.0


class _Logs(Kubelet):
    """The kubelet's side that API servers call; logs are read from where they are written."""

    def __init__(self, cluster: ControlPlane, name: str, read: Callable[[Run], str | None]) -> None:
        super().__init__(cluster, name)
        self._read = read

    @override
    def reply(self, request: LogRequest) -> tuple[int, bytes]:
        text = self._read(request.run)
        return super().reply(request) if text is None else (200, request.cut(text))


class Node:
    """Binds every Pod to itself and runs it, each in namespaces of its own; ready inside its `with` block.

    Enough of a kubelet, a scheduler, kube-proxy, DNS and a storage provisioner to try a Helm chart for real. Images
    are not pulled: see `image`. Needs the control plane's controller manager, and its `service_cidr` to be that of the
    network. Raises NodeError where the machine cannot do it. After the block nothing of it runs any more.
    """

    def __init__(self, cluster: ControlPlane, network: Network, name: str = "node-1") -> None:
        self._cluster = cluster
        self._network = network
        self._name = name
        self._directory = cluster.directory / name
        self._pods: dict[str, Pod] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._logs = _Logs(cluster, name, self._log)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        # Made in the thread's loop.
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event
        self._group: asyncio.TaskGroup
        self._site: Site

    def __enter__(self) -> Self:
        if reason := missing():
            raise NodeError(reason)
        self._directory.mkdir()
        self._logs.__enter__()
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._failure:
            self._logs.__exit__(None, None, None)
            raise NodeError("the node did not start") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        self._logs.__exit__(kind, error, traceback)
        if self._failure and error is None:
            raise NodeError("the node broke down") from self._failure

    def expose(self, port: int) -> str:
        """Return `host:port` where Pods reach a port of this machine's loopback."""
        opening = self._site.services.expose(self._network.gateway, port)
        number = asyncio.run_coroutine_threadsafe(opening, self._loop).result(START_SECONDS)
        return f"{self._network.gateway}:{number}"

    def execute(self, namespace: str, pod: str, *command: str) -> str:
        """Return what a command in the first container of a Pod prints, as of `kubectl exec`; raises NodeError."""
        found = self._find(namespace, pod)
        if found is None:
            raise NodeError(f"there is no Pod {namespace}/{pod}")
        return asyncio.run_coroutine_threadsafe(found.execute(*command), self._loop).result(EXECUTE_SECONDS)

    def _find(self, namespace: str, name: str) -> Pod | None:
        pods = list(self._pods.values())
        return next((pod for pod in pods if (pod.namespace, pod.name) == (namespace, name)), None)

    def _log(self, run: Run) -> str | None:
        pod = self._find(run.namespace, run.pod)
        return pod.log(run.container, previous=run.previous) if pod else None

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  raised again where the node is waited for
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        address = urlsplit(self._cluster.url)
        api, services = Api(self._cluster), Services((str(address.hostname), address.port or 443))
        self._site = Site(api=api, network=self._network, services=services, directory=self._directory, node=self._name)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._start()
                self._ready.set()
                await self._stopped.wait()
                for task in self._tasks:
                    task.cancel()
        finally:
            services.close()
            await asyncio.gather(*(pod.kill() for pod in self._pods.values()))
            await api.close()

    def _start(self) -> None:
        services, follow = self._site.services, self._site.api.follow
        self._spawn(services.run())
        self._spawn(follow("/api/v1/services", services.see_service))
        self._spawn(follow("/api/v1/endpoints", services.see_endpoints))
        for name in ("configmaps", "secrets"):
            self._spawn(follow(f"/api/v1/{name}", self._see_source))
        self._spawn(follow("/api/v1/persistentvolumeclaims", self._see_claim))
        self._spawn(follow("/api/v1/pods", self._see_pod))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _see_pod(self, event: str, document: Document) -> None:
        uid, spec = document["metadata"]["uid"], document["spec"]
        if event == "DELETED":
            if uid in self._pods:
                self._spawn(self._pods.pop(uid).kill())
        elif uid in self._pods:
            self._pods[uid].see(document)
        elif spec.get("nodeName") == self._name:
            pod = self._pods[uid] = Pod(self._site, document)
            pod.see(document)
            self._spawn(pod.live())
        elif not spec.get("nodeName") and "deletionTimestamp" not in document["metadata"]:
            self._spawn(self._bind(document["metadata"]))

    def _see_source(self, _event: str, document: Document) -> None:
        for pod in self._pods.values():
            if pod.namespace == document["metadata"]["namespace"]:
                pod.see_source()

    def _see_claim(self, event: str, claim: Document) -> None:
        if event == "DELETED":
            self._spawn(self._remove_volume(claim["metadata"]["uid"]))
        elif (claim.get("status") or {}).get("phase") == "Pending" and not claim["spec"].get("volumeName"):
            self._spawn(self._provide_volume(claim))

    async def _bind(self, metadata: Document) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": self._name}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        await self._site.api.post(path, body)

    async def _provide_volume(self, claim: Document) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"pvc-{metadata['uid']}"},
            "spec": {
                "capacity": spec["resources"]["requests"],
                "accessModes": spec["accessModes"],
                "storageClassName": spec.get("storageClassName") or "",
                # What is in it goes when the claim goes, and that is done here.
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(self._directory / "claims" / metadata["uid"])},
                "claimRef": {key: metadata[key] for key in ("namespace", "name", "uid")},
            },
        }
        await self._site.api.post("/api/v1/persistentvolumes", body)

    async def _remove_volume(self, uid: str) -> None:
        await self._site.api.delete(f"/api/v1/persistentvolumes/pvc-{uid}")
        shutil.rmtree(self._directory / "claims" / uid, ignore_errors=True)
