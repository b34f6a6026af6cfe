"""The life of one Pod on the node, from its binding until nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.kubelet import now
from tests.e2e.node import status
from tests.e2e.node.api import Api
from tests.e2e.node.container import Container
from tests.e2e.node.launch import Shared
from tests.e2e.node.network import Network
from tests.e2e.node.sandbox import Sandbox
from tests.e2e.node.services import Services
from tests.e2e.node.sources import MissingError, Sources
from tests.e2e.node.volumes import Volumes
from tests.e2e.servers import Document

PROPAGATION_SECONDS: Final = 0.5
"""How long after a change volumes follow; a kubelet needs up to two minutes."""

TOKEN_CHECK_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all Pods of a node share."""

    api: Api
    network: Network
    services: Services
    directory: Path
    node: str


class Pod:
    """A Pod that is bound to the node; `live()` is its whole life."""

    def __init__(self, site: Site, document: Document) -> None:
        metadata, spec = document["metadata"], document["spec"]
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self._site = site
        self._policy = spec.get("restartPolicy", "Always")
        self._directory = site.directory / "pods" / self.uid
        self._sandbox = Sandbox(site.network, spec.get("hostname") or self.name)
        node = site.node, site.network.gateway
        self._sources = Sources(site.api, document, self._sandbox.address, node)
        self._volumes = Volumes(self._directory / "volumes", site.directory / "claims", self._sources, site.api)
        self._source_changed, self._status_changed = asyncio.Event(), asyncio.Event()
        shared = self._shared()
        self._init = [Container(shared, each) for each in spec.get("initContainers") or []]
        self._containers = [Container(shared, each) for each in spec["containers"]]
        self._deletion: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._began = now()
        self._reported: Document = {}

    def see(self, document: Document) -> None:
        """Take note of what the Pod is now; one that shall go begins to."""
        self._sources.pod = document
        self._source_changed.set()
        if "deletionTimestamp" in document["metadata"]:
            self.delete(document["metadata"].get("deletionGracePeriodSeconds") or 0)

    def see_source(self) -> None:
        """Take note that something which the Pod may show has changed."""
        self._source_changed.set()

    def delete(self, grace_seconds: int) -> None:
        """Let it end within so many seconds; only the first word on it counts."""
        if not self._deletion.done():
            self._deletion.set_result(grace_seconds)

    async def kill(self) -> None:
        """End all that runs, at once; may be called again."""
        self.delete(0)
        await self._close()

    def log(self, container: str, *, previous: bool) -> str | None:
        """Return what a run of a container has printed; None where there is no such run."""
        for each in (*self._init, *self._containers):
            path = each.log(previous=previous)
            if each.name == container and path.exists():
                return path.read_text(errors="replace")
        return None

    async def execute(self, *command: str) -> str:
        """Run a command in the first container, and return what it printed; raises NodeError."""
        return await self._containers[0].execute(*command)

    async def live(self) -> None:
        """Run the Pod, and report how it is, until it is deleted and all of it has ended."""
        reporting = asyncio.create_task(self._keep_reporting())
        working = asyncio.create_task(self._work())
        both: set[asyncio.Future[Any]] = {working, self._deletion}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            await self._deletion
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await self._stop(self._deletion.result())
        finally:
            for task in (working, reporting):
                task.cancel()
            await self._close()
            self._site.services.forget_hosts(self._directory / "hosts")
        await self._report()
        await self._site.api.delete(self._path, preconditions={"uid": self.uid})

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def _shared(self) -> Shared:
        links = self._sources.pod["spec"].get("enableServiceLinks", True)
        return Shared(
            directory=self._directory,
            sandbox=self._sandbox,
            sources=self._sources,
            volumes=self._volumes,
            service_variables=lambda: self._site.services.variables(self.namespace, links=links),
            changed=self._status_changed.set,
        )

    async def _work(self) -> None:
        self._directory.mkdir(parents=True)
        await self._sandbox.open()
        own = f"127.0.0.1 localhost\n{self._sandbox.address} {self.name}\n"
        self._site.services.write_hosts(self._directory / "hosts", self.namespace, own)
        self._status_changed.set()
        await self._make_volumes()
        following = asyncio.create_task(self._follow_sources())
        try:
            if await self._initialize():
                await _all(self._containers, self._policy)
        finally:
            following.cancel()
        await self._sandbox.close()

    async def _make_volumes(self) -> None:
        while True:
            try:
                return await self._volumes.make()
            except MissingError as error:
                reason = {"waiting": {"reason": "ContainerCreating", "message": str(error)}}
                for each in (*self._init, *self._containers):
                    each.state = reason
                self._status_changed.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _initialize(self) -> bool:
        policy = "Never" if self._policy == "Never" else "OnFailure"
        for each in self._init:
            await each.supervise(policy)
            if each.exit_code:
                return False
        return True

    async def _follow_sources(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TOKEN_CHECK_SECONDS):
                    await self._source_changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(PROPAGATION_SECONDS)
            self._source_changed.clear()
            await self._volumes.follow()

    async def _close(self) -> None:
        await self._sandbox.close()
        await asyncio.gather(*(each.gone() for each in (*self._init, *self._containers)))

    async def _stop(self, seconds: int) -> None:
        await asyncio.gather(*(each.stop(seconds) for each in (*self._init, *self._containers)))

    async def _keep_reporting(self) -> None:
        while True:
            await self._status_changed.wait()
            self._status_changed.clear()
            await self._report()

    async def _report(self) -> None:
        wanted = self._status()
        if wanted != self._reported:
            self._reported = wanted
            await self._site.api.patch(f"{self._path}/status", {"metadata": {"uid": self.uid}, "status": wanted})

    def _status(self) -> Document:
        phase = status.phase(self._policy, self._init, self._containers)
        wanted = status.conditions(phase, self._init, self._containers)
        return {
            "phase": phase,
            "startTime": self._began,
            "hostIP": self._site.network.gateway,
            "podIP": self._sandbox.address,
            "podIPs": [{"ip": self._sandbox.address}],
            "conditions": status.merged(self._reported.get("conditions", ()), wanted, now()),
            "initContainerStatuses": [each.status() for each in self._init],
            "containerStatuses": [each.status() for each in self._containers],
        }


async def _all(containers: Sequence[Container], policy: str) -> None:
    async with asyncio.TaskGroup() as group:
        for each in containers:
            group.create_task(each.supervise(policy))
