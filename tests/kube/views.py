"""A handler that keeps what it is told, and a watch that runs while a test looks at it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.kube.backoff import Backoff
from app.kube.handling import ChangeKind
from app.kube.watching import Watch
from tests.kube.api_server import ApiServer
from tests.kube.clients import Pauses, client

JOBS = "/apis/batch/v1/jobs"


def item(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "resourceVersion": str(version)}
    return {"kind": "Job", "metadata": metadata, **more}


class View:
    """What a handler knows: the resource version of each object by name, and everything it was told, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.told: list[tuple[str, str, int]] = []
        self.lists = 0
        self._named: set[str] = set()
        self._news = asyncio.Event()

    def begin(self) -> None:
        self._named = set()

    def listed(self, item: msgspec.Raw) -> None:
        self._named.add(self._keep("LISTED", item))

    def end(self) -> None:
        self.lists += 1
        self.objects = {name: version for name, version in self.objects.items() if name in self._named}
        self._news.set()

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        name = self._keep(event, item)
        if event == "DELETED":
            del self.objects[name]
        self._news.set()

    async def becomes(self, objects: dict[str, int]) -> None:
        await self.until(lambda: self.objects == objects)

    async def until(self, satisfied: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not satisfied():
                self._news.clear()
                await self._news.wait()

    def _keep(self, event: str, item: msgspec.Raw) -> str:
        metadata = msgspec.json.decode(item)["metadata"]
        name, version = str(metadata["name"]), int(metadata["resourceVersion"])
        self.told.append((event, name, version))
        self.objects[name] = version
        return name


class Observed:
    """What a WatchObserver is told."""

    def __init__(self) -> None:
        self.relists: list[str] = []
        self.reconnects: list[str] = []

    def relisted(self, name: str, reason: str) -> None:
        assert name == "jobs"
        self.relists.append(reason)

    def reconnected(self, name: str, reason: str) -> None:
        assert name == "jobs"
        self.reconnects.append(reason)


@dataclass(frozen=True, slots=True)
class Running:
    watch: Watch
    view: View
    observed: Observed
    pauses: Pauses
    task: asyncio.Task[None]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def watching(server: ApiServer, folder: Path, **options: Any) -> AsyncIterator[Running]:
    """Run a watch of Jobs on the server, whose waits take no time."""
    pauses, observed, view = Pauses(), Observed(), options.pop("handler", None) or View()
    settings = {"backoff": Backoff(lambda _low, high: high), "pause": pauses, "observer": observed, **options}
    async with client(server, folder) as api:
        watch = Watch(api, JOBS, view, name="jobs", **settings)
        task = asyncio.create_task(watch.run())
        try:
            yield Running(watch, view, observed, pauses, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
