"""Users of a real cluster see on the console what they may see there: their tokens, the chart's roles, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from app.core.change import Resource
from app.kube.client import KubernetesApi
from app.kube.reviews import Reviews, binding_command
from app.web.access import guarded
from app.web.attempts import Attempts
from app.web.kubernetes_users import KEPT_SECONDS, KubernetesUsers
from tests.builders import make_record
from tests.chart.helm import Helm, one
from tests.chart.rendered import rendered
from tests.e2e.webhooks import eventually
from tests.web.doors import door
from tests.web.ledgers import console_of, write
from tests.web.test_users import Clock, Pauses

pytestmark = pytest.mark.e2e

ENTRIES: Final = "entries.kubewitness.io"
RBAC: Final = "rbac.authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """Two namespaces of a test, with accounts in the first."""

    cluster: ControlPlane
    shop: str
    other: str

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl(*arguments, **options).stdout

    def token(self, name: str, audience: str = "") -> str:
        """Make a service account, unless it is there, and return a token of it."""
        self.kubectl("create", "serviceaccount", name, f"--namespace={self.shop}", check=False)
        audiences = {"audiences": [audience]} if audience else {}
        path = f"/api/v1/namespaces/{self.shop}/serviceaccounts/{name}/token"
        with self.cluster.client() as client:
            answer = client.post(path, json={"spec": {"expirationSeconds": 3600, **audiences}}).raise_for_status()
        return str(answer.json()["status"]["token"])

    def let(self, name: str, role: str, namespace: str = "") -> None:
        """Bind an account to a cluster role, in a namespace or everywhere."""
        account = f"--serviceaccount={self.shop}:{name}"
        kind = ("rolebinding", f"--namespace={namespace}") if namespace else ("clusterrolebinding",)
        self.kubectl("create", *kind, self.binding(name), f"--clusterrole={role}", account)
        if role in ("view", "edit"):
            self.wait_until(name, "get", ENTRIES, namespace)

    def wait_for_aggregation(self, role: str) -> None:
        """Wait until a role of the cluster has taken in the right to see entries."""
        eventually(lambda: "kubewitness.io" in self.kubectl("get", "clusterrole", role, "--output=yaml"), role)

    def wait_until(self, name: str, verb: str, resource: str, namespace: str = "", *, may: bool = True) -> None:
        """Wait until the API server has learned what an account may do: it looks roles up in a cache of its own."""
        what, _, group = resource.partition(".")
        attributes = {"verb": verb, "group": group, "resource": what, "namespace": namespace}
        spec = {"user": f"system:serviceaccount:{self.shop}:{name}", "resourceAttributes": attributes}
        eventually(lambda: self._allowed(spec) is may, f"{name} may {verb} {resource}: {may}")

    def _allowed(self, spec: dict[str, Any]) -> bool:
        with self.cluster.client() as client:
            answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json={"spec": spec})
        return bool(answer.raise_for_status().json()["status"]["allowed"])

    def binding(self, name: str) -> str:
        return f"{self.shop}-{name}"

    def kubeconfig(self, name: str, path: Path) -> Path:
        """Write the kubeconfig of an account."""
        document = msgspec.json.decode(self.cluster.kubeconfig().read_bytes())
        document["users"] = [{"name": name, "user": {"token": self.token(name)}}]
        document["contexts"][0]["context"] |= {"user": name}
        path.write_bytes(msgspec.json.encode(document))
        return path


@pytest.fixture
def realm(cluster: ControlPlane, numbers: Iterator[int]) -> Realm:
    number = next(numbers)
    made = Realm(cluster=cluster, shop=f"shop-{number}", other=f"other-{number}")
    for namespace in (made.shop, made.other):
        made.kubectl("create", "namespace", namespace)
    return made


def applied(realm: Realm, *documents: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    realm.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(items).decode())


@pytest.fixture
def granted(realm: Realm, helm: Helm) -> None:
    """Give the roles of the chart: the rights to ask to the account `witness`, and the right to see to `view`."""
    documents = rendered(helm, "console-access")
    questions = [
        rule
        for rule in one(documents, "ClusterRole", "kubewitness")["rules"]
        if {"tokenreviews", "subjectaccessreviews"} & set(rule["resources"])
    ]
    role = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": f"{realm.shop}-asks"}, "rules": questions}
    applied(realm, role, one(documents, "ClusterRole", "kubewitness-view"))
    realm.let("witness", f"{realm.shop}-asks")
    realm.wait_until("witness", "create", "subjectaccessreviews.authorization.k8s.io")
    realm.wait_for_aggregation("view")


class Desk:
    """A console that asks the real API server, with a clock of the test's own for what it remembers."""

    def __init__(self, data: Path, api: KubernetesApi, namespaces: list[str], audience: str = "") -> None:
        self.clock = Clock()
        reviews = Reviews(api, audience)
        users = KubernetesUsers(reviews, lambda: namespaces, Attempts(Pauses()), clock=self.clock)
        self._app = guarded(console_of(data), door(lambda: "the-consoles-own", users))

    async def answer(self, token: str, path: str = "/api/v1/entries", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers={"X-Kubewitness-Token": token, **headers})

    async def seen(self, token: str) -> list[str]:
        """The namespaces of the entries that somebody sees."""
        answer = await self.answer(token)
        assert answer.status_code == 200, answer.text
        return sorted(item["resource"]["namespace"] for item in answer.json()["items"])


@pytest.fixture
async def data(tmp_path: Path, realm: Realm) -> Path:
    places = (realm.shop, realm.other, "")
    await write(
        tmp_path,
        *(make_record(resource=Resource(version="v1", kind="Thing", namespace=each, name="x")) for each in places),
    )
    return tmp_path


@pytest.fixture
async def api(realm: Realm, granted: None, tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    path = realm.kubeconfig("witness", tmp_path / "kubeconfig")
    made = await KubernetesApi.connect(path)
    yield made
    await made.close()


@pytest.fixture
def desk(data: Path, api: KubernetesApi, realm: Realm) -> Desk:
    return Desk(data, api, [realm.shop, realm.other])


async def test_who_may_view_one_namespace_sees_that_one(desk: Desk, realm: Realm) -> None:
    token = realm.token("alice")
    realm.let("alice", "view", realm.shop)

    assert await desk.seen(token) == [realm.shop]


async def test_who_may_view_the_cluster_sees_all_of_it(desk: Desk, realm: Realm) -> None:
    token = realm.token("carol")
    realm.let("carol", "view")

    assert await desk.seen(token) == sorted(["", realm.shop, realm.other])
    assert (await desk.answer(token, "/deliveries")).status_code == 200


async def test_who_may_edit_a_namespace_may_see_it_too(desk: Desk, realm: Realm) -> None:
    token = realm.token("dave")
    realm.let("dave", "edit", realm.other)

    assert await desk.seen(token) == [realm.other]


async def test_who_may_view_nothing_is_refused_with_a_command_that_works(desk: Desk, realm: Realm) -> None:
    token = realm.token("mallory")
    refused = await desk.answer(token, "/", Accept="text/html")

    command = binding_command(f"system:serviceaccount:{realm.shop}:mallory")
    assert refused.status_code == 403
    assert command in refused.text
    realm.kubectl(*command.replace("NAMESPACE", realm.shop).split()[1:])
    realm.wait_until("mallory", "get", ENTRIES, realm.shop)
    desk.clock.now += KEPT_SECONDS + 1
    assert await desk.seen(token) == [realm.shop]


async def test_a_right_that_is_taken_away_ends_within_what_is_remembered(desk: Desk, realm: Realm) -> None:
    token = realm.token("bob")
    realm.let("bob", "view", realm.shop)
    before = await desk.seen(token)

    realm.kubectl("delete", "rolebinding", realm.binding("bob"), f"--namespace={realm.shop}")
    realm.wait_until("bob", "get", ENTRIES, realm.shop, may=False)
    desk.clock.now += KEPT_SECONDS - 1
    remembered = await desk.seen(token)
    desk.clock.now += 2

    assert (before, remembered) == ([realm.shop], [realm.shop])
    assert (await desk.answer(token)).status_code == 403


async def test_the_token_of_an_account_that_is_gone_is_refused(desk: Desk, realm: Realm) -> None:
    token = realm.token("erin")
    realm.let("erin", "view", realm.shop)
    before = await desk.seen(token)

    realm.kubectl("delete", "serviceaccount", "erin", f"--namespace={realm.shop}")
    desk.clock.now += KEPT_SECONDS + 1

    assert before == [realm.shop]
    # The API server looks its accounts up in a cache of its own.
    async with asyncio.timeout(15):
        while (answer := await desk.answer(token)).status_code != 401:
            desk.clock.now += KEPT_SECONDS + 1
            await asyncio.sleep(0.2)
    assert token not in answer.text


@pytest.mark.parametrize("token", ["nonsense", "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token_of_the_cluster_is_refused(desk: Desk, token: str) -> None:
    assert (await desk.answer(token)).status_code == 401


async def test_with_an_audience_only_tokens_for_it_count(data: Path, api: KubernetesApi, realm: Realm) -> None:
    desk = Desk(data, api, [realm.shop], "kubewitness")
    realm.let("alice", "view", realm.shop)

    assert (await desk.answer(realm.token("alice"))).status_code == 401
    assert await desk.seen(realm.token("alice", "kubewitness")) == [realm.shop]


async def test_without_the_right_to_ask_nobody_gets_in_and_it_is_said(data: Path, realm: Realm, tmp_path: Path) -> None:
    token = realm.token("alice")
    api = await KubernetesApi.connect(realm.kubeconfig("alice", tmp_path / "powerless"))
    try:
        answer = await Desk(data, api, [realm.shop]).answer(token)
    finally:
        await api.close()

    assert answer.status_code == 503
    assert "console.kubernetesAuth.enabled" in answer.json()["detail"]
    assert token not in answer.text
