"""Leases of a real API server: who leads, who goes on, and a record that all write at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml

from app.cli.controlplane import ControlPlane
from app.core import claims
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.kube.lease import Election, Terms
from app.kube.shared_record import Format, SharedRecord

pytestmark = pytest.mark.e2e

NAMESPACE = "leases"
TERMS = Terms(
    lease_duration=timedelta(seconds=3), renew_deadline=timedelta(seconds=2), retry_period=timedelta(seconds=0.2)
)


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: ControlPlane) -> Iterator[None]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
async def api(cluster: ControlPlane) -> AsyncIterator[KubernetesApi]:
    async with connected(cluster.kubeconfig()) as api:
        yield api


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[KubernetesApi]:
    api = await KubernetesApi.connect(kubeconfig)
    try:
        yield api
    finally:
        await api.close()


@contextlib.asynccontextmanager
async def running(*elections: Election) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in elections]
        yield
        for task in tasks:
            task.cancel()


def election(api: KubernetesApi, name: str, identity: str) -> Election:
    return Election(api, namespace=NAMESPACE, name=name, identity=identity, terms=TERMS)


def lease(cluster: ControlPlane, name: str, field: str) -> str:
    path = f"-o=jsonpath={{{field}}}"
    return cluster.kubectl("get", "lease", name, f"--namespace={NAMESPACE}", path).stdout


async def test_one_of_two_leads_and_the_other_follows_a_release(cluster: ControlPlane, api: KubernetesApi) -> None:
    first, second = election(api, "release", "first"), election(api, "release", "second")
    async with running(first):
        await first.wait_until_leading()
        async with running(second):
            await asyncio.sleep(4)  # longer than the Lease lasts without renewals
            assert (first.leading, second.leading) == (True, False)
            assert second.holder == "first"

            await first.release()
            async with asyncio.timeout(2):
                await second.wait_until_leading()

    assert not first.leading
    assert lease(cluster, "release", ".spec.holderIdentity") == "second"
    assert lease(cluster, "release", ".spec.leaseTransitions") == "1"


async def test_a_leader_that_vanishes_is_followed_when_its_lease_has_expired(api: KubernetesApi) -> None:
    first, second = election(api, "vanished", "first"), election(api, "vanished", "second")
    async with running(first):
        await first.wait_until_leading()

    async with running(second):
        await second.wait_until_leading()

    assert second.holder == "second"


async def test_a_lease_that_is_deleted_under_its_leader_is_made_again(
    cluster: ControlPlane, api: KubernetesApi
) -> None:
    leader = election(api, "deleted", "leader")
    async with running(leader):
        await leader.wait_until_leading()
        before = lease(cluster, "deleted", ".metadata.uid")
        await asyncio.to_thread(cluster.kubectl, "delete", "lease", "deleted", f"--namespace={NAMESPACE}")
        await asyncio.sleep(1)

        assert leader.leading
        assert leader.last_error is None
        assert lease(cluster, "deleted", ".metadata.uid") != before


def numbers(api: KubernetesApi, name: str) -> SharedRecord[list[int]]:
    form = Format[list[int]](
        encode=msgspec.json.encode, decode=lambda text: msgspec.json.decode(text, type=list[int]), start=list
    )
    return SharedRecord(api, namespace=NAMESPACE, name=name, form=form)


def with_number(number: int) -> Callable[[list[int]], list[int]]:
    return lambda before: [*before, number]


async def test_twenty_that_write_one_record_at_once_lose_nothing(api: KubernetesApi) -> None:
    records = [numbers(api, "crowd") for _ in range(20)]

    await asyncio.gather(*(each.update(with_number(number)) for number, each in enumerate(records)))

    assert sorted(await records[0].read() or []) == list(range(20))


async def test_a_record_goes_on_when_its_lease_is_deleted(cluster: ControlPlane, api: KubernetesApi) -> None:
    shared = numbers(api, "lost")
    await shared.update(with_number(1))
    cluster.kubectl("delete", "lease", "lost", f"--namespace={NAMESPACE}")

    await shared.update(with_number(2))

    assert await shared.read() == [1, 2]


async def test_a_record_of_the_greatest_size_is_stored(api: KubernetesApi) -> None:
    name = "n" * 63
    crowd = tuple(
        claims.Claim(uid=f"{n:036}", by=name, namespace=name, name=name, failed_at=n, at=n)
        for n in range(claims.MOST_CLAIMS)
    )
    marks: dict[int, tuple[str, ...]] = {n: (f"{n:016x}",) for n in range(10 * claims.MOST_MARKS)}
    largest = claims.pruned(claims.Record(told=marks, claims=crowd), now=0, max_age=0)
    form = Format(encode=claims.encode, decode=claims.decode, start=claims.Record)
    shared = SharedRecord(api, namespace=NAMESPACE, name="largest", form=form)

    await shared.update(lambda _: largest)

    assert await shared.read() == largest
    assert claims.SIZE_LIMIT - len(claims.encode(largest)) < 64 * 1024


async def test_a_missing_right_is_named(cluster: ControlPlane, api: KubernetesApi, tmp_path: Path) -> None:
    cluster.kubectl("create", "serviceaccount", "nobody", f"--namespace={NAMESPACE}")
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/nobody/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = msgspec.json.decode(await api.send("POST", path, msgspec.json.encode(asked)))["status"]["token"]
    document = yaml.safe_load(cluster.kubeconfig().read_text())
    document["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "nobody.yaml"
    kubeconfig.write_text(yaml.safe_dump(document))

    async with connected(kubeconfig) as nobody:
        candidate, shared = election(nobody, "forbidden", "nobody"), numbers(nobody, "forbidden")
        async with running(candidate):
            with pytest.raises(ApiError, match="403"):
                await shared.read()
            await asyncio.sleep(0.5)

    for error in (candidate.last_error, shared.last_error):
        assert error is not None
        assert error.startswith(
            "Lease leases/forbidden: not allowed; grant get, create and update on leases (coordination.k8s.io) "
            "in namespace leases (GET /apis/coordination.k8s.io/v1/namespaces/leases/leases/forbidden: 403 Forbidden"
        )
    assert not candidate.leading
