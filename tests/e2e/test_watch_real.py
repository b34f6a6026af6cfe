"""Watches of a real API server: pages, events, its own time-outs, and versions that etcd has forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import httpx
import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.kube.watching import Watch
from tests.kube.views import View

pytestmark = pytest.mark.e2e

MANY: Final = 1200
SELECTOR: Final = "part=crowd"
JSON: Final = {"Content-Type": "application/json"}
THINGS: Final[dict[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.watched.example.com"},
    "spec": {
        "group": "watched.example.com",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Cluster",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}},
        ],
    },
}


class Watching(View):
    """A view that does something once, when it is told of the object with this number."""

    def __init__(self, number: int = 0, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._number = number
        self._then = then

    def listed(self, item: msgspec.Raw) -> None:
        super().listed(item)
        if len(self.told) == self._number:
            self._then()


class Counted:
    """What a WatchObserver is told."""

    def __init__(self) -> None:
        self.relists: list[str] = []
        self.reconnects: list[str] = []

    def relisted(self, name: str, reason: str) -> None:
        self.relists.append(reason)

    def reconnected(self, name: str, reason: str) -> None:
        self.reconnects.append(reason)


class Place:
    """ConfigMaps of a namespace."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self.cluster = cluster
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[KubernetesApi]:
        api = await KubernetesApi.connect(self.cluster.kubeconfig())
        try:
            yield api
        finally:
            await api.close()

    async def create(self, api: KubernetesApi, name: str) -> int:
        return _version(await api.send("POST", self.path, self.config_map(name)))

    async def update(self, api: KubernetesApi, name: str, value: str) -> int:
        body = msgspec.json.encode({"data": {"value": value}})
        kind = "application/merge-patch+json"
        return _version(await api.send("PATCH", f"{self.path}/{name}", body, content_type=kind))

    async def delete(self, api: KubernetesApi, name: str) -> None:
        await api.send("DELETE", f"{self.path}/{name}", b"{}")

    def config_map(self, name: str) -> bytes:
        return msgspec.json.encode({"metadata": {"name": name, "labels": {"part": "crowd"}}})

    def create_and_forget_the_past(self, name: str) -> None:
        """Create an object, and let etcd forget every version before it; at once, as a handler has to."""
        with self.cluster.client() as client:
            created = client.post(self.path, content=self.config_map(name), headers=JSON)
        version = created.raise_for_status().json()["metadata"]["resourceVersion"]
        etcd = f"http://127.0.0.1:{self.cluster._etcd_port}/v3/kv/compaction"
        httpx.post(etcd, json={"revision": version, "physical": True}, trust_env=False).raise_for_status()


def _version(answer: bytes) -> int:
    return int(msgspec.json.decode(answer)["metadata"]["resourceVersion"])


@contextlib.asynccontextmanager
async def running(
    api: KubernetesApi, place: Place, view: View, *, version: str = "", **options: Any
) -> AsyncIterator[Watch]:
    watch = Watch(api, place.path, view, name="crowd", label_selector=SELECTOR, **options)
    watch._version = version
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def place(cluster: ControlPlane, numbers: Iterator[int]) -> Place:
    namespace = f"watched-{next(numbers)}"
    cluster.kubectl("create", "namespace", namespace)
    return Place(cluster, namespace)


@pytest.fixture(scope="module")
def crowd(cluster: ControlPlane, numbers: Iterator[int]) -> Place:
    """Return a place with 1,200 ConfigMaps."""
    namespace = f"crowd-{next(numbers)}"
    cluster.kubectl("create", "namespace", namespace)
    place = Place(cluster, namespace)
    with cluster.client() as client:
        for number in range(MANY):
            client.post(place.path, content=place.config_map(f"many-{number:04}"), headers=JSON).raise_for_status()
    return place


async def test_many_objects_are_listed_in_pages_while_others_are_made(crowd: Place) -> None:
    async with crowd.api() as api:
        made: list[asyncio.Task[int]] = []

        def make() -> None:
            made.extend(asyncio.create_task(crowd.create(api, f"{when}-made")) for when in ("a-before", "z-after"))

        view = Watching(500, make)
        async with running(api, crowd, view, page_size=500) as watch:
            await watch.synced.wait()
            assert [event for event, _, _ in view.told[:MANY]] == ["LISTED"] * MANY
            await view.until(lambda: len(view.objects) == MANY + 2)

        expected = {"a-before-made": await made[0], "z-after-made": await made[1]}
        assert {name: version for event, name, version in view.told if event == "ADDED"} == expected
        for name in expected:
            await crowd.delete(api, name)


async def test_a_list_whose_version_is_forgotten_halfway_is_completed_and_made_again(crowd: Place) -> None:
    observed = Counted()
    async with crowd.api() as api:
        # Its name comes before those of the first page, so that completing the list cannot show it.
        view = Watching(500, lambda: crowd.create_and_forget_the_past("early"))
        async with running(api, crowd, view, page_size=500, observer=observed) as watch:
            await watch.synced.wait()
            assert len(view.objects) == MANY
            await view.until(lambda: view.lists == 2)

            assert "early" in view.objects
            assert len(view.objects) == MANY + 1
        await crowd.delete(api, "early")
    assert observed.relists == ["expired"]


async def test_the_servers_own_timeouts_lose_and_repeat_nothing(place: Place) -> None:
    observed, view = Counted(), Watching()
    async with place.api() as api, running(api, place, view, lifetime=(1, 1), observer=observed) as watch:
        await watch.synced.wait()
        made: list[int] = [await place.create(api, "one")]
        while len(observed.reconnects) < 3:
            made.append(await place.update(api, "one", str(len(made))))
        await place.delete(api, "one")
        await view.until(lambda: view.told[-1:] != [] and view.told[-1][0] == "DELETED")

    assert observed.relists == []
    assert set(observed.reconnects) == {"ended"}
    assert [version for _, _, version in view.told[:-1]] == made


async def test_a_version_from_before_the_servers_memory_leads_to_a_new_list(place: Place) -> None:
    # An API server remembers what it stored since it was first asked for it: for a new kind, since now.
    place.cluster.kubectl("apply", "--filename=-", stdin=msgspec.json.encode(THINGS).decode())
    place.cluster.kubectl("wait", "--for=condition=established", f"crd/{THINGS['metadata']['name']}")
    place.path = "/apis/watched.example.com/v1/things"
    observed, view = Counted(), Watching()
    async with place.api() as api, running(api, place, view, observer=observed, version="1"):
        await view.until(lambda: view.lists == 1)

    assert observed.relists == ["expired"]


async def test_the_end_of_an_answer_and_a_refusal_are_those_of_a_real_server(place: Place) -> None:
    async with place.api() as api:
        await place.create(api, "one")
        whole = await api.get(f"{place.path}/one")

        assert await api.tail(f"{place.path}/one", {}, 10) == (whole[-10:], True)
        with pytest.raises(ApiError, match=r'404 NotFound: configmaps "two" not found') as missing:
            await api.get(f"{place.path}/two")
        with pytest.raises(ApiError) as exists:
            await place.create(api, "one")

    assert (missing.value.is_not_found, exists.value.is_conflict) == (True, True)
